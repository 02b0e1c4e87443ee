package pcscf

import (
	"errors"
	"slices"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// receiver finds the phone for whom x has come along our Path or Record-Route;
// without one, x is refused.
func (s *Server) receiver(x *proxy.Exchange) *binding {
	b := s.behind(x)
	if b == nil {
		s.verdicts.Refuse(x, node.Refusal{Status: 404, Cause: "no_binding", Clause: "TS 24.229 5.2.6.4",
			Text: x.Req.Method() + " came for a phone that is not registered through this P-CSCF (any more).",
			Next: "The phone must register anew; a P-CSCF that was restarted knows no phone."})
	}
	return b
}

// behind is the phone of our entry in the route that x has come along: one that is
// registered, or, within a dialog, one that makes an emergency call in clear.
func (s *Server) behind(x *proxy.Exchange) *binding {
	if b := s.bindings.ofToken(x.Route.User, time.Now()); b != nil || x.Req.ToTag() == "" {
		return b
	}
	return s.callers.ofToken(x.Route.User)
}

// errNoSet is why a phone with IPsec is not reached.
var errNoSet = errors.New("it has no SA set any more")

// hop is the way to the phone. With IPsec it is the SA set in use: from port_pc to
// port_us, over the phone's own connection, or one that we dial (TS 33.203 7.1).
func (s *Server) hop(b *binding) (proxy.Hop, error) {
	if b.phone == (phoneKey{}) {
		return b.hop(), nil
	}
	a := s.sec.current(b.phone)
	if a == nil {
		return proxy.Hop{}, errNoSet
	}
	open := a.stream.Load()
	us, pc := a.Remote.Server(), a.Local.Client()
	if b.flow.Proto.Stream() {
		h := proxy.Hop{Addr: us, Proto: b.flow.Proto, Role: sip.RoleProtectedClient, Local: pc}
		if open != nil {
			h.Flow = *open
		}
		return h, nil
	}
	h := proxy.Hop{Flow: sip.Flow{Role: sip.RoleProtectedClient, Local: pc, Remote: us}}
	if open != nil {
		h.Stream = *open
	}
	return h, nil
}

// way is hop, or the refusal of x.
func (s *Server) way(x *proxy.Exchange, b *binding) (proxy.Hop, bool) {
	h, err := s.hop(b)
	if err != nil {
		s.unreachable(x, b, err)
	}
	return h, err == nil
}

// hop is the way to a phone in clear: the flow by which it registered. When that is
// a connection that has ended, one is dialled to its contact; where a NAT is between there
// is no other way, and whoever connects from that address and port next is somebody else.
func (b *binding) hop() proxy.Hop {
	h := proxy.Hop{Flow: b.flow, Addr: b.source, Proto: b.flow.Proto, Role: b.flow.Role, Alone: !b.at.IsValid()}
	if b.flow.Proto.Stream() {
		h.Addr, h.Proto = b.at, b.atProto
	}
	if f := b.stream.Load(); f != nil {
		h.Stream = *f
	}
	return h
}

// editToPhone edits what goes to the phone. It is the last hop: what is left of the
// route set is the core's affair.
func editToPhone(x *proxy.Exchange) {
	scrubToPhone(&x.Edits, x.Req)
	if x.Req.Has(sip.HRoute) {
		x.Edits.Remove(sip.HRoute)
	}
}

// toPhone takes an initial or standalone request to the phone (TS 24.229
// 5.2.6.4.3, 5.2.6.4.7).
func (s *Server) toPhone(x *proxy.Exchange) {
	b := s.receiver(x)
	if b == nil {
		return
	}
	editToPhone(x)
	if s.verdicts.Deciding() {
		s.verdicts.Decide(x, "For "+b.impi+": to the address from which it registered.", "TS 24.229 5.2.6.4.3")
	}

	c := &called{making: making{s: s, b: b, x: x, icid: node.ICID(x.Req)}, as: addressURI(x.Req.Get(sip.HPCalledPartyID))}
	if c.as == "" {
		c.as, _ = b.byDefault(time.Now())
	}
	hop, ok := s.way(x, b)
	if !ok || !s.begins(x, b, initial(x.Req.Method()), toIt) {
		return
	}
	t := proxy.Target{Hop: hop, Ringing: maxRinging}
	if formsDialog(x.Req.Method()) {
		t.RecordRoute = &proxy.Own{User: b.token}
		c.forms = true
		x.OnEnd(c.end)
	}
	x.OnResponse(c.response)
	x.Retires(c.as)
	x.OnBest(func(best *proxy.Final) bool { return s.phoneFailed(x, b, best) })
	x.Forward(t)
}

// toPhoneInDialog takes a request within a dialog to the phone. The core has the
// right to send it: the token says of which phone the dialog is. A NOTIFY may be
// the first that we hear of a dialog (RFC 6665 4.4.1).
func (s *Server) toPhoneInDialog(x *proxy.Exchange) {
	b := s.receiver(x)
	if b == nil {
		return
	}
	editToPhone(x)
	hop, ok := s.way(x, b)
	if !ok || !s.begins(x, b, within, toIt) {
		return
	}
	k := keyToPhone(b, x.Req)
	s.follow(k, x.Req, time.Now())
	s.networkEnds(x, b, k)
	x.OnResponse(func(_ *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
		s.followResponse(b, k, x.Req, m)
		if refreshesTarget(x.Req.Method(), m) {
			s.dialogs.retarget(k, x.Req)
		}
		if m.Status()/100 == 2 && x.Req.Method() == "NOTIFY" && x.Req.Has(sip.HRecordRoute) {
			s.notified(b, k, x.Req)
		}
		scrubFromPhone(e, m)
		e.Remove(sip.HPPreferredIdentity)
		return true
	})
	x.Retires("")
	x.OnBest(func(best *proxy.Final) bool { return s.phoneFailed(x, b, best) })
	x.Forward(proxy.Target{Hop: hop, Ringing: maxRinging})
}

// notified learns of a dialog from the NOTIFY that made it, which the phone has
// accepted: its SUBSCRIBE was forked, or the 2xx to that is still on its way.
func (s *Server) notified(b *binding, k dialogKey, m *sip.Message) {
	now := time.Now()
	if _, known := s.dialogs.find(k, now); known {
		return
	}
	d := dialog{key: k, icid: node.ICID(m), subscription: true, itself: s.dialogs.ofItself(k, now)}
	for v := range m.Values(sip.HRecordRoute) {
		d.routes = append(d.routes, v)
	}
	if len(d.routes) == 0 {
		d.target = remoteTarget(m)
	}
	if _, ok := s.learn(b, d); ok {
		s.follow(k, m, now)
	}
}

// called is a request for a phone that is not yet within a dialog.
type called struct {
	making
	forms bool   // it may make a dialog
	as    string // by which identity the phone is called (P-Called-Party-ID)
}

// response edits what the called phone answers (TS 24.229 5.2.6.4.4): the identity
// by which it was called is asserted, unless it prefers another of its own.
func (c *called) response(br *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
	s, b := c.s, c.b
	if c.forms {
		c.making.response(m)
		c.checkRecordRoute(br.Flow(), m, e)
	}
	scrubFromPhone(e, m)
	asserted, of := preferred(m, b, time.Now())
	if of == nil {
		asserted = c.as
	}
	e.Remove(sip.HPPreferredIdentity)
	e.Add(sip.HPAssertedIdentity, "<"+asserted+">")
	if v, err := sip.ParseChargingVector(c.x.Req.Get(sip.HPChargingVector)); err == nil {
		v.TermIOI = s.ioi()
		e.Add(sip.HPChargingVector, v.String())
	}
	return true
}

// checkRecordRoute sees to it that the phone gives back the Record-Route that it
// got (TS 24.229 5.2.6.4.4): the caller's requests follow it.
func (c *called) checkRecordRoute(f sip.Flow, m *sip.Message, e *sip.Edits) {
	if m.Status() >= 300 || m.ToTag() == "" {
		return
	}
	var room [2][8]string // as many as a call within one network has, and more
	want, have := room[0][:0], room[1][:0]
	want = append(want, c.s.core.Entry(f, proxy.Own{User: c.b.token}), "<"+c.s.pathURI(c.b.token)+">")
	for v := range c.x.Req.Values(sip.HRecordRoute) {
		want = append(want, v)
	}
	for v := range m.Values(sip.HRecordRoute) {
		have = append(have, v)
	}
	if slices.Equal(have, want) {
		return
	}
	c.s.verdicts.Decide(c.x, "The phone has changed the Record-Route that it got: mended.", "TS 24.229 5.2.6.4.4")
	e.Remove(sip.HRecordRoute)
	for _, v := range slices.Backward(want) {
		e.Prepend(sip.HRecordRoute, v)
	}
}

// ackToPhone takes the ACK to a 2xx to the phone.
func (s *Server) ackToPhone(x *proxy.Exchange) {
	if b := s.behind(x); b != nil {
		hop, err := s.hop(b)
		if err != nil {
			s.verdicts.Decide(x, "ACK for "+b.impi+" dropped: "+err.Error()+".", "TS 33.203 7.1")
			return
		}
		editToPhone(x)
		x.Forward(proxy.Target{Hop: hop})
	}
}

// phoneFailed turns a phone that is not reached into 480, on which the S-CSCF
// tries other contacts (RFC 5626 5.3, TS 24.229 5.2.6.4).
func (s *Server) phoneFailed(x *proxy.Exchange, b *binding, best *proxy.Final) bool {
	if s.sec != nil && best.Local() && !best.Branch.Heard() {
		s.sec.unanswered(b.phone)
	}
	switch {
	case !best.Local():
		s.phoneRefuses(x, b, best)
		return true
	case best.Branch.Provisional() && x.Req.Method() == "INVITE":
		s.verdicts.Refuse(x, nobodyAnswers(x, "The phone of "+b.impi, b.impi))
		return false
	case best.Branch.Heard(): // it was there, and has only not answered
		return true
	case best.Status == 408 && x.Req.Method() != "INVITE":
		return true // RFC 4320 4.2
	}
	s.unreachable(x, b, best.Err)
	return false
}

func (s *Server) unreachable(x *proxy.Exchange, b *binding, err error) {
	s.verdicts.Refuse(x, node.Refusal{Status: 480, Cause: "phone_unreachable", Clause: "TS 24.229 5.2.6.4", IMPI: b.impi,
		Text: "The phone of " + b.impi + " at " + b.source.String() + " is not reached: " + err.Error() + ".",
		Next: "Is the phone still attached? It registers anew when it is back."})
}
