package ue

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// answered takes the outcome of a REGISTER (TS 24.229 5.1.1.2.1, 5.1.1.5).
func (r *registrar) answered(op *procedure, o dialog.Outcome) {
	p := r.phone
	switch {
	case o.OK():
		r.granted(op, o.Msg)
	case o.Status == 401 && o.Msg != nil:
		r.challenged(op, o)
	case o.Status == 423 && o.Msg != nil && !op.raised && op.expires != 0:
		least, ok := sip.ParseDelta(o.Msg.Get(sip.HMinExpires))
		if !ok || least <= op.expires {
			r.fail(op, r.refused(op, o))
			return
		}
		op.raised, op.expires = true, least
		r.send(op)
	case o.Status == 420 && o.Msg != nil && p.cfg.IPsec == ipsecAuto && !r.plain && op.over == nil:
		p.state(r.callID, "The P-CSCF does not know sec-agree: going on in clear.", "RFC 3329 2.3.1")
		r.plain = true
		r.send(op)
	case o.Msg == nil && op.over != nil && op.over == p.guard.current && op.expires != 0 && !op.fetch && !p.faults.Load().ClearRegister:
		// A P-CSCF that was restarted knows nothing of our associations.
		p.state(r.callID, fmt.Sprintf("%v: registering anew in clear.", r.refused(op, o)), "TS 24.229 5.1.1.4.1")
		r.inClear(op)
		r.send(op)
	case o.Status >= 300 && o.Status < 400, o.Status == 408, o.Status >= 500 && o.Status < 600:
		// TS 24.229 5.1.1.2.1: another P-CSCF, where there is one.
		if op.next < len(p.cfg.Alternates) {
			next := p.cfg.Alternates[op.next]
			op.next++
			p.state(r.callID, fmt.Sprintf("%v: trying the P-CSCF %v.", r.refused(op, o), next), "TS 24.229 5.1.1.2.1")
			p.pcscf.Store(&next)
			r.inClear(op)
			r.send(op)
			return
		}
		r.fail(op, r.refused(op, o))
	default:
		r.fail(op, r.refused(op, o))
	}
}

// inClear has a procedure begin again as if there had been no registration: the
// P-CSCF that it goes to has no association with the phone.
func (r *registrar) inClear(op *procedure) {
	r.last, r.verify = nil, nil
	op.initial, op.answer, op.offered = true, nil, false
	if g := r.phone.guard; g != nil {
		g.leave(true)
	}
	r.phone.setWay(nil, nil)
}

// challenged takes a 401.
func (r *registrar) challenged(op *procedure, o dialog.Outcome) {
	if op.challenges++; op.challenges > maxChallenges {
		r.fail(op, r.refused(op, o))
		return
	}
	answer, err := r.authenticate(o.Msg, "sip:"+r.phone.cfg.Domain)
	if err != nil {
		e := r.refused(op, o)
		e.Err = err
		e.Next = "look at the WWW-Authenticate of the 401: want Digest with an AKA algorithm and a nonce of RAND and AUTN"
		r.fail(op, e)
		return
	}
	op.algorithm, op.cause = answer.algorithm, answer.cause
	var sync *aka.SyncFailureError
	if errors.As(answer.cause, &sync) {
		op.resync = true
	}
	if answer.cause != nil {
		r.phone.state(r.callID, fmt.Sprintf("The SIM refuses the challenge: %v.", answer.cause), "TS 24.229 5.1.1.5.3")
	}
	r.last = &answer.credentials
	g := r.phone.guard
	if g == nil || r.plain {
		r.verify = nil
		for v := range o.Msg.Values(sip.HSecurityServer) {
			r.verify = append(r.verify, strings.Clone(v))
		}
		r.send(op)
		return
	}
	// The set of a challenge that was answered before, and is repeated, goes; what
	// the SIM refuses gets no set, and its answer the way of the REGISTER before, with
	// a new offer (TS 24.229 5.1.1.5.3).
	base := op.over
	if base != nil && base == op.answer {
		base = base.base
	}
	op.answer = nil
	if answer.cause != nil {
		g.forgo()
		op.offered = false
		r.send(op)
		return
	}
	g.challenged(o.Msg, answer.keys, base, func(a *association, err error) {
		switch {
		case r.doing != op:
			if a != nil {
				g.over(a)
			}
		case errors.Is(err, errNoServer) && r.phone.cfg.IPsec == ipsecAuto && base == nil:
			r.phone.state(r.callID, "The P-CSCF agrees to no IPsec: going on in clear.", "RFC 3329 2.3.1")
			r.send(op)
		case err != nil:
			e := r.refused(op, o)
			e.Err, e.Next = err, r.disagreement(err)
			r.fail(op, e)
		default:
			op.answer = a
			r.send(op)
		}
	})
}

// disagreement is what to do about a failed security agreement.
func (r *registrar) disagreement(err error) string {
	switch {
	case errors.Is(err, errNoServer):
		return "the P-CSCF has no IPsec, or not for this phone: set its policy to required, or have the phone go without (IPsec none)"
	case errors.Is(err, ErrNoAgreement):
		return "compare the algorithms of the P-CSCF with those that the phone offers; if it was not the P-CSCF that wrote this, somebody changes messages on the way"
	}
	return "look at the phone's stack: " + r.phone.guard.stack.Name() + " space protects, and needs what its error says"
}
