package netstack

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/gocscf/gocscf/ipsec/esp"
)

const (
	nic = 1

	// What a connection may buffer in each direction. gVisor takes the memory
	// only as octets wait. With less room, segments out of order can make it take
	// back a window that it has offered; two ends that both write without reading
	// then wait for each other.
	tcpBufferMin     = 4 << 10
	tcpBufferDefault = 256 << 10
	tcpBufferMax     = 1 << 20
)

// tcpStack is gVisor's stack and what listens on it. gVisor starts when it is
// needed.
type tcpStack struct {
	stack *Stack
	g     atomic.Pointer[gvisor]

	mu        sync.RWMutex
	listeners map[netip.AddrPort]*listener
	closed    bool
}

type gvisor struct {
	*stack.Stack
	link *link

	mu    sync.RWMutex
	addrs map[netip.Addr]bool // assigned
}

// start returns gVisor's stack, and starts it where it is not running; nil when
// the Stack is closed.
func (t *tcpStack) start() (*gvisor, error) {
	if g := t.g.Load(); g != nil {
		return g, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, esp.ErrClosed
	}
	if g := t.g.Load(); g != nil {
		return g, nil
	}
	g, err := newGVisor(t.stack)
	if err != nil {
		return nil, err
	}
	t.g.Store(g)
	return g, nil
}

// silence keeps gVisor from writing to standard error what strangers can provoke.
var silence = sync.OnceFunc(func() { log.SetTarget(nowhere{}) })

type nowhere struct{}

func (nowhere) Emit(int, log.Level, time.Time, string, ...any) {}

func newGVisor(s *Stack) (*gvisor, error) {
	silence()
	st := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv6.NewProtocolWithOptions(ipv6.Options{AllowExternalLoopbackTraffic: true}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	g := &gvisor{Stack: st, addrs: make(map[netip.Addr]bool)}
	g.link = &link{engine: s.Engine, mtu: innerMTU(s.cfg.MTU)}
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(false)
	// The side that closes first may dial the same addresses and ports again at
	// once. Old segments cannot come back: ESP drops replays, and a new set has
	// new keys.
	timeWait := tcpip.TCPTimeWaitTimeoutOption(0)
	for _, opt := range []tcpip.SettableTransportProtocolOption{
		&sack, &moderate, &timeWait,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBufferDefault, Max: tcpBufferMax},
		&tcpip.TCPSendBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBufferDefault, Max: tcpBufferMax},
	} {
		if err := st.SetTransportProtocolOption(tcp.ProtocolNumber, opt); err != nil {
			return nil, gvisorError(err)
		}
	}
	if err := st.CreateNIC(nic, g.link); err != nil {
		return nil, gvisorError(err)
	}
	st.SetRouteTable([]tcpip.Route{{Destination: header.IPv6EmptySubnet, NIC: nic}})
	return g, nil
}

// innerMTU is the longest packet that TCP may make, its own IP header included, so
// that it fits in an IP packet of mtu octets as ESP: in tunnel mode in UDP over
// IPv6, which takes most.
func innerMTU(mtu int) uint32 { return uint32(mtu - tcpOverhead) }

const (
	tcpOverhead = header.IPv6MinimumSize + header.UDPMinimumSize + esp.MaxOverhead
	ipv6MinMTU  = header.IPv6MinimumMTU
)

// assign makes a an address of gVisor's stack.
func (g *gvisor) assign(a netip.Addr) error {
	g.mu.RLock()
	known := g.addrs[a]
	g.mu.RUnlock()
	if known {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.addrs[a] {
		return nil
	}
	err := g.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol: network, AddressWithPrefix: inner(a).WithPrefix(),
	}, stack.AddressProperties{PEB: stack.NeverPrimaryEndpoint})
	if _, twice := err.(*tcpip.ErrDuplicateAddress); err != nil && !twice {
		return gvisorError(err)
	}
	g.addrs[a] = true
	return nil
}

// receive takes a segment from the engine.
func (t *tcpStack) receive(local, remote netip.AddrPort, segment []byte) error {
	g, err := t.start()
	if err != nil {
		return esp.ErrNoListener
	}
	if err := g.assign(local.Addr()); err != nil {
		return err
	}
	t.mu.RLock()
	l := t.listeners[local]
	t.mu.RUnlock()
	if l != nil {
		l.begin(g)
	}
	g.link.inject(local.Addr(), remote.Addr(), segment)
	return nil
}

// endpoint returns the connection between two addresses, nil for none.
func (g *gvisor) endpoint(local, remote netip.AddrPort) *tcp.Endpoint {
	id := stack.TransportEndpointID{
		LocalPort: local.Port(), LocalAddress: inner(local.Addr()),
		RemotePort: remote.Port(), RemoteAddress: inner(remote.Addr()),
	}
	ep, ok := g.FindTransportEndpoint(network, tcp.ProtocolNumber, id, nic).(*tcp.Endpoint)
	if !ok {
		return nil
	}
	// A listening endpoint is found too.
	if info, ok := ep.Info().(*stack.TransportEndpointInfo); !ok || info.ID != id {
		return nil
	}
	return ep
}

// abort ends a connection of which no segment can arrive any more.
func (t *tcpStack) abort(local, remote netip.AddrPort) {
	if g := t.g.Load(); g != nil {
		if ep := g.endpoint(local, remote); ep != nil {
			ep.Abort()
		}
	}
}

func (t *tcpStack) closeListeners() {
	t.mu.Lock()
	t.closed = true
	open := make([]*listener, 0, len(t.listeners))
	for _, l := range t.listeners {
		open = append(open, l)
	}
	t.mu.Unlock()
	for _, l := range open {
		_ = l.Close()
	}
}

func (t *tcpStack) destroy() {
	if g := t.g.Load(); g != nil {
		g.Destroy()
	}
}
