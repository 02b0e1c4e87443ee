package diameter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A Node is one Diameter identity with its connections. See the package comment
// for goroutines and callbacks.
type Node struct {
	cfg        Config
	duplicates *duplicates
	deadlines  deadlines
	endToEnd   atomic.Uint32
	sessionLow atomic.Uint32
	sessionHi  uint32
	heads      map[uint32][]byte // what each message of an application holds, encoded
	origin     []byte            // Origin-Host and Origin-Realm, encoded
	holder     Holder            // may be nil

	stop   context.Context // done when Close begins to take connections down
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the node and its connections

	mu        sync.Mutex
	started   bool
	closing   bool
	peers     []*peer          // of Config.Peers, in order
	byHost    map[string]*conn // identified connections, by Origin-Host in lower case
	conns     map[*conn]struct{}
	accepted  int // of conns
	listeners []net.Listener
	changed   chan struct{} // closed and replaced when a connection changes state
}

// New makes a node. It opens nothing before Start and Listen.
func New(cfg Config) (*Node, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	now := uint32(time.Now().Unix())
	n := &Node{
		cfg:        cfg,
		duplicates: newDuplicates(cfg.MaxDuplicates),
		sessionHi:  now,
		byHost:     make(map[string]*conn),
		conns:      make(map[*conn]struct{}),
		changed:    make(chan struct{}),
	}
	// RFC 6733 3: the high 12 bits are the low 12 bits of the time, the low 20
	// bits random, so that identifiers do not repeat over a quick restart.
	n.endToEnd.Store(now<<20 | rand.Uint32()&0xfffff)
	n.sessionLow.Store(rand.Uint32())
	n.encodeHeads()
	n.stop, n.cancel = context.WithCancel(context.Background())
	for _, p := range cfg.Peers {
		n.peers = append(n.peers, &peer{cfg: p})
	}
	return n, nil
}

// OriginHost returns the node's own identity.
func (n *Node) OriginHost() string { return n.cfg.OriginHost }

// OriginRealm returns the node's own realm.
func (n *Node) OriginRealm() string { return n.cfg.OriginRealm }

// A Holder gathers what is sent between Hold and Release. Both may be called from any
// goroutine, and do not block.
type Holder interface {
	Hold()
	Release()
}

// Gather has h called around the callbacks of answers that were read together, for
// callbacks that do their work where they are called. It must be called before Start and
// Listen.
func (n *Node) Gather(h Holder) { n.holder = h }

// Start begins to dial every peer that has an address.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return ErrClosed
	}
	if n.started {
		return errors.New("diameter: node was started already")
	}
	n.started = true
	for _, p := range n.peers {
		if p.cfg.Address != "" {
			n.wg.Go(func() { n.keepDialed(p) })
		}
	}
	return nil
}

// Listen accepts connections on l until Close, which also closes l. It does not
// block. For TLS, give it a tls.NewListener.
func (n *Node) Listen(l net.Listener) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return ErrClosed
	}
	n.listeners = append(n.listeners, l)
	n.wg.Go(func() { n.accept(l) })
	return nil
}

func (n *Node) accept(l net.Listener) {
	pause := 5 * time.Millisecond
	for {
		nc, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || n.stop.Err() != nil {
				return
			}
			n.refused(l.Addr(), nil, &TransportError{
				Reason: "cannot accept a connection on " + l.Addr().String() + ", which waits; it is tried again. If descriptors have run out, raise the limit on open files", Err: err})
			if !n.sleep(pause) {
				return
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		c := newConn(n, nc, nil)
		n.mu.Lock()
		if n.closing || n.accepted >= n.cfg.MaxConnections {
			closing := n.closing
			n.mu.Unlock()
			if nc.Close(); !closing {
				n.refused(l.Addr(), nc.RemoteAddr(), &TransportError{Reason: "a connection was closed, as " + strconv.Itoa(n.cfg.MaxConnections) + " stand; find out who opens so many"})
			}
			continue
		}
		n.accepted++
		n.conns[c] = struct{}{}
		n.wg.Go(c.serveAccepted)
		n.mu.Unlock()
	}
}

func (n *Node) refused(local, remote net.Addr, err error) {
	if o := n.cfg.Observer; o != nil {
		o.Refused(RefusedEvent{Local: local, Remote: remote, Err: err})
	}
}

// NewSessionID returns a Session-Id that is unique for ever (RFC 6733 8.8).
func (n *Node) NewSessionID() string {
	return string(n.appendSessionID(nil))
}

func (n *Node) appendSessionID(b []byte) []byte {
	b = strconv.AppendUint(append(append(b, n.cfg.OriginHost...), ';'), uint64(n.sessionHi), 10)
	return strconv.AppendUint(append(b, ';'), uint64(n.sessionLow.Add(1)), 10)
}

// PeerStatus is one line of [Node.Peers].
type PeerStatus struct {
	Host    string // Origin-Host; of a peer that is down, the configured one
	Address string // configured
	State   State
	Dialed  bool
}

// Peers lists the configured peers in order, then the others that are connected.
func (n *Node) Peers() []PeerStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []PeerStatus
	seen := make(map[*conn]bool)
	for _, p := range n.peers {
		s := PeerStatus{Host: p.cfg.Host, Address: p.cfg.Address, State: Down}
		if c := p.conn; c != nil {
			s.Host, s.State, s.Dialed = c.host, c.State(), c.isDialed
			seen[c] = true
		}
		out = append(out, s)
	}
	for _, c := range n.byHost {
		if !seen[c] {
			out = append(out, PeerStatus{Host: c.host, State: c.State(), Dialed: c.isDialed})
		}
	}
	return out
}

// WaitReady blocks until a request to the application could be sent to a
// configured peer, for start-up and readiness probes.
func (n *Node) WaitReady(ctx context.Context, application uint32) error {
	for {
		n.mu.Lock()
		changed, closing := n.changed, n.closing
		n.mu.Unlock()
		if closing {
			return ErrClosed
		}
		if n.route(route{app: application}, nil) != nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return &TransportError{Reason: "no peer is up for application " + fmt.Sprint(application), Err: ctx.Err()}
		}
	}
}

// signal wakes WaitReady.
func (n *Node) signal() {
	n.mu.Lock()
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
}

// Close takes the node down in order: no new requests, requests under way end or
// ctx does, DPR to every peer, DPA, close. It waits for every goroutine of the
// node; callbacks still outstanding get ErrClosed. A second call waits too.
func (n *Node) Close(ctx context.Context) error {
	n.mu.Lock()
	first := !n.closing
	n.closing = true
	listeners := n.listeners
	n.listeners = nil
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	var errs []error
	for _, l := range listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("diameter: close listener %v: %w", l.Addr(), err))
		}
	}
	if first {
		var drained sync.WaitGroup
		for _, c := range conns {
			drained.Go(func() { c.disconnect(ctx) })
		}
		drained.Wait()
		n.cancel()
		n.signal()
	}
	n.wg.Wait()
	return errors.Join(errs...)
}
