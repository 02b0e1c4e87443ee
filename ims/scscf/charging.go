package scscf

import (
	"strconv"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// ioi is our network as P-Charging-Vector names it: type 1 between P-CSCF and
// S-CSCF, 2 between networks, 3 towards application servers (TS 24.229 4.5.4).
func (s *Server) ioi(typ int) string { return s.iois[typ] }

// iois are the names by type.
func iois(domain string) (all [4]string) {
	for typ := range all {
		all[typ] = "Type " + strconv.Itoa(typ) + domain
	}
	return all
}

// chargeRequest replaces the orig-ioi of who sent the request by ours for the next
// hop (TS 24.229 5.4.3.2, 5.4.3.3).
func (l *leg) chargeRequest(e *sip.Edits, typ int) {
	v, err := sip.ParseChargingVector(l.x.Req.Get(sip.HPChargingVector))
	if err != nil {
		return
	}
	v.OrigIOI, v.TermIOI = l.s.ioi(typ), ""
	e.Set(sip.HPChargingVector, v.String())
}

// response changes what comes back (TS 24.229 5.4.3.2, 5.4.3.3).
func (l *leg) response(b *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
	status := m.Status()
	if l.outside {
		node.Arriving(e, m)
	}
	if l.delivery != nil && status >= 300 && l.delivery.otherFlow(b, status) {
		return false
	}
	if status > 100 && status < 300 {
		l.chargeResponse(m, e)
		if l.delivery != nil {
			l.assertAlias(m, e)
		}
	}
	if l.delivery != nil {
		l.delivery.tell(b, m, e)
	}
	if status/100 == 2 && l.x.Req.Method() == "INVITE" && l.reg != nil {
		l.retires(b)
	}
	return true
}

// chargeResponse gives whoever sent the request its own orig-ioi back, with our
// term-ioi of the same type.
func (l *leg) chargeResponse(m *sip.Message, e *sip.Edits) {
	q, err := sip.ParseChargingVector(l.x.Req.Get(sip.HPChargingVector))
	if err != nil {
		return
	}
	v, err := sip.ParseChargingVector(m.Get(sip.HPChargingVector))
	if err != nil {
		v = sip.ChargingVector{}
	}
	v.ICID = q.ICID
	v.OrigIOI, v.TermIOI = q.OrigIOI, l.s.ioi(l.upstream())
	e.Set(sip.HPChargingVector, v.String())
}

// upstream is the type of IOI towards whoever sent the request.
func (l *leg) upstream() int {
	switch {
	case l.fromAS || l.x.Route.HasParam("orig"):
		return 3
	case l.kase == profile.OriginatingRegistered:
		return 1
	}
	return 2
}

// assertAlias adds the served user's other name to a P-Asserted-Identity that has
// one of him, so that both the tel and the sip form go on (TS 24.229 5.4.3.2, and
// 5.4.3.3 for responses).
func (l *leg) assertAlias(m *sip.Message, e *sip.Edits) {
	if l.reg == nil { // it has ended since
		return
	}
	n, name := 0, ""
	for v := range m.Values(sip.HPAssertedIdentity) {
		n, name = n+1, v
	}
	if n != 1 {
		return
	}
	impu := nameOf(name)
	if _, ok := l.reg.Identity(string(impu)); !ok {
		return
	}
	if other := alias(l.reg, impu, l.s.cfg.Domain); other != "" {
		e.Add(sip.HPAssertedIdentity, "<"+string(other)+">")
	}
}
