package pcscf

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ipsec"
)

// agreeing is the security agreement within a REGISTER (RFC 3329, TS 33.203 7.2).
type agreeing struct {
	on     *association      // the set over which it came, nil in clear
	key    phoneKey          // the phone
	outer  netip.AddrPort    // with a NAT between: where it is seen from
	client []ipsec.Mechanism // Security-Client
	choice ipsec.Choice      // what of it is taken, if offered
	// offered is false for a phone that re-registers without offering anything.
	offered bool
	// stale is why a set cannot be made of what is offered: it is in use. Without a
	// challenge that does no harm, and some phones de-register so.
	stale error
	// anew is set for a REGISTER that does not answer its challenge: with auts, or
	// with an empty response (TS 24.229 5.1.1.5.3).
	anew bool
	keys keys // of the 401, until its set is made
}

// inClear is the agreement of all REGISTERs where there is no IPsec. Nobody writes to it.
var inClear agreeing

// agree looks at the security agreement of a REGISTER. Status 0 of the refusal is
// none.
func (r *registration) agree(cred sip.Credentials) node.Refusal {
	c, m := r.s.sec, r.x.Req
	if c == nil {
		return node.Refusal{}
	}
	g := r.agreeing
	g.key = phoneKey{r.impi, r.x.Flow.Remote.Addr().Unmap()}
	g.anew = cred.AUTS != "" || cred.Nonce != "" && cred.Response == ""
	nat := false
	if g.on != nil {
		g.key, g.outer, nat = g.on.phone.key, g.on.Outer, g.on.Mode == ipsec.UDPTunnel
		if refusal := r.protected(); refusal.Status != 0 {
			return refusal
		}
	} else if nat = behindNAT(m, r.x.Flow); nat {
		g.outer = netip.AddrPortFrom(g.key.addr, 0)
	}
	var others bool
	var bad error
	g.client, others, bad = mechanisms(m, sip.HSecurityClient)
	r.arrived(nat, cred)
	switch {
	case len(g.client) == 0 && bad != nil:
		return c.refuse(r.impi, node.Refusal{Status: 400, Cause: "bad_security_client", Clause: "RFC 3329 2.2",
			Text: "The Security-Client header cannot be read: " + bad.Error() + ".", Next: "Is it a phone's? Its Security-Client is in the trace."}, nil)
	case len(g.client) == 0 && !others && g.on == nil:
		return c.refuse(r.impi, node.Refusal{Status: 421, Cause: "no_security_client", Clause: "RFC 3329 2.3.1",
			Text:   "The REGISTER offers no IPsec (no Security-Client), and this P-CSCF asks for it.",
			Next:   "Switch IPsec on in the phone's IMS settings, or set ipsec.policy of the P-CSCF to none, for phones that have none.",
			Fields: c.demand()}, new(ipsec.UnacceptableError))
	case len(g.client) == 0 && g.on != nil:
		return node.Refusal{} // well, if nobody challenges it
	}
	var err error
	if g.choice, err = ipsec.Choose(c.policy, g.client, nat); err != nil {
		ref := node.Refusal{Status: 494, Cause: "unacceptable_proposal", Clause: "TS 33.203 7.3.2.1",
			Text: "Nothing that the phone offers can be agreed to: " + err.Error() + ".",
			Next: "Compare the phone's Security-Client with ipsec.algorithms of the P-CSCF.", Fields: c.demand()}
		if u := new(ipsec.UnacceptableError); errors.As(err, &u) && u.BehindNAT {
			ref.Cause, ref.Next = "nat", "Let the phone reach the P-CSCF without address translation: its Via names another address than the one that its packets come from."
		}
		return c.refuse(r.impi, ref, err)
	}
	g.offered = true
	r.fresh()
	return node.Refusal{}
}

// arrived remembers what came.
func (r *registration) arrived(nat bool, cred sip.Credentials) {
	g := r.agreeing
	via := ""
	if v, err := r.x.Req.TopVia(); err == nil {
		via = strings.Clone(v.Host[:min(len(v.Host), maxIMPI)])
	}
	r.s.sec.facts.note(r.impi, func(k *fact, now moment) {
		if g.on == nil {
			k.registerAt, k.source, k.via, k.behindNAT, k.offers = now, r.x.Flow.Remote, via, nat, g.client
		}
		switch {
		case cred.AUTS != "":
			k.resyncs++
		case g.anew:
			k.macFailures++
		}
	})
}

// protected looks at what only a REGISTER over a set has.
func (r *registration) protected() node.Refusal {
	c, g := r.s.sec, r.agreeing
	if r.impi != g.on.Owner {
		return c.refuse(r.impi, node.Refusal{Status: 403, Cause: "another_impi", Clause: "TS 24.229 5.2.2.2",
			Text: "The REGISTER names the private identity " + r.impi + ", and came over the SA set of " + g.on.Owner + ".",
			Next: "A phone registers another private identity in clear, and gets a set of its own for it."}, nil)
	}
	if g.anew && c.established(g.on) {
		return node.Refusal{} // it need not know the list of its new challenge
	}
	if err := r.s.verify(g.on, r.x.Req, true); err != nil {
		return c.mismatch(g.on, err, "security_verify", "RFC 3329 2.3.1")
	}
	if !c.established(g.on) {
		client, _, _ := mechanisms(r.x.Req, sip.HSecurityClient)
		if err := c.consistent(g.on, client); err != nil {
			return c.mismatch(g.on, err, "security_client_changed", "TS 33.203 7.3.2.3")
		}
	}
	return node.Refusal{}
}

// fresh looks at what a REGISTER over an established set offers anew.
func (r *registration) fresh() {
	c, g := r.s.sec, r.agreeing
	if g.on == nil || !c.established(g.on) {
		return
	}
	_, held := c.held(g.key)
	err := ipsec.Fresh(g.client, held)
	if stale := new(ipsec.StaleError); errors.As(err, &stale) && stale.Refuse() {
		g.stale = err
	}
	if err != nil {
		r.s.verdicts.Decide(r.x, err.Error()+".", "TS 33.203 7.4")
	}
}

// verify compares the Security-Verify of a request over a set with the
// Security-Server that was sent for it. Only a REGISTER must have one: phones leave
// it out elsewhere.
func (s *Server) verify(on *association, m *sip.Message, must bool) error {
	verify, _, bad := mechanisms(m, sip.HSecurityVerify)
	if !must && !m.Has(sip.HSecurityVerify) {
		return nil
	}
	if bad != nil {
		return ipsec.ErrVerify
	}
	return ipsec.Compare(s.sec.server(on), verify)
}

// mismatch refuses what does not agree with its set, with what it must agree with.
func (c *security) mismatch(on *association, err error, cause, clause string) node.Refusal {
	return c.refuse(on.Owner, node.Refusal{Status: 494, Cause: cause, Clause: clause, IMPI: on.Owner,
		Text:   "The security agreement of " + on.Owner + " does not hold: " + err.Error() + ".",
		Next:   "Compare the Security headers of the phone's REGISTERs with the Security-Server of the 401 in the trace.",
		Fields: []sip.Field{{ID: sip.HRequire, Value: secAgree}, {ID: sip.HSecurityServer, Value: securityServer(c.server(on))}}}, err)
}

// refuse counts a failed agreement, and remembers why it failed.
func (c *security) refuse(impi string, r node.Refusal, err error) node.Refusal {
	c.metric.failures.WithLabelValues(r.Cause).Inc()
	if err == nil {
		err = errors.New(r.Text)
	}
	c.facts.note(impi, func(k *fact, now moment) { k.refusedAt, k.refusedStatus, k.refusedFor = now, uint16(r.Status), err })
	return r
}

// listed is the Security-Server for a phone with which nothing is agreed yet.
func (c *security) listed() string {
	return securityServer(ipsec.Answer(ipsec.Policy{Pairs: c.policy.Pairs}, ipsec.Choice{}, ipsec.End{}))
}

// demand is what a phone is told with which nothing is agreed (RFC 3329 2.3.1).
func (c *security) demand() []sip.Field {
	return []sip.Field{{ID: sip.HRequire, Value: secAgree}, {ID: sip.HSecurityServer, Value: c.listed()}}
}

// behindNAT reports whether the topmost Via of a request names another address than
// the one that it came from (TS 33.203 M.7.1). The phone then learns that one from
// received, and has it as its own within the tunnel (TS 24.229 F.2.1.2.2): phones
// behind one NAT share it, and our port_ps tells them apart.
func behindNAT(m *sip.Message, f sip.Flow) bool {
	v, err := m.TopVia()
	if err != nil {
		return false
	}
	a, ok := v.HostAddr()
	from := f.Remote.Addr().Unmap().WithZone("")
	a = a.Unmap().WithZone("")
	return ok && a != from && a.Is4() == from.Is4()
}

// keepToSet refuses a request other than REGISTER whose Security-Verify is not that
// of the set on which it came.
func (s *Server) keepToSet(x *proxy.Exchange, on *association) bool {
	if on == nil {
		return true
	}
	if err := s.verify(on, x.Req, false); err != nil {
		s.verdicts.Refuse(x, s.sec.mismatch(on, err, "security_verify", "RFC 3329 2.3.1"))
		return false
	}
	return true
}
