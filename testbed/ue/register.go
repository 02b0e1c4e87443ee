package ue

import (
	"strconv"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ipsec"
)

// send sends a REGISTER (TS 24.229 5.1.1.2.1, 5.1.1.4.1): the answer to a challenge
// over the set that came with it, others over the current set if there is one.
func (r *registrar) send(op *procedure) {
	p := r.phone
	op.over = op.answer
	if g := p.guard; g != nil && op.over == nil {
		if !op.initial {
			op.over = g.current
		}
		if !op.offered || g.offered == nil {
			if err := g.newOffer(); err != nil {
				r.fail(op, &Error{Doing: r.what(op), Err: err, Next: "look at what else listens at the phone's address"})
				return
			}
			op.offered = true
		}
	}
	ruri := "sip:" + p.cfg.Domain
	auth := sip.Credentials{Scheme: "Digest", Username: p.cfg.IMPI, Realm: p.cfg.Domain, URI: ruri}
	if r.last != nil {
		auth = *r.last
	}
	r.cseq++
	req := &dialog.Request{
		Method: "REGISTER", URI: ruri, From: "<" + p.cfg.IMPU + ">", To: "<" + p.cfg.IMPU + ">",
		CallID: r.callID, CSeq: r.cseq, Fields: []sip.Field{{ID: sip.HAuthorization, Value: string(auth.AppendTo(nil))}},
		Body: p.profile.Body,
	}
	req.Hop, op.contact = r.to(op.over)
	if !op.fetch {
		req.Contact = r.contact(op.contact)
		req.Fields = append(req.Fields, sip.Field{ID: sip.HExpires, Value: strconv.FormatUint(uint64(op.expires), 10)})
	}
	req.Fields = append(req.Fields, sip.Field{ID: sip.HSupported, Value: p.profile.Supported}, sip.Field{ID: sip.HAllow, Value: allow})
	req.Fields = append(req.Fields, p.profile.Fields...)
	if p.cfg.offers() && !r.plain {
		req.Fields = append(req.Fields, r.securityFields(op)...)
	}
	p.agent.Do(req, func(o dialog.Outcome) {
		if r.doing == op && !p.silent.Load() {
			r.answered(op, o)
		}
	})
}

// to is where a REGISTER over a set goes, and the contact that it registers: port_us
// once the phone has one that is protected (TS 24.229 5.1.1.2.2).
func (r *registrar) to(over *association) (proxy.Hop, string) {
	p := r.phone
	hop := proxy.Hop{Addr: *p.pcscf.Load(), Proto: p.cfg.Transport, Role: sip.RoleGm}
	if over == nil {
		return hop, p.contactAt(p.Addr())
	}
	proto := p.cfg.Transport
	if p.profile.RegisterTCP {
		proto = sip.TCP
	}
	contact := p.contactAt(over.set.Local.Server())
	if p.faults.Load().ClearRegister && over == p.guard.current {
		hop.Addr = over.set.Remote.Server()
		return hop, contact
	}
	return over.hop(proto), contact
}

// contact is the Contact of a REGISTER (TS 24.229 5.1.1.2.1 d, IR.92 2.2.1).
func (r *registrar) contact(uri string) string {
	p := r.phone
	return "<" + uri + ">" + p.profile.ContactParams + `;+sip.instance="` + p.cfg.Instance +
		`";+g.3gpp.icsi-ref="` + mmtel + `";+g.3gpp.smsip;audio`
}

// securityFields offer IPsec, and repeat what the P-CSCF has offered (RFC 3329 2.3.1,
// TS 33.203 7.2).
func (r *registrar) securityFields(op *procedure) []sip.Field {
	p := r.phone
	f := []sip.Field{{ID: sip.HRequire, Value: "sec-agree"}, {ID: sip.HProxyRequire, Value: "sec-agree"}}
	var lines []string
	switch g := p.guard; {
	case g == nil: // nothing but talk
		e := ipsec.End{PortC: p.Addr().Port() ^ 1, PortS: p.Addr().Port()}
		e.SPIC, e.SPIS = freshSPIs(p.profile.Security.MinSPI)
		lines = p.profile.Security.lines(p.cfg.Offer, []ipsec.Mode{ipsec.Transport}, e)
	case op.answer != nil: // the offer that was challenged
		lines = op.answer.offer.lines
	default:
		lines = g.offered.lines
	}
	for _, v := range lines {
		f = append(f, sip.Field{ID: sip.HSecurityClient, Value: v})
	}
	if op.over != nil {
		return append(f, p.verifyFields(op.over.server)...)
	}
	return append(f, p.verifyFields(r.verify)...)
}
