package pcscf

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ims/uri"
)

// networkEnds follows a NOTIFY that tells the phone that the network has ended a
// registration of its contact (TS 24.229 5.2.5.2): once it is answered, what was
// registered is not any more, and the phone's SA sets end with their last messages. We
// have no subscription of our own (5.2.3), and read the phone's to its own registration:
// its tags are known to the S-CSCF and the phone alone, those of a call to whoever takes
// part in it.
func (s *Server) networkEnds(x *proxy.Exchange, b *binding, k dialogKey) {
	m := x.Req
	if event, _, _ := strings.Cut(m.Get(sip.HEvent), ";"); m.Method() != "NOTIFY" || strings.TrimSpace(event) != reginfo.EventPackage {
		return
	}
	body := m.Body()
	if !strings.Contains(body, reginfo.Terminated.String()) { // the usual one: not worth reading
		return
	}
	if !s.dialogs.ofItself(k, time.Now()) {
		s.verdicts.Decide(x, "What the NOTIFY says of the registration does not count: it is of no subscription of "+b.impi+" to it.", "TS 24.229 5.2.5.2")
		return
	}
	doc, err := reginfo.Parse([]byte(body))
	if err != nil {
		s.verdicts.Decide(x, "What the NOTIFY says of the registration cannot be read: "+err.Error()+".", "RFC 3680 5")
		return
	}
	if ended := terminated(doc, b.contact); len(ended) > 0 {
		x.OnEnd(func() { s.ended(b, ended) })
	}
}

// toItself reports whether a phone subscribes to its own registration: the Request-URI is
// one of its identities, by any of the names by which the S-CSCF finds it.
func (s *Server) toItself(x *proxy.Exchange, b *binding, now time.Time) bool {
	if x.Req.Method() != "SUBSCRIBE" {
		return false
	}
	e, err := sip.ParseEvent(x.Req.Get(sip.HEvent))
	if err != nil || !strings.EqualFold(e.Package, reginfo.EventPackage) {
		return false
	}
	u, err := uri.Parse(x.RequestURI())
	if err != nil || u.User == "" {
		return false
	}
	to := identity.NormalizeTarget(u, s.cfg.Domain).Identity
	return b.named(now, string(identity.IMPUOf(u)), string(to), string(to.SIPForm(s.cfg.Domain)))
}

// asks notes that a SUBSCRIBE of a phone to its own registration is under way: its first
// NOTIFY may overtake the 2xx (RFC 6665 4.4.1).
func (t *dialogs) asks(k dialogKey) {
	k.callID, k.local = strings.Clone(k.callID), strings.Clone(k.local)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asking[k]++
}

// asked notes the end of that SUBSCRIBE.
func (t *dialogs) asked(k dialogKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asking[k]--; t.asking[k] <= 0 {
		delete(t.asking, k)
	}
}

// ofItself reports whether a dialog is the phone's subscription to its own registration.
func (t *dialogs) ofItself(k dialogKey, now time.Time) bool {
	if d, ok := t.find(k, now); ok {
		return d.itself
	}
	k.remote = ""
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asking[k] > 0
}

// terminated are the canonical forms of the identities at which a contact is not
// registered any more.
func terminated(doc *reginfo.Document, contact string) (keys []string) {
	at, err := uri.Parse(contact)
	if err != nil {
		return nil
	}
	for i := range doc.Registrations {
		r := &doc.Registrations[i]
		key, err := identity.ParseIMPU(r.AOR)
		if err != nil {
			continue
		}
		for j := range r.Contacts {
			c := &r.Contacts[j]
			if u, err := uri.Parse(c.URI); err == nil && c.State == reginfo.Terminated && uri.Equal(u, at) {
				keys = append(keys, string(key))
			}
		}
	}
	return keys
}

// ended ends what the network has ended, if the binding is still what it was then.
func (s *Server) ended(b *binding, keys []string) {
	now, some := time.Now(), false
	for _, key := range keys {
		if s.bindings.end(b, key, now) {
			b, some = s.bindings.ofToken(b.token, now), true
		}
	}
	if !some { // the phone has left by itself, or is back
		return
	}
	text := "The network has ended the registration of " + b.impi + " at " + b.contact + "."
	s.deps.Log.Info(text, zap.String("impi", b.impi))
	if s.deps.Trace.On() {
		s.deps.Trace.Emit(trace.Event{Kind: trace.State, IMPI: b.impi, Text: text, Clause: "TS 24.229 5.2.5.2"})
	}
	s.unprotect(b.impi, now)
}
