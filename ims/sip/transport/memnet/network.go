package memnet

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Link says what happens to packets from one address to another. The zero Link
// is perfect and takes no time.
type Link struct {
	// Delay is the time every packet takes; Jitter adds up to so much, evenly.
	// Octets of one connection stay in order.
	Delay, Jitter time.Duration
	// Loss, Duplicate and Reorder are probabilities, from 0 to 1, of what may
	// happen to a datagram. A reordered one takes ReorderBy longer, a little
	// over 10 ms if that is 0: not quite 10, since what two goroutines do in the
	// same instant of virtual time has no order.
	Loss, Duplicate, Reorder float64
	ReorderBy                time.Duration
	// MTU bounds a datagram's payload; a longer one is lost and its sender gets
	// EMSGSIZE by ICMP. 0 is no bound.
	MTU int
	// Segment cuts what a connection carries into pieces of at most so many
	// octets. 0 keeps each write whole.
	Segment int
	// Unreachable answers datagrams and connects with ICMP host unreachable.
	Unreachable bool
	// Refuse answers connects with a reset, whoever listens.
	Refuse bool
	// Blackhole loses everything without a word. Open connections stand still
	// until it is lifted.
	Blackhole bool
}

// Kind is what a packet is.
type Kind uint8

// The packets that a hook sees.
const (
	Datagram Kind = iota
	Connect       // a SYN
	Segment       // octets of a connection
	Finish        // a FIN
)

// Packet is what a hook sees. Data must not be changed or kept.
type Packet struct {
	Kind     Kind
	From, To netip.AddrPort
	Data     []byte
}

// Verdict is what a hook decides.
type Verdict uint8

const (
	// Pass lets the packet go on to its link.
	Pass Verdict = iota
	// Drop loses a datagram or connect without a word. A connection that loses
	// a segment is reset at both ends, as after many retransmissions.
	Drop
	// Refuse answers a datagram with ICMP port unreachable, a connect with a
	// reset.
	Refuse
	// Cut delivers the first half of a segment, then resets both ends. Other
	// packets are dropped.
	Cut
)

// Network is hosts and the links between them. All methods may be called at
// any time on any goroutine.
type Network struct {
	seed uint64

	mu     sync.Mutex
	def    Link
	hosts  map[netip.Addr]*Host
	links  map[pair]Link
	random map[pair]*rand.Rand
	hook   func(Packet) Verdict
	held   []heldSegment

	events scheduler
}

// pair is a directed pair of addresses.
type pair struct{ from, to netip.Addr }

type heldSegment struct {
	pair pair
	do   func()
}

// New returns a network without hosts, whose chance comes from seed.
func New(seed uint64) *Network {
	return &Network{
		seed:   seed,
		hosts:  make(map[netip.Addr]*Host),
		links:  make(map[pair]Link),
		random: make(map[pair]*rand.Rand),
	}
}

// Host adds a host with the given addresses ("192.0.2.1", "2001:db8::1"). It
// panics on an address that is taken or no address: a mistake in a test.
func (n *Network) Host(addrs ...string) *Host {
	h := &Host{net: n, packets: make(map[netip.AddrPort]*packetConn), listeners: make(map[netip.AddrPort]*listener),
		streams: make(map[[2]netip.AddrPort]*conn), nextPort: firstPort}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range addrs {
		a := netip.MustParseAddr(s).Unmap()
		if n.hosts[a] != nil {
			panic(fmt.Sprintf("memnet: two hosts have %s", a))
		}
		n.hosts[a] = h
		h.addrs = append(h.addrs, a)
	}
	return h
}

// SetDefault sets the link of all pairs of hosts that have none of their own.
// A host reaches itself over the zero Link.
func (n *Network) SetDefault(l Link) {
	n.mu.Lock()
	n.def = l
	n.mu.Unlock()
	n.release()
}

// SetLink sets the link from one address to another, in that direction.
func (n *Network) SetLink(from, to string, l Link) {
	p := pair{netip.MustParseAddr(from).Unmap(), netip.MustParseAddr(to).Unmap()}
	n.mu.Lock()
	n.links[p] = l
	n.mu.Unlock()
	n.release()
}

// SetLinks sets the link between two addresses in both directions.
func (n *Network) SetLinks(a, b string, l Link) {
	n.SetLink(a, b, l)
	n.SetLink(b, a, l)
}

// SetHook sets a function that sees every packet before its link does and
// decides whether it goes there. It is called by the sender, and may call
// methods of the Network, but not send. Nil takes it away.
func (n *Network) SetHook(f func(Packet) Verdict) {
	n.mu.Lock()
	n.hook = f
	n.mu.Unlock()
}

func (n *Network) inspect(p Packet) Verdict {
	n.mu.Lock()
	f := n.hook
	n.mu.Unlock()
	if f == nil {
		return Pass
	}
	return f(p)
}

// link returns the link of a pair. The caller holds n.mu.
func (n *Network) link(p pair) Link {
	if l, ok := n.links[p]; ok {
		return l
	}
	if n.hosts[p.from] == n.hosts[p.to] {
		return Link{}
	}
	return n.def
}

func (n *Network) linkOf(p pair) Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link(p)
}

// chance returns the random sequence of a pair. The caller holds n.mu.
func (n *Network) chance(p pair) *rand.Rand {
	r := n.random[p]
	if r == nil {
		h := fnv.New64a()
		_, _ = fmt.Fprint(h, p.from, p.to)
		r = rand.New(rand.NewPCG(n.seed, h.Sum64()))
		n.random[p] = r
	}
	return r
}

// fate is what a link does to one packet.
type fate struct {
	lost   bool
	err    syscall.Errno   // what ICMP says to the sender, 0 for nothing
	delays []time.Duration // one for each copy that arrives
	back   time.Duration   // how long an answer takes
}

// datagram draws the fate of a datagram of that size.
func (n *Network) datagram(p pair, size int) fate {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(p)
	f := fate{back: l.Delay + n.link(pair{p.to, p.from}).Delay}
	switch {
	case l.Blackhole:
		f.lost = true
		return f
	case l.Unreachable, n.hosts[p.to] == nil:
		f.lost, f.err = true, syscall.EHOSTUNREACH
		return f
	case l.MTU > 0 && size > l.MTU:
		f.lost, f.err = true, syscall.EMSGSIZE
		return f
	}
	// Always as many draws, so that one setting does not shift another's luck.
	r := n.chance(p)
	loss, dup, reorder := r.Float64(), r.Float64(), r.Float64()
	if f.lost = loss < l.Loss; f.lost {
		return f
	}
	copies := 1
	if dup < l.Duplicate {
		copies = 2
	}
	for range copies {
		d := l.Delay
		if l.Jitter > 0 {
			d += time.Duration(r.Int64N(int64(l.Jitter)))
		}
		f.delays = append(f.delays, d)
	}
	if reorder < l.Reorder {
		by := l.ReorderBy
		if by == 0 {
			by = 10*time.Millisecond + time.Microsecond
		}
		f.delays[0] += by
	}
	return f
}

// segmentDelay draws how long a packet of a connection takes.
func (n *Network) segmentDelay(p pair) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(p)
	if l.Jitter > 0 {
		return l.Delay + time.Duration(n.chance(p).Int64N(int64(l.Jitter)))
	}
	return l.Delay
}

// arrive runs do, or keeps it until the link is no black hole any more.
func (n *Network) arrive(p pair, do func()) {
	n.mu.Lock()
	if n.link(p).Blackhole {
		n.held = append(n.held, heldSegment{p, do})
		n.mu.Unlock()
		return
	}
	n.mu.Unlock()
	do()
}

// release lets go what stands still no longer.
func (n *Network) release() {
	n.mu.Lock()
	held := n.held
	n.held = nil
	n.mu.Unlock()
	for _, h := range held {
		n.arrive(h.pair, h.do)
	}
}

// host returns who has an address, or nil.
func (n *Network) host(a netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[a]
}
