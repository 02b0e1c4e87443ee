package bench

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ims/trace"
)

// network is where the services and the phones are.
type network struct {
	name string
	// at is where a service listens; port 0 where it may choose.
	at func(tb testing.TB, service string) netip.AddrPort
	// sockets is what a service opens them from, nil for the kernel.
	sockets func(service string) transport.Net
	dialer  func(service string) node.Dialer
	listen  func() (net.Listener, error)
	// phone opens the socket of a phone that talks to gm alone.
	phone func(gm netip.AddrPort) (net.Conn, error)
	// server opens a datagram socket anywhere.
	server func() (net.PacketConn, error)
	// stream, unless nil, is told by the services what they receive and send.
	stream *trace.Stream
}

const diameterPort = 3868

// memory is a network of hosts on a memnet.
func memory() *network {
	n := memnet.New(1)
	addrs := map[string]string{hssName: "192.0.2.5", pcscfName: "192.0.2.1", icscfName: "192.0.2.2", scscfName: "192.0.2.3", phonesName: "192.0.2.100"}
	hosts := make(map[string]*memnet.Host)
	for name, a := range addrs {
		hosts[name] = n.Host(a)
	}
	at := func(service string, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(addrs[service]), port)
	}
	return &network{
		name: "memory",
		at: func(_ testing.TB, service string) netip.AddrPort {
			if service == pcscfName {
				return at(service, 0)
			}
			return at(service, 5060)
		},
		sockets: func(service string) transport.Net { return hosts[service] },
		dialer:  func(service string) node.Dialer { return memoryDialer{hosts[service]} },
		listen:  func() (net.Listener, error) { return hosts[hssName].Listen(at(hssName, diameterPort)) },
		phone: func(gm netip.AddrPort) (net.Conn, error) {
			pc, err := hosts[phonesName].ListenPacket(at(phonesName, 0))
			if err != nil {
				return nil, err
			}
			c := &memoryConn{PacketConn: pc, batch: pc.(transport.BatchConn)}
			c.to[0] = gm
			return c, nil
		},
		server: func() (net.PacketConn, error) { return hosts[pcscfName].ListenPacket(at(pcscfName, 0)) },
	}
}

type memoryDialer struct{ host *memnet.Host }

func (d memoryDialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	return d.host.Dial(ctx, netip.AddrPort{}, a)
}

// memoryConn makes a datagram socket a connected one. It allocates nothing, as
// the kernel's does not.
type memoryConn struct {
	net.PacketConn
	batch   transport.BatchConn
	to      [1]netip.AddrPort
	in, out [1][]byte
	size    [1]int
	from    [1]netip.AddrPort
}

func (c *memoryConn) Read(b []byte) (int, error) {
	c.in[0] = b
	_, err := c.batch.ReadBatch(c.in[:], c.size[:], c.from[:])
	return c.size[0], err
}

func (c *memoryConn) Write(b []byte) (int, error) {
	c.out[0] = b
	_, err := c.batch.WriteBatch(c.out[:], c.to[:])
	return len(b), err
}

func (c *memoryConn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.to[0]) }

// loopback is the kernel's, all on 127.0.0.1.
func loopback() *network {
	anywhere := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	udp := func() (net.PacketConn, error) { return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(anywhere)) }
	return &network{
		name: "loopback",
		at: func(tb testing.TB, service string) netip.AddrPort {
			if service != scscfName {
				return anywhere
			}
			// The others know its port before it runs.
			ln, err := net.Listen("tcp4", anywhere.String())
			if err != nil {
				tb.Fatal(err)
			}
			defer ln.Close()
			return ln.Addr().(*net.TCPAddr).AddrPort()
		},
		sockets: func(string) transport.Net { return nil },
		dialer:  func(string) node.Dialer { return nil },
		listen:  func() (net.Listener, error) { return net.Listen("tcp4", anywhere.String()) },
		phone: func(gm netip.AddrPort) (net.Conn, error) {
			return net.DialUDP("udp4", net.UDPAddrFromAddrPort(anywhere), net.UDPAddrFromAddrPort(gm))
		},
		server: udp,
	}
}
