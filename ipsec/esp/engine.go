package esp

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// Upper takes what has come out of ESP, authentic, from and for the addresses and
// ports of its association. It owns data only during the call, and does not block.
type Upper interface {
	// ReceiveUDP takes the payload of a datagram.
	ReceiveUDP(local, remote netip.AddrPort, payload []byte) error
	// ReceiveTCP takes a segment with its header, whose checksum is not checked.
	ReceiveTCP(local, remote netip.AddrPort, segment []byte) error
	// Removed tells that nothing goes between local and remote any more.
	Removed(local, remote netip.AddrPort)
}

// What an Upper may answer to a datagram that it does not take.
var (
	ErrNoListener = errors.New("esp: nobody listens there")
	ErrQueueFull  = errors.New("esp: the reader is too slow")
)

// Why a packet is not sent.
var (
	ErrNoSA      = errors.New("esp: no security association between these addresses and ports; nothing is sent in clear")
	ErrNoPath    = errors.New("esp: no carrier reaches the peer")
	ErrTooLong   = errors.New("esp: does not fit into an IP packet")
	ErrExhausted = errors.New("esp: the association has used up its sequence numbers; register again")
	ErrClosed    = errors.New("esp: closed")
)

// Config says how an [Engine] works.
type Config struct {
	// Carriers move the packets. The Engine closes them.
	Carriers []Carrier
	// PeerUDPPort is where a peer listens for ESP in UDP, as long as no packet
	// has shown it; 0 is [ipsec.NATPort].
	PeerUDPPort uint16
	// KeepAlive is how often a set with UDPTunnel that sends nothing sends a
	// keep-alive, so that a NAT keeps its port (RFC 3948 4). 0 sends none; only
	// the side behind the NAT, a phone, has to.
	KeepAlive time.Duration
	// Observer is told what happens; nil for none.
	Observer Observer
}

// Engine holds sets and protects what goes between their addresses. It is an
// [ipsec.Backend].
type Engine struct {
	cfg      Config
	upper    Upper
	carriers atomic.Pointer[[]Carrier]
	began    time.Time // what times of associations are counted from, see since
	in       inTable
	out      outTable
	drops    [Reasons]atomic.Uint64
	unknown  strangers
	inner    reassembler // of fragments within tunnels (RFC 4301 7)
	warm     warm
	ends     *ipsec.Alarms[*association]

	mu      sync.Mutex
	sets    map[ipsec.SetID]*association
	claimed map[netip.Addr]bool
	closed  bool
	wg      sync.WaitGroup
}

var _ ipsec.Backend = (*Engine)(nil)

// NewEngine starts an engine that hands what it receives to upper.
func NewEngine(cfg Config, upper Upper) *Engine {
	e := &Engine{cfg: cfg, upper: upper, began: time.Now(), sets: make(map[ipsec.SetID]*association), claimed: make(map[netip.Addr]bool)}
	e.out.seed = maphash.MakeSeed()
	e.ends = ipsec.NewAlarms(e.expire)
	if e.cfg.PeerUDPPort == 0 {
		e.cfg.PeerUDPPort = ipsec.NATPort
	}
	e.carriers.Store(&[]Carrier{})
	for _, c := range cfg.Carriers {
		_ = e.AddCarrier(c) // fails only when closed
	}
	return e
}

// AddCarrier puts one more carrier to use. The Engine closes it.
func (e *Engine) AddCarrier(c Carrier) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	list := append([]Carrier(nil), *e.carriers.Load()...)
	list = append(list, c)
	e.carriers.Store(&list)
	if cl, ok := c.(Claimer); ok {
		for a := range e.claimed {
			cl.Claim(a)
		}
	}
	e.wg.Go(func() {
		_ = c.Receive(func(data []byte, src, dst netip.AddrPort) { e.receive(c, data, src, dst) })
	})
	return nil
}

// Claim tells carriers, those to come too, that packets for a are for this engine.
func (e *Engine) Claim(a netip.Addr) {
	e.mu.Lock()
	known := e.claimed[a]
	e.claimed[a] = true
	e.mu.Unlock()
	if known {
		return
	}
	for _, c := range *e.carriers.Load() {
		if cl, ok := c.(Claimer); ok {
			cl.Claim(a)
		}
	}
}

// since is a time as an atomic keeps it: nanoseconds since the engine began, from
// 1 on, 0 for never. Unix time would move when somebody sets the clock.
func (e *Engine) since(t time.Time) int64 { return int64(t.Sub(e.began)) + 1 }

// at is the time of which since made ns.
func (e *Engine) at(ns int64) time.Time { return e.began.Add(time.Duration(ns - 1)) }

// Name is "user".
func (e *Engine) Name() string { return "user" }

// Install puts a set in, and holds on to it: it does not change any more.
func (e *Engine) Install(s *ipsec.Set) error {
	if err := s.Check(); err != nil {
		return fmt.Errorf("esp: installing a set: %w", err)
	}
	a, err := e.newAssociation(s)
	if err != nil {
		return err
	}
	life := time.Until(s.Hard)
	if !s.Hard.IsZero() && life <= 0 {
		return fmt.Errorf("esp: installing %v: its lifetime ended %v ago", s, -life.Round(time.Millisecond))
	}
	e.Claim(s.Local.Addr)

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	if e.sets[s.ID] != nil {
		return fmt.Errorf("esp: installing %v: a set with this number is installed; remove it first", s)
	}
	for i := range a.in {
		if o := e.in.add(&a.in[i]); o != nil {
			if i > 0 {
				e.in.remove(&a.in[0])
			}
			return fmt.Errorf("esp: installing %v: SPI %d is in use by %v; choose another", s, a.in[i].spi(), o.of.set)
		}
	}
	for i := range a.out {
		e.out.add(&a.out[i])
	}
	e.sets[s.ID] = a
	e.warm.add(&a.transform)
	if !s.Hard.IsZero() {
		a.mu.Lock()
		a.hard = e.since(s.Hard)
		e.ends.Set(a, s.Hard)
		a.mu.Unlock()
	}
	e.startKeepAlive(a)
	return nil
}

// Extend moves the end of a set to a time that is still to come; the zero time
// takes it away. After an error the set is as it was.
func (e *Engine) Extend(id ipsec.SetID, hard time.Time) error {
	e.mu.Lock()
	a := e.sets[id]
	e.mu.Unlock()
	if a == nil {
		return fmt.Errorf("esp: extending set %d: it is not installed; it may have expired", id)
	}
	life := time.Until(hard)
	if !hard.IsZero() && life <= 0 {
		return fmt.Errorf("esp: extending set %d to %v ago; remove it instead", id, -life.Round(time.Millisecond))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.removed:
		return fmt.Errorf("esp: extending set %d: it has just expired", id)
	case hard.IsZero():
		a.hard = 0
		e.ends.Stop(a)
	default:
		a.hard = e.since(hard)
		e.ends.Set(a, hard)
	}
	return nil
}

// expire ends a set whose time has come, unless it was extended while the alarm
// was on its way here.
func (e *Engine) expire(a *association) {
	if e.drop(a, true) && e.cfg.Observer != nil {
		e.cfg.Observer.Expired(a.set)
	}
}

// Remove takes a set out.
func (e *Engine) Remove(id ipsec.SetID) error {
	e.mu.Lock()
	a := e.sets[id]
	e.mu.Unlock()
	if a != nil {
		e.drop(a, false)
	}
	return nil
}

// drop takes a set out; false where it was out already, or has not expired.
func (e *Engine) drop(a *association, expired bool) bool {
	if !a.end(expired) {
		return false
	}
	e.mu.Lock()
	delete(e.sets, a.set.ID)
	e.mu.Unlock()
	for i := range 2 {
		e.in.remove(&a.in[i])
		e.out.remove(&a.out[i])
	}
	e.warm.forget(&a.transform)
	for _, sa := range a.set.Out() {
		if e.out.get(endpoints{sa.Src, sa.Dst}) == nil {
			e.upper.Removed(sa.Src, sa.Dst)
		}
	}
	return true
}

// Close removes every set and closes the carriers.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	all := make([]*association, 0, len(e.sets))
	for _, a := range e.sets {
		all = append(all, a)
	}
	e.mu.Unlock()
	for _, a := range all {
		e.drop(a, false)
	}
	e.ends.End()
	var errs []error
	for _, c := range *e.carriers.Load() {
		errs = append(errs, c.Close())
	}
	e.wg.Wait()
	return errors.Join(errs...)
}
