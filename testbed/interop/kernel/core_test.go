//go:build integration

package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/ipsec/xfrm"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ladder"
	"github.com/gocscf/gocscf/testbed/ue"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	guest.Main(m, guest.Options{
		Programs: []string{"nft"}, Build: []string{"github.com/gocscf/gocscf/cmd/pcscf", "github.com/gocscf/gocscf/testbed"}, Memory: 2048, Limit: 9 * time.Minute,
	})
}

// patience bounds each step of a test: the guest is emulated, and slow.
const patience = time.Minute

// network is one in which sockets are opened, a namespace's.
type network struct{ at *guest.Net }

func (n network) ListenPacket(local netip.AddrPort) (c net.PacketConn, err error) {
	err = n.at.Do(func() (err error) { c, err = transport.Kernel().ListenPacket(local); return err })
	return c, err
}

func (n network) Listen(local netip.AddrPort) (l net.Listener, err error) {
	err = n.at.Do(func() (err error) { l, err = transport.Kernel().Listen(local); return err })
	return l, err
}

func (n network) Dial(ctx context.Context, local, remote netip.AddrPort) (c net.Conn, err error) {
	err = n.at.Do(func() (err error) { c, err = transport.Kernel().Dial(ctx, local, remote); return err })
	return c, err
}

// byKernel protects phones in a namespace by its kernel.
func byKernel(t *testing.T, n *guest.Net, encap uint16, addrs ...netip.Addr) ue.Stack {
	t.Helper()
	var b *xfrm.Backend
	err := n.Do(func() (err error) {
		b, err = xfrm.New(xfrm.Config{Addrs: addrs, EncapPort: encap, Failed: func(err error) { t.Error(err) }})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return struct {
		*xfrm.Backend
		network
	}{b, network{n}}
}

// byUser protects phones in a namespace in user space: ESP in IP for addresses without
// a port, in UDP for the others.
func byUser(t *testing.T, n *guest.Net, addrs ...netip.AddrPort) ue.Stack {
	t.Helper()
	var s *netstack.Stack
	err := n.Do(func() error {
		c := netstack.Config{}
		for _, a := range addrs {
			open := esp.ListenUDP
			if a.Port() == 0 {
				open = func(a netip.AddrPort) (esp.Carrier, error) { return esp.ListenRaw(a.Addr()) }
			}
			carrier, err := open(a)
			if err != nil {
				return err
			}
			c.Carriers = append(c.Carriers, carrier)
		}
		var err error
		s, err = netstack.New(c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// subscribers are n, with one key.
func subscribers(n int) (list []hss.Subscriber) {
	for i := range n {
		list = append(list, hss.Subscriber{
			IMPI: fmt.Sprintf("0010100000%05d@%s", i, lab.DefaultDomain), IMPUs: []string{impu(i)}, K: key, OPc: opc,
		})
	}
	return list
}

// Random numbers that protect nothing.
const key, opc = "465b5ce8b199b49faa5f0a2ee238a6bc", "e8ed289deba952e4283b54e88e6183ca"

func impu(i int) string { return fmt.Sprintf("sip:user%d@%s", i, lab.DefaultDomain) }

// core is ours, with its P-CSCF at gm in the namespace of the test.
type core struct {
	*lab.Core
	t      *testing.T
	gm     netip.AddrPort
	stream *trace.Stream

	mu     sync.Mutex
	events []trace.Event
}

func startCore(t *testing.T, gm netip.Addr, phones int, adjust func(*lab.Configs)) *core {
	t.Helper()
	c := &core{t: t, gm: netip.AddrPortFrom(gm, 5060), stream: &trace.Stream{}}
	c.watch()
	inside := lab.Loopback
	if gm.Is6() {
		inside = netip.IPv6Loopback()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	c.Core, err = lab.StartCore(ctx, lab.CoreConfig{
		Domain: lab.DefaultDomain, Subscribers: subscribers(phones), IP: inside, Stream: c.stream,
		Log: zaptest.NewLogger(t, zaptest.Level(zapcore.WarnLevel)),
		Adjust: func(conf *lab.Configs) {
			conf.P.Listen.Gm = c.gm
			conf.P.IPsec = pcscf.DefaultConfig().IPsec
			conf.S.AKAWithoutIPsec = false
			if adjust != nil {
				adjust(conf)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	// Nothing says that it has to be, but it can.
	if b := c.P.IPsecBackend(); b != "kernel" {
		t.Fatalf("the P-CSCF has chosen the back end %q", b)
	}
	return c
}

// watch keeps what happens, and draws it should the test fail.
func (c *core) watch() {
	sub := c.stream.Subscribe(1 << 14)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range sub.C() {
			c.mu.Lock()
			c.events = append(c.events, e)
			c.mu.Unlock()
		}
	}()
	c.t.Cleanup(func() {
		sub.Close()
		<-done
		if !c.t.Failed() {
			return
		}
		slices.SortStableFunc(c.events, func(a, b trace.Event) int { return a.Time.Compare(b.Time) })
		var out bytes.Buffer
		l := ladder.New(&out, ladder.Options{})
		for _, e := range c.events[max(0, len(c.events)-200):] {
			_ = l.Write(e)
		}
		c.t.Logf("what happened last:\n%s", out.String())
	})
}

// phone switches one on.
func (c *core) phone(t *testing.T, i int, kind string, stack ue.Stack, in *guest.Net, at netip.Addr, adjust func(*ue.Config)) *ue.Phone {
	t.Helper()
	k, err1 := aka.ParseSecret(key)
	o, err2 := aka.ParseSecret(opc)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	sub := subscribers(i + 1)[i]
	cfg := ue.Config{
		Name: fmt.Sprintf("user%d", i), Domain: lab.DefaultDomain, IMPI: sub.IMPI, IMPU: sub.IMPUs[0], K: k, OPc: o,
		Net: network{in}, Local: at, PCSCF: c.gm, IPsec: kind, Stack: stack, Transport: sip.UDP,
		Trace: trace.Node{Stream: c.stream, Name: fmt.Sprintf("ue:user%d", i)}, Log: zaptest.NewLogger(t, zaptest.Level(zapcore.WarnLevel)),
	}
	if adjust != nil {
		adjust(&cfg)
	}
	p, err := ue.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// within gives f a bounded time.
func within(t *testing.T, doing string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// register registers a phone and says what protects it.
func register(t *testing.T, p *ue.Phone) (g *ue.Registration) {
	t.Helper()
	within(t, p.Name()+" registers", func(ctx context.Context) (err error) {
		g, err = p.Register(ctx)
		return err
	})
	if g.Protection == nil {
		t.Fatalf("%s is registered, and nothing protects it", p.Name())
	}
	return g
}

// talk has two phones send each other a message, and the first call the second.
func talk(t *testing.T, a *ue.Phone, aURI string, b *ue.Phone, bURI string) {
	t.Helper()
	within(t, a.Name()+" sends a message", func(ctx context.Context) error { return a.Message(ctx, bURI, "hello") })
	within(t, b.Name()+" sends a message", func(ctx context.Context) error { return b.Message(ctx, aURI, "hello") })
	within(t, a.Name()+" calls", func(ctx context.Context) error {
		call, err := a.Call(ctx, bURI, ue.CallOptions{})
		if err != nil {
			return err
		}
		return call.Hangup(ctx)
	})
}
