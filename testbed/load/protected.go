package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/testbed/ue"
)

// protected are phones behind IPsec (TS 33.203): those of package ue, with all their
// manners, on one stack in user space that sends ESP in UDP. They take more of the
// machine than light ones, some 50 KiB and 0.5 ms an operation.
type protected struct {
	leg     *ClearLeg
	stack   *netstack.Stack
	carrier netip.AddrPort // of the P-CSCF: ESP in UDP
	at      netip.AddrPort // where the phones receive that

	ctx  context.Context // ends when phones shall stop what they do
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	phones []*ue.Phone // by index, nil until its first registration
}

func newProtected(cfg *Config) (*protected, error) {
	x := &protected{carrier: cfg.ESP, phones: make([]*ue.Phone, cfg.Phones)}
	var err error
	if x.leg, err = NewClearLeg(); err != nil {
		return nil, fmt.Errorf("opening the phones' socket: %w", err)
	}
	x.leg.gm = cfg.Gm
	var carrier esp.Carrier
	if carrier, err = esp.ListenUDP(netip.AddrPortFrom(cfg.Address, 0)); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the phones' ESP in UDP: %w", err), x.leg.Close())
	}
	x.at = carrier.Local()
	if cfg.Gm != nil {
		carrier = &impaired{Carrier: carrier, gm: cfg.Gm}
	}
	if x.stack, err = netstack.New(netstack.Config{Carriers: []esp.Carrier{carrier}, PeerUDPPort: cfg.ESP.Port()}); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the phones' IPsec: %w", err), carrier.Close(), x.leg.Close())
	}
	x.ctx, x.stop = context.WithCancel(context.Background())
	return x, nil
}

// close ends all phones.
func (x *protected) close() {
	x.stop()
	x.wg.Wait()
	for _, p := range x.phones {
		if p != nil {
			p.Close()
		}
	}
	_, _ = x.stack.Close(), x.leg.Close()
}

// phone is the one with an index, switched on when it is first used.
func (x *protected) phone(cfg *Config, p *phone) (*ue.Phone, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.phones[p.index] != nil {
		return x.phones[p.index], nil
	}
	imsi := fmt.Sprintf("%015d", cfg.First+uint64(p.index))
	u, err := ue.New(ue.Config{
		Name: imsi, Net: x.leg, Port: x.leg.Port(), Local: netip.AddrFrom4(p.addr), PCSCF: p.pcscf, Domain: cfg.Domain,
		IMPI: imsi + "@" + cfg.Domain, IMPU: "sip:" + imsi + "@" + cfg.Domain, K: cfg.K, OPc: cfg.OPc, Transport: sip.UDP,
		// One pair of algorithms, so that the first REGISTER fits a datagram; over the
		// population all are in use.
		IPsec: "user", Stack: x.stack, ESPUDP: x.carrier, Offer: []ipsec.Pair{ipsec.Pairs[int(p.index)%len(ipsec.Pairs)]},
		Expires: uint32(cfg.Expires), NoSubscribe: true, NoRefresh: true,
	})
	if err != nil {
		return nil, fmt.Errorf("switching a phone on: %w", err)
	}
	x.phones[p.index] = u
	return u, nil
}

// perform does an attempt in a goroutine of its own.
func (e *engine) perform(a *attempt) {
	x := e.protected
	number, kind, from, to := a.number, a.kind, a.from, a.to
	a.deadline = never // the phones know by themselves
	x.wg.Go(func() {
		ctx, cancel := context.WithTimeout(x.ctx, e.cfg.Patience+e.cfg.Ring+e.cfg.Hold)
		defer cancel()
		d := x.do(ctx, &e.cfg, kind, from, to)
		e.lock()
		defer e.unlock()
		if a.number != number || a.from == nil { // it was abandoned meanwhile
			return
		}
		a.retrans, a.own = d.again, d.own
		if !d.connected.IsZero() {
			a.connected = d.connected.Sub(e.began)
		}
		switch {
		case d.err != nil:
			e.lose(a, d.cause(), d.forgotten())
			return
		case kind == Deregister:
			from.registered = false
		case kind.registers():
			from.registered = true
		}
		e.succeed(a)
	})
}

// done is what became of an attempt.
type done struct {
	again     int           // messages that were sent again
	own       time.Duration // how long the phones waited by themselves
	connected time.Time     // when the call was up
	method    string        // of the request that ended it
	err       error
}

var methods = [scenarios]string{"REGISTER", "REGISTER", "REGISTER", "INVITE", "INVITE", "INVITE", "INVITE", "INVITE", "MESSAGE", "SUBSCRIBE", "INVITE", "REGISTER"}

// do does what a scenario is.
func (x *protected) do(ctx context.Context, cfg *Config, kind Scenario, from, to *phone) (d done) {
	d.method = methods[kind]
	var p, callee *ue.Phone
	if p, d.err = x.phone(cfg, from); d.err != nil {
		return d
	}
	callee = p
	if to != nil {
		if callee, d.err = x.phone(cfg, to); d.err != nil {
			return d
		}
		unread(callee)
		defer unread(callee) // nobody else takes them out
	}
	repeats := func() int {
		n := p.Stats().Transaction.Retransmits + p.Repeated()
		if callee != p {
			n += callee.Stats().Transaction.Retransmits + callee.Repeated()
		}
		return int(n)
	}
	before := repeats()
	defer func() { d.again = repeats() - before }()
	target := "sip:" + callee.Name() + "@" + cfg.Domain
	opt := ue.CallOptions{NoPreconditions: true, No100rel: true}
	switch kind {
	case Register, Recover: // what the phone may have from before is worth nothing
		_, d.err = p.RegisterAnew(ctx)
	case Reregister:
		_, d.err = p.Register(ctx)
	case Deregister:
		d.err = p.Deregister(ctx)
	case Subscribe:
		d.err = p.Subscribe(ctx)
	case Message:
		if d.err = p.Message(ctx, target, text); d.err == nil {
			select {
			case <-callee.Messages():
			case <-ctx.Done():
				d.err = ctx.Err()
			}
		}
	case Priority:
		opt.Fields = []sip.Field{{ID: sip.HResourcePriority, Value: cfg.Priority}}
		fallthrough
	case Call:
		callee.SetAnswer(ue.Answer{RingFor: cfg.Ring})
		x.call(ctx, cfg, p, target, opt, &d)
	case Emergency:
		if x.call(ctx, cfg, p, sos, opt, &d); d.err != nil {
			d.err = wanted(d.err, 380)
		}
	case Cancelled:
		callee.SetAnswer(ue.Answer{Action: ue.NoAnswer})
		opt.CancelAfter = time.Nanosecond
		_, d.err = p.Call(ctx, target, opt)
		d.err = wanted(d.err, 487)
	case Rejected:
		callee.SetAnswer(ue.Answer{Action: ue.Busy})
		_, d.err = p.Call(ctx, target, opt)
		d.err = wanted(d.err, 486)
	case Unanswered:
		d.own = cfg.Ring
		callee.SetAnswer(ue.Answer{Action: ue.Decline, RingFor: max(cfg.Ring, time.Nanosecond)})
		_, d.err = p.Call(ctx, target, opt)
		d.err = wanted(d.err, 603)
	}
	return d
}

// call makes a call that is answered, and ends it.
func (x *protected) call(ctx context.Context, cfg *Config, p *ue.Phone, target string, opt ue.CallOptions, d *done) {
	d.own = cfg.Ring
	var c *ue.Call
	if c, d.err = p.Call(ctx, target, opt); d.err != nil {
		return
	}
	d.connected, d.method = time.Now(), "BYE"
	if cfg.Hold > 0 {
		d.own += cfg.Hold
		select {
		case <-time.After(cfg.Hold):
		case <-ctx.Done():
		}
	}
	if d.err = c.Hangup(ctx); d.err == nil && c.End().Unknown {
		d.err = &ue.Error{Doing: "hanging up", Status: 481}
	}
}

// unread takes out what a phone has been sent and nobody has looked at, of attempts
// that have failed too.
func unread(p *ue.Phone) {
	for {
		select {
		case <-p.Calls():
		case <-p.Messages():
		default:
			return
		}
	}
}

// wanted makes a success of the refusal that a scenario wants.
func wanted(err error, status int) error {
	var e *ue.Error
	switch {
	case err == nil:
		return errors.New("answered, which nobody did")
	case errors.As(err, &e) && e.Status == status:
		return nil
	}
	return err
}

// cause is why an attempt failed, in few words: there shall not be many.
func (d *done) cause() string {
	var e *ue.Error
	switch {
	case errors.As(d.err, &e) && e.Status != 0:
		return fmt.Sprintf("%s: %d", d.method, e.Status)
	case d.silent():
		return d.method + ": no final answer"
	case errors.Is(d.err, aka.ErrMACFailure):
		return d.method + ": " + errMAC.Error()
	}
	return d.method + ": the phone could not"
}

func (d *done) silent() bool {
	return errors.Is(d.err, context.DeadlineExceeded) || errors.Is(d.err, context.Canceled)
}

// forgotten reports whether the core may have forgotten the phone. A P-CSCF without its
// security associations says nothing.
func (d *done) forgotten() bool {
	var e *ue.Error
	if errors.As(d.err, &e) && e.Status != 0 {
		return forgets(e.Status)
	}
	return d.silent() || errors.Is(d.err, ue.ErrNotRegistered)
}
