package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// Handler takes what arrives. Its methods are called on reader goroutines, so
// for different flows at once; they must not block, and must not call Close.
type Handler interface {
	// Receive takes one whole message: a datagram, or a message framed from a
	// stream.
	Receive(f sip.Flow, raw string)
	// Malformed takes the start of a stream that cannot be framed. What the
	// handler sends on f before it returns is still written; then the
	// connection is closed.
	Malformed(f sip.Flow, raw string, err error)
	// Closed tells that a stream connection has ended. Nothing follows on f.
	// It is not called for a connection that never came up.
	Closed(f sip.Flow)
}

// WaitHandler is a Handler that wants to know how long a datagram has waited in its
// socket, as a socket that is a [Waiter] tells, under load.
type WaitHandler interface {
	ReceiveWaited(f sip.Flow, raw string, waited time.Duration)
}

// NowHandler is a Handler that may do its work on the goroutine that reads a socket.
// ReceiveNow is called instead of Receive, with the reader holding no lock that sending
// or anything else takes, and between Hold and Release: what a batch leads to leaves
// together. more is how many messages have come with this one and are still to be
// handed over.
type NowHandler interface {
	ReceiveNow(f sip.Flow, raw string, waited time.Duration, more int)
}

// Transport owns sockets and connections.
type Transport struct {
	began   time.Time // what connections count from
	net     Net
	cfg     Config
	handler Handler
	waits   WaitHandler // handler, if it is one
	now     NowHandler  // the same
	refused refusals
	held    held

	partials partials

	ctx    context.Context // ends with Close; dials hang on it
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of ours

	mu        sync.Mutex
	closed    bool
	draining  bool
	listens   []*listen
	lastConn  uint64
	conns     map[uint64]*conn
	byPeer    map[peer][]*conn // open and dialling, in the order they began
	counts    counts
	newcomers newcomers
	udpByAddr map[netip.AddrPort]*socket
}

// listen is one listening address with what is open on it.
type listen struct {
	Listen
	udp *socket
	tcp net.Listener
}

// New returns a Transport without sockets. Close ends it.
func New(n Net, cfg Config, h Handler) *Transport {
	t := &Transport{
		net: n, cfg: cfg.withDefaults(), handler: h, began: time.Now(),
		conns:     make(map[uint64]*conn),
		byPeer:    make(map[peer][]*conn),
		counts:    newCounts(),
		udpByAddr: make(map[netip.AddrPort]*socket),
	}
	t.waits, _ = h.(WaitHandler)
	t.now, _ = h.(NowHandler)
	t.refused.ttl, t.refused.max = t.cfg.RefusalTTL, t.cfg.MaxRefusals
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Listen opens what l asks for and begins to read. It returns the address, with
// the port that was picked where l left that open.
func (t *Transport) Listen(l Listen) (netip.AddrPort, error) {
	if !l.UDP && !l.TCP {
		return netip.AddrPort{}, fmt.Errorf("listen on %s: neither UDP nor TCP is asked for", l)
	}
	l.Addr = unmap(l.Addr)
	// A port free for UDP may be taken for TCP; another attempt finds another.
	attempts := 1
	if l.Addr.Port() == 0 {
		attempts = 16
	}
	var err error
	for range attempts {
		var open *listen
		if open, err = t.open(l); err == nil {
			return t.start(open)
		}
	}
	return netip.AddrPort{}, fmt.Errorf("listen on %s: %w", l, err)
}

func (t *Transport) open(l Listen) (*listen, error) {
	o := &listen{Listen: l}
	if l.UDP {
		pc, err := t.net.ListenPacket(o.Addr)
		if err != nil {
			return nil, err
		}
		o.Addr = netip.AddrPortFrom(l.Addr.Addr(), addrPort(pc.LocalAddr()).Port())
		o.udp = newSocket(t, l.Role, o.Addr, pc)
	}
	if l.TCP {
		ln, err := t.net.Listen(o.Addr)
		if err != nil {
			if o.udp != nil {
				_ = o.udp.pc.Close() // never used
			}
			return nil, err
		}
		o.Addr = netip.AddrPortFrom(l.Addr.Addr(), addrPort(ln.Addr()).Port())
		o.tcp = ln
	}
	return o, nil
}

func (t *Transport) start(o *listen) (netip.AddrPort, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.draining {
		o.close()
		return netip.AddrPort{}, fmt.Errorf("listen on %s: %w", o.Listen, ErrClosed)
	}
	t.listens = append(t.listens, o)
	if o.udp != nil {
		t.udpByAddr[o.Addr] = o.udp
		if d, ok := o.udp.pc.(Deliverer); ok {
			o.udp.deliver(d)
		} else {
			if n, ok := o.udp.pc.(Neighbour); ok {
				n.DeliverNear(o.udp.take)
			}
			t.wg.Go(o.udp.read)
		}
	}
	if o.tcp != nil {
		t.wg.Go(func() { t.accept(o) })
	}
	return o.Addr, nil
}

func (o *listen) close() {
	if o.udp != nil {
		o.udp.close()
	}
	if o.tcp != nil {
		_ = o.tcp.Close()
	}
}

// Addr returns the first listening address of that role in the family of like:
// what Via and Contact show towards like. With like zero, any family.
func (t *Transport) Addr(role sip.Role, like netip.Addr) (netip.AddrPort, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.listens {
		if l.Role == role && sameFamily(l.Addr.Addr(), like) {
			return l.Addr, true
		}
	}
	return netip.AddrPort{}, false
}

// Listens returns what is listened on, in the order it was opened, with the
// ports that were picked.
func (t *Transport) Listens() []Listen {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ls []Listen
	for _, l := range t.listens {
		ls = append(ls, l.Listen)
	}
	return ls
}

// Pick returns a flow towards remote: over UDP from a socket of that role and
// of remote's family; over a stream on an open connection to remote, or one to
// be dialled (Conn 0), which is only offered where that role listens for streams
// in remote's family. The source port of a dial is left open, except for the
// protected client port: that is one end of an SA, and dials only (TS 33.203 §7.1).
func (t *Transport) Pick(proto sip.Proto, role sip.Role, remote netip.AddrPort) (sip.Flow, bool) {
	return t.PickFrom(proto, role, netip.AddrPort{}, remote)
}

// PickFrom is Pick where the sender's own address matters as well: only what
// leaves from local, a socket's address, is offered. The zero local is Pick's.
func (t *Transport) PickFrom(proto sip.Proto, role sip.Role, local, remote netip.AddrPort) (sip.Flow, bool) {
	local, remote = unmap(local), unmap(remote)
	f := sip.Flow{Proto: proto, Role: role, Remote: remote}
	t.mu.Lock()
	defer t.mu.Unlock()
	if proto.Stream() {
		if proto != sip.TCP {
			return sip.Flow{}, false
		}
		if c := t.find(peer{role, remote}, local); c != nil && c.opened {
			return c.flow, true
		}
	}
	for _, l := range t.listens {
		if l.Role != role || !sameFamily(l.Addr.Addr(), remote.Addr()) || local.IsValid() && l.Addr != local {
			continue
		}
		switch {
		case proto == sip.UDP && l.udp != nil:
			f.Local = l.Addr
			return f, true
		case proto == sip.TCP && (l.TCP || role == sip.RoleProtectedClient):
			f.Local = l.Addr
			if role != sip.RoleProtectedClient {
				f.Local = netip.AddrPortFrom(l.Addr.Addr(), 0)
			}
			return f, true
		}
	}
	return sip.Flow{}, false
}

// Refused reports whether a connection to remote was refused, or did not come
// up, so lately that Send would not dial it. local counts for a protected client port
// alone.
func (t *Transport) Refused(role sip.Role, local, remote netip.AddrPort) bool {
	return t.refused.get(wayOf(peer{role, unmap(remote)}, local)) != nil
}

// find returns the connection to p that a message from local may use, the
// youngest first, open before dialling. A zero address or port of local fits
// any. The caller holds t.mu.
func (t *Transport) find(p peer, local netip.AddrPort) *conn {
	var dialling *conn
	for _, c := range slices.Backward(t.byPeer[p]) {
		if !fits(c.flow.Local, local) {
			continue
		}
		if c.opened {
			return c
		}
		if dialling == nil {
			dialling = c
		}
	}
	return dialling
}

func fits(have, want netip.AddrPort) bool {
	if want.Port() != 0 && have.Port() != want.Port() {
		return false
	}
	return !want.Addr().IsValid() || want.Addr().IsUnspecified() || have.Addr() == want.Addr()
}

func sameFamily(a, like netip.Addr) bool {
	return !like.IsValid() || a.Is4() == like.Unmap().Is4()
}

// Stats counts what is open now.
type Stats struct {
	Conns  int // stream connections, those being dialled included
	Queued int // octets that wait to be written, on all sockets
}

// Stats returns the present counts.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	conns := make([]*conn, 0, len(t.conns))
	for _, c := range t.conns {
		conns = append(conns, c)
	}
	sockets := make([]*socket, 0, len(t.udpByAddr))
	for _, s := range t.udpByAddr {
		sockets = append(sockets, s)
	}
	t.mu.Unlock()
	st := Stats{Conns: len(conns)}
	for _, c := range conns {
		st.Queued += c.waiting()
	}
	for _, s := range sockets {
		st.Queued += s.waiting()
	}
	return st
}

// Drain stops accepting connections and waits until everything queued has been
// written. Datagrams and open connections are still served, Send still works:
// running transactions go on. Close follows.
func (t *Transport) Drain(ctx context.Context) error {
	t.mu.Lock()
	t.draining = true
	for _, l := range t.listens {
		if l.tcp != nil {
			_ = l.tcp.Close()
		}
	}
	t.mu.Unlock()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		queued := t.Stats().Queued
		if queued == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("drain the transport: %d octets not yet written: %w", queued, ctx.Err())
		}
	}
}

// Close ends every socket and connection and waits for the goroutines. What is
// still queued fails with ErrClosed.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	listens := slices.Clone(t.listens)
	conns := make([]*conn, 0, len(t.conns))
	for _, c := range t.conns {
		conns = append(conns, c)
	}
	t.mu.Unlock()
	t.cancel()
	for _, l := range listens {
		l.close()
	}
	for _, c := range conns {
		c.close(ErrClosed)
	}
	t.wg.Wait()
	return nil
}

// isClosed reports whether err is what a closed socket returns.
func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
