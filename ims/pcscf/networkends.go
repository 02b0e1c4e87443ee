package pcscf

import (
	"slices"
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
// registration of its contact (TS 24.229 5.2.5.2), as one identity or as all: once it is
// answered, what was registered is not any more, and with the last identity the phone's SA
// sets end, after their last messages. We have no subscription of our own (5.2.3), and read
// the phone's to its own registration: its tags are known to the S-CSCF and the phone
// alone, those of a call to whoever takes part in it.
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
	for _, o := range s.bindings.of(b.impi) { // it tells of all
		if e := terminated(doc, o.contact); len(e.gone) > 0 {
			x.OnEnd(func() { s.ended(o, e) })
		}
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

// ending is what a document says of the identities at a contact, in canonical form.
type ending struct {
	gone, active []string
	partial      bool // there may be more that are active
}

// terminated reads at which identities a contact is not registered any more.
func terminated(doc *reginfo.Document, contact string) (e ending) {
	e.partial = doc.Partial
	at, err := uri.Parse(contact)
	if err != nil {
		return e
	}
	for i := range doc.Registrations {
		r := &doc.Registrations[i]
		key, err := identity.ParseIMPU(r.AOR)
		if err != nil {
			continue
		}
		var active, gone bool
		for j := range r.Contacts {
			c := &r.Contacts[j]
			if u, err := uri.Parse(c.URI); err == nil && sameContact(u, at) {
				active = active || c.State == reginfo.Active
				gone = gone || c.State == reginfo.Terminated
			}
		}
		switch {
		case active: // what has gone beside it is what it has replaced
			e.active = append(e.active, string(key))
		case gone:
			e.gone = append(e.gone, string(key))
		}
	}
	return e
}

// ended ends what the network has ended, if that is still what it was at the NOTIFY.
func (s *Server) ended(b *binding, e ending) {
	now := time.Now()
	if !s.bindings.lessen(b, e, now) { // the phone has left by itself, or is back
		return
	}
	text := "The network has ended the registration of " + b.impi + " at " + b.contact + " as " + strings.Join(e.gone, ", ") + "."
	s.deps.Log.Info(text, zap.String("impi", b.impi))
	if s.deps.Trace.On() {
		s.deps.Trace.Emit(trace.Event{Kind: trace.State, IMPI: b.impi, Text: text, Clause: "TS 24.229 5.2.5.2"})
	}
	s.unprotect(b.impi, now)
}

// lessen takes the identities that the network has ended out of what is registered at a
// contact, all at once: of two looks at a binding the second might find another's. was is
// the binding at that time. It reports whether anything was registered until now.
func (t *bindings) lessen(was *binding, e ending, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.byToken[was.token]
	if b == nil { // its place is taken
		return false
	}
	left, some := b.lessened(was, e, now)
	if some {
		t.replace(b, left)
	}
	return some
}

// lessened returns b without the identities that the network has ended, and whether there
// were any. A set ends where none is left, or where a document that would name them names
// none as active. was is b as the document found it: what is registered anew since then
// stands.
func (b *binding) lessened(was *binding, e ending, now time.Time) (*binding, bool) {
	c, some := *b, false
	for i := range b.sets {
		s := &b.sets[i]
		same := func(o set) bool { return o.expires.Equal(s.expires) && o.is(s.names) }
		if !s.expires.After(now) || !s.is(e.gone) || !slices.ContainsFunc(was.sets, same) {
			continue
		}
		if !some {
			c.hold(slices.Clone(b.sets))
			some = true
		}
		if left := s.lessened(e.gone); len(left.keys) > 0 && (e.partial || left.is(e.active)) {
			c.sets[i] = left
		} else {
			c.sets[i].expires = now
		}
	}
	if !some {
		return b, false
	}
	return &c, true
}

// lessened returns s without the identities of these keys. Its lists are its own: those of s
// are shared, and may be read at this moment.
func (s set) lessened(gone []string) set {
	var identities, keys []string
	for i, k := range s.keys {
		if !slices.Contains(gone, k) {
			identities, keys = append(identities, s.identities[i]), append(keys, k)
		}
	}
	defaultFirst(identities, keys)
	s.names = slices.DeleteFunc(slices.Clone(s.names), func(n string) bool { return slices.Contains(gone, n) })
	s.identities, s.keys = identities, keys
	return s
}
