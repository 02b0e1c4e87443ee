package scscf

import (
	"encoding/xml"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/trace"
)

// servers are the application servers that have been told of a registration: the
// State of a registered set that has filter criteria.
type servers struct {
	mu   sync.Mutex
	told map[string]*informed // by the server's URI; nil before the first
}

// informed is what REGISTERs to one server have in common (RFC 3261 10.2.4).
type informed struct {
	callID, tag string
	cseq        uint32
}

// remembers gives a registration its servers, from the first criteria to the end of it:
// most users have none, and nobody is told of them.
func remembers(r *registrar.Registration) {
	if r.State == nil && r.Services != nil {
		r.State = new(servers)
	}
}

// thirdParty tells application servers of a registration (TS 24.229 5.4.1.7): those
// whose criteria, of the default identity's service profile, match the REGISTER.
type thirdParty struct {
	s      *Server
	reg    *registrar.Registration // at a de-registration, as it was
	kind   profile.RegistrationType
	req    *sip.Message // the phone's REGISTER, nil when the network acts
	answer *sip.Builder // its 200; lent to tell
}

// tellServers is tell for a REGISTER that has just been answered.
func (r *registration) tellServers(reg *registrar.Registration, kind profile.RegistrationType, answer *sip.Builder) {
	t := thirdParty{s: r.s, reg: reg, kind: kind, req: r.x.Req, answer: answer}
	t.tell()
}

// tell sends the REGISTERs, one a server. It may be called from any goroutine.
func (t *thirdParty) tell() {
	chain := chainOf(t.reg, identity.IMPU(t.reg.Default().Key))
	state, _ := t.reg.State.(*servers)
	if chain == nil || state == nil || !t.reg.Registered() { // send names who has registered
		return
	}
	state.mu.Lock() // so that they leave in the order of their CSeq
	defer state.mu.Unlock()
	seen := map[string]bool{}
	with := ifc.Session{Case: profile.OriginatingRegistered, Registration: t.kind}
	for c, ok := chain.Next(0, t, with); ok; c, ok = chain.Next(c.After(), t, with) {
		server := c.URI.String()
		if seen[server] {
			continue
		}
		seen[server] = true
		as := state.told[server]
		if as == nil {
			if state.told == nil {
				state.told = map[string]*informed{}
			}
			as = &informed{callID: sip.NewCallID(), tag: sip.NewTag()}
			state.told[server] = as
		}
		as.cseq++
		t.send(c, as)
	}
}

// send sends the REGISTER to the server of c (TS 24.229 5.4.1.7, 5.4.1.7A).
func (t *thirdParty) send(c *ifc.Criterion, as *informed) {
	s, who := t.s, t.reg.Default()
	timeout := s.cfg.ASTimeout.Terminated.D()
	if c.Continue() {
		timeout = s.cfg.ASTimeout.Continued.D()
	}
	vector := sip.ChargingVector{ICID: sip.NewTag(), OrigIOI: s.ioi(3)}
	last := t.reg.Bindings[len(t.reg.Bindings)-1]
	access, visited := last.AccessNetwork, last.VisitedNetwork
	if t.req != nil {
		access, visited = t.req.Get(sip.HPAccessNetworkInfo), t.req.Get(sip.HPVisitedNetworkID)
		if icid := node.ICID(t.req); icid != "" {
			vector.ICID = icid
		}
	}
	fields := []sip.Field{{ID: sip.HExpires, Value: seconds(t.expires())}, {ID: sip.HPChargingVector, Value: vector.String()}}
	for _, f := range []sip.Field{{ID: sip.HPAccessNetworkInfo, Value: access}, {ID: sip.HPVisitedNetworkID, Value: visited}, {ID: sip.HPChargingFunctionAddresses, Value: t.reg.Charging}} {
		if f.Value != "" {
			fields = append(fields, f)
		}
	}
	if s.verdicts.Trace.On() {
		s.verdicts.Trace.Emit(trace.Event{Kind: trace.Decision, CallID: as.callID, ICID: vector.ICID, IMPI: last.IMPI, Clause: "TS 24.229 5.4.1.7",
			Text: "The application server " + c.Server.ServerName + " is told of " + who.URI + ": " + t.kind.String() + "."})
	}
	q := &dialog.Request{
		Method: "REGISTER", URI: c.URI.String(), From: "<" + s.name + ">", To: "<" + who.URI + ">", CallID: as.callID, FromTag: as.tag, CSeq: as.cseq,
		Contact: "<" + s.ownURI("") + ">", Fields: fields, Body: t.body(&c.Server), Timeout: timeout,
	}
	s.agent.Do(q, func(o dialog.Outcome) { t.answered(c, as, o) })
}

// expires is how long the registration lasts: as long as its last contact.
func (t *thirdParty) expires() time.Duration {
	if t.kind == profile.DeRegistration {
		return 0
	}
	var last time.Time
	for _, b := range t.reg.Bindings {
		if b.Expires.After(last) {
			last = b.Expires
		}
	}
	return max(time.Until(last).Round(time.Second), time.Second)
}

// body is what the criterion wants the server to have: service information, the
// REGISTER, its answer (TS 24.229 5.4.1.7A; TS 29.228 B.2.2).
func (t *thirdParty) body(as *profile.ApplicationServer) dialog.Part {
	var list []dialog.Part
	if as.ServiceInfo != "" {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(as.ServiceInfo)) // a Builder does not fail
		list = append(list, dialog.Part{Type: "application/3gpp-ims+xml",
			Body: `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<ims-3gpp version="1"><service-info>` + b.String() + "</service-info></ims-3gpp>"})
	}
	if as.IncludeRegisterRequest && t.req != nil {
		list = append(list, dialog.Part{Type: "message/sip", Body: t.req.Raw()})
	}
	if as.IncludeRegisterResponse && t.answer != nil {
		list = append(list, dialog.Part{Type: "message/sip", Body: string(t.answer.Bytes())})
	}
	if len(list) == 0 {
		return dialog.Part{}
	}
	if len(list) == 1 {
		return list[0]
	}
	boundary := sip.NewTag()
	var b strings.Builder
	for _, p := range list {
		b.WriteString("--" + boundary + "\r\nContent-Type: " + p.Type + "\r\n\r\n" + p.Body + "\r\n")
	}
	b.WriteString("--" + boundary + "--\r\n")
	return dialog.Part{Type: "multipart/mixed;boundary=" + boundary, Body: b.String()}
}

// answered hears what the server said. Without it the registration ends where the
// criterion says so; another refusal is its own affair (TS 24.229 5.4.1.7).
func (t *thirdParty) answered(c *ifc.Criterion, as *informed, o dialog.Outcome) {
	if o.OK() {
		return
	}
	s, name, who := t.s, c.Server.ServerName, t.reg.Default()
	failed := o.Msg == nil || o.Status == 408 || o.Status >= 500 && o.Status < 600
	text := "The application server " + name + " does not take the registration of " + who.URI + ": " + o.String() + "."
	next := "Check that the server runs at the name in the filter criterion of " + who.URI + "."
	if ends := failed && !c.Continue() && t.kind != profile.DeRegistration; ends {
		text += " Without it the registration ends (SESSION_TERMINATED)."
		defer t.end()
	}
	s.verdicts.Limited().Warn(s.verdicts.Log, "third_party", text, zap.String("impu", who.Key), zap.String("call_id", as.callID), zap.String("next", next))
	s.verdicts.Trace.Emit(trace.Event{Kind: trace.Failure, CallID: as.callID, IMPI: t.reg.Bindings[0].IMPI, Text: text, Next: next, Clause: "TS 24.229 5.4.1.7"})
}

// end ends the registration, if it is still the one that the server was told of:
// phone, HSS and the other servers are told.
func (t *thirdParty) end() {
	s, key := t.s, t.reg.Default().Key
	if now := s.store.Get(key); now == nil || now.State != t.reg.State {
		return
	}
	before, after := s.take(key, registrar.Deactivated, func(b registrar.Binding) bool { return !b.Emergency })
	for _, impi := range appendIMPIs(nil, before, func(b registrar.Binding) bool { return !after.Has(b.IMPI) }) {
		for _, b := range before.Bindings {
			if b.IMPI == impi {
				s.endings.add(ending{impi: impi, impu: b.IMPU, kind: cx.AdministrativeDeregistration})
				break
			}
		}
	}
	s.ended(before, after, registrar.Deactivated)
}

// A thirdParty is the ifc.Request that its criteria look at: the phone's REGISTER,
// or one that the phone could have sent.

// Method is REGISTER.
func (t *thirdParty) Method() string { return "REGISTER" }

// RequestURI is that of the phone's REGISTER.
func (t *thirdParty) RequestURI() string {
	if t.req != nil {
		return t.req.RequestURI()
	}
	return t.s.name
}

// Headers are those of the phone's REGISTER.
func (t *thirdParty) Headers(yield func(name, value string) bool) {
	if t.req == nil {
		if !yield("To", "<"+t.reg.Default().URI+">") {
			return
		}
		for _, b := range t.reg.Bindings {
			if !yield("Contact", "<"+b.Contact+">"+b.Params) {
				return
			}
		}
		return
	}
	for i := range t.req.Len() {
		id, name, value := t.req.Line(i)
		if id != sip.Other {
			name = id.String()
		}
		if !yield(name, value) {
			return
		}
	}
}

// SDPLines are none.
func (t *thirdParty) SDPLines(func(line string) bool) {}
