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
	carrier, err := esp.ListenUDP(netip.AddrPortFrom(cfg.Address, 0))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the phones' ESP in UDP: %w", err), x.leg.Close())
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
		again, own, err := x.do(ctx, &e.cfg, kind, from, to)
		e.lock()
		defer e.unlock()
		if a.number != number || a.from == nil { // it was abandoned meanwhile
			return
		}
		a.retrans, a.own = again, own
		switch {
		case err != nil:
			e.fail(a, cause(kind, err))
			return
		case kind == Deregister:
			from.registered = false
		case kind.registers():
			from.registered = true
		}
		e.succeed(a)
	})
}

// do does what a scenario is, and says how many messages were sent again and how long
// the phones waited by themselves.
func (x *protected) do(ctx context.Context, cfg *Config, kind Scenario, from, to *phone) (again int, own time.Duration, err error) {
	p, err := x.phone(cfg, from)
	if err != nil {
		return 0, 0, err
	}
	callee := p
	if to != nil {
		if callee, err = x.phone(cfg, to); err != nil {
			return 0, 0, err
		}
	}
	repeats := func() int {
		n := int(p.Stats().Transaction.Retransmits)
		if callee != p {
			n += int(callee.Stats().Transaction.Retransmits)
		}
		return n
	}
	before := repeats()
	defer func() { again = repeats() - before }()
	target := "sip:" + callee.Name() + "@" + cfg.Domain
	opt := ue.CallOptions{NoPreconditions: true, No100rel: true}
	switch kind {
	case Register:
		if p.Registration() != nil {
			if err := p.Reset(); err != nil { // what it had is gone
				return 0, 0, err
			}
		}
		_, err = p.Register(ctx)
	case Reregister:
		_, err = p.Register(ctx)
	case Deregister:
		err = p.Deregister(ctx)
	case Message:
		if err = p.Message(ctx, target, text); err == nil {
			select {
			case <-callee.Messages():
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
	case Call:
		own = cfg.Ring
		callee.SetAnswer(ue.Answer{RingFor: cfg.Ring})
		var c *ue.Call
		if c, err = p.Call(ctx, target, opt); err != nil {
			break
		}
		if cfg.Hold > 0 {
			own += cfg.Hold
			select {
			case <-time.After(cfg.Hold):
			case <-ctx.Done():
			}
		}
		err = c.Hangup(ctx)
	case Cancelled:
		callee.SetAnswer(ue.Answer{Action: ue.NoAnswer})
		opt.CancelAfter = time.Nanosecond
		_, err = p.Call(ctx, target, opt)
		err = wanted(err, 487)
	case Rejected:
		callee.SetAnswer(ue.Answer{Action: ue.Busy})
		_, err = p.Call(ctx, target, opt)
		err = wanted(err, 486)
	case Unanswered:
		own = cfg.Ring
		callee.SetAnswer(ue.Answer{Action: ue.Decline, RingFor: max(cfg.Ring, time.Nanosecond)})
		_, err = p.Call(ctx, target, opt)
		err = wanted(err, 603)
	}
	if kind.two() {
		select { // nobody else takes it out
		case <-callee.Calls():
		default:
		}
	}
	return 0, own, err
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
func cause(kind Scenario, err error) string {
	method := "INVITE"
	switch {
	case kind.registers():
		method = "REGISTER"
	case kind == Message:
		method = "MESSAGE"
	}
	var e *ue.Error
	switch {
	case errors.As(err, &e) && e.Status != 0:
		return fmt.Sprintf("%s: %d", method, e.Status)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return method + ": no final answer"
	case errors.Is(err, aka.ErrMACFailure):
		return method + ": " + errMAC.Error()
	}
	return method + ": the phone could not"
}
