//go:build integration

package interop

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ladder"
	"github.com/gocscf/gocscf/testbed/ue"
)

// phone switches on the phone of the n-th subscriber. Each has an address of its
// own: Kamailio's P-CSCF finds phones by the host of their Via alone.
func (c *core) phone(n int, adjust func(*ue.Config)) *ue.Phone {
	c.t.Helper()
	sub := lab.DemoSubscribers(lab.DefaultDomain)[n]
	name := [...]string{"alice", "bob"}[n]
	local := c.at(byte(101+n), 5060)
	cfg := ue.Config{
		Name: name, Domain: lab.DefaultDomain, IMPI: sub.IMPI, IMPU: sub.IMPUs[0],
		K: secret(c.t, string(sub.K)), OPc: secret(c.t, string(sub.OPc)),
		Net: radio{transport.Kernel()}, Local: local.Addr(), Port: local.Port(), PCSCF: c.gm,
		Trace: trace.Node{Stream: c.stream, Name: "ue:" + name}, Log: zaptest.NewLogger(c.t),
	}
	if adjust != nil {
		adjust(&cfg)
	}
	p, err := ue.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.Close)
	c.columns = append(c.columns, ladder.Node{Name: "ue:" + name, Addrs: []string{local.String()}})
	return p
}

func secret(t *testing.T, hex string) aka.Secret {
	t.Helper()
	s, err := aka.ParseSecret(hex)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// radio is a network that takes as long as radio does: Kamailio sends a 401 before
// it stores the vector, and challenges anew who answers within microseconds.
type radio struct{ transport.Net }

const radioDelay = 20 * time.Millisecond

func (r radio) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	pc, err := r.Net.ListenPacket(local)
	return radioPackets{pc}, err
}

func (r radio) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	c, err := r.Net.Dial(ctx, local, remote)
	return radioConn{c}, err
}

func (r radio) Listen(local netip.AddrPort) (net.Listener, error) {
	ln, err := r.Net.Listen(local)
	return radioListener{ln}, err
}

type radioPackets struct{ net.PacketConn }

// ReadFrom delays one datagram after the other, so that they stay in order.
func (p radioPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := p.PacketConn.ReadFrom(b)
	if err == nil {
		time.Sleep(radioDelay)
	}
	return n, from, err
}

type radioConn struct{ net.Conn }

func (c radioConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil {
		time.Sleep(radioDelay)
	}
	return n, err
}

type radioListener struct{ net.Listener }

func (l radioListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return radioConn{c}, nil
}
