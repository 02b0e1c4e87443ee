package scscf

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/uri"
)

// contact is one Contact of a REGISTER.
type contact struct {
	uri      uri.URI
	addr     sip.NameAddr
	expires  time.Duration // asked for, bounded above
	instance string        // +sip.instance
	regID    uint32        // of a flow (RFC 5626), 0 when the phone registers none
	sos      bool          // of an emergency registration (TS 24.229 5.4.8)
}

// Bounds of what one REGISTER brings: its contacts, and the octets of each of them.
const (
	maxContacts = 8
	maxContact  = 2 << 10
)

// readContacts reads the contacts and how long they want to be bound (RFC 3261
// 10.3 steps 6 and 7).
func (r *registration) readContacts() (node.Refusal, bool) {
	m, e := r.x.Req, r.s.cfg.Expires
	bad := func(text string) (node.Refusal, bool) {
		return node.Refusal{Status: 400, Cause: "bad_contact", Clause: "RFC 3261 10.3", Text: text, Next: "Look at the REGISTER in the trace: it is the phone's to mend."}, true
	}
	asked, given := m.Expires()
	r.expires = e.Default.D()
	if given {
		r.expires = time.Duration(asked) * time.Second
	}
	outbound := r.outbound()
	for v := range m.Values(sip.HContact) {
		if v == "*" {
			r.all = true
			continue
		}
		if len(r.contacts) == maxContacts {
			return bad("The REGISTER has more than " + strconv.Itoa(maxContacts) + " contacts.")
		}
		c, err := r.readContact(v, outbound)
		if err != nil {
			return bad("A Contact cannot be read: " + err.Error() + ".")
		}
		if len(c.addr.URI)+len(c.addr.Params) > maxContact {
			return node.Refusal{Status: 400, Cause: "contact_too_long",
				Text: "A Contact of " + r.impi + " has more than " + strconv.Itoa(maxContact) + " octets.",
				Next: "Phones send some hundred, with all their feature tags: look at the REGISTER in the trace."}, true
		}
		if !c.uri.IsSIP() {
			return bad("The contact " + c.addr.URI + " is no SIP URI.")
		}
		if c.expires > 0 && c.expires < e.Min.D() {
			return node.Refusal{Status: 423, Cause: "too_brief", Clause: "RFC 3261 10.3",
				Text:   "The REGISTER of " + r.impi + " asks for " + c.expires.String() + ", less than " + e.Min.D().String() + ".",
				Fields: []sip.Field{{ID: sip.HMinExpires, Value: seconds(e.Min.D())}},
				Next:   "The phone asks again with Min-Expires. The limit is expires.min of the S-CSCF."}, true
		}
		r.contacts = append(r.contacts, c)
	}
	if r.all && (len(r.contacts) > 0 || !given || asked != 0) {
		return bad(`Contact "*" stands alone and with Expires: 0.`)
	}
	return node.Refusal{}, false
}

func (r *registration) readContact(v string, outbound bool) (contact, error) {
	var c contact
	var err error
	if c.addr, err = sip.ParseNameAddr(v); err != nil {
		return c, err
	}
	if c.uri, err = uri.Parse(c.addr.URI); err != nil {
		return c, err
	}
	c.expires = r.expires
	if seconds, ok := c.addr.Expires(); ok {
		c.expires = time.Duration(seconds) * time.Second
	}
	c.expires = min(c.expires, r.s.cfg.Expires.Max.D())
	c.instance, _ = c.addr.Param("+sip.instance")
	c.sos = c.uri.HasParam("sos")
	if id, _ := c.addr.Param("reg-id"); outbound && c.instance != "" {
		if n, err := strconv.ParseUint(id, 10, 31); err == nil {
			c.regID = uint32(n)
		}
	}
	return c, nil
}

// outbound reports whether phone and P-CSCF keep flows, so that reg-id counts (RFC
// 5626 6; TS 24.229 5.4.1.2.2): the entry of the P-CSCF is the last of the Path.
func (r *registration) outbound() bool {
	if !r.x.Req.HasOption(sip.HSupported, "outbound") && !r.x.Req.HasOption(sip.HRequire, "outbound") {
		return false
	}
	a, err := sip.ParseNameAddr(r.path[len(r.path)-1])
	if err != nil {
		return false
	}
	u, err := uri.Parse(a.URI)
	return err == nil && u.HasParam("ob")
}

// leaving reports whether the REGISTER removes contacts and leaves none of its own:
// they are dealt with in turn, and a later one may remove what it has just brought (RFC
// 3261 10.3 step 7).
func (r *registration) leaving() bool {
	if r.all {
		return true
	}
	for i, c := range r.contacts {
		if c.expires > 0 && !r.replaced(i) {
			return false
		}
	}
	return len(r.contacts) > 0
}

// replaced reports whether one of the contacts behind the i-th takes its place.
func (r *registration) replaced(i int) bool {
	c := &r.contacts[i]
	for _, later := range r.contacts[i+1:] {
		b := registrar.Binding{IMPI: r.impi, Contact: c.addr.URI, InstanceID: c.instance, RegID: c.regID, Emergency: c.sos}
		if matches(b, later, r.impi) {
			return true
		}
	}
	return false
}

// matches reports whether c takes the place of binding b of the private identity
// impi: the same instance with the same flow (RFC 5626 6), or else the same URI
// (RFC 3261 19.1.4). An emergency registration stands beside the others.
func matches(b registrar.Binding, c contact, impi string) bool {
	if b.IMPI != impi || b.Emergency != c.sos {
		return false
	}
	if c.instance != "" && strings.EqualFold(c.instance, b.InstanceID) {
		// One of them without a flow: the phone keeps one contact, and has moved.
		return b.RegID == c.regID || b.RegID == 0 || c.regID == 0
	}
	return sameURI(b, c)
}

func sameURI(b registrar.Binding, c contact) bool {
	u, err := uri.Parse(b.Contact)
	return err == nil && uri.Equal(u, c.uri)
}

// known reports whether c is registered by the private identity impi at the same
// address.
func known(reg *registrar.Registration, c contact, impi string) bool {
	return slices.ContainsFunc(reg.Bindings, func(b registrar.Binding) bool { return matches(b, c, impi) && sameURI(b, c) })
}

// bind returns the bindings after the REGISTER's contacts (RFC 3261 10.3 step 7;
// TS 24.229 5.4.1.2.2F).
func (r *registration) bind(have []registrar.Binding) []registrar.Binding {
	m, now := r.x.Req, time.Now()
	var room [2]registrar.Binding
	out := append(room[:0], have...)
	for _, c := range r.contacts {
		at := len(out)
		var old registrar.Binding
		for i := len(out) - 1; i >= 0; i-- {
			if matches(out[i], c, r.impi) {
				at = i
				if sameURI(out[i], c) {
					old = out[i]
				}
				out = slices.Delete(out, i, i+1)
			}
		}
		if c.expires == 0 {
			continue
		}
		b := registrar.Binding{
			ID: sip.NewTag(), IMPI: r.impi, IMPU: string(r.impu), Contact: c.addr.URI, Params: contactParams(c.addr.Params), Path: r.path,
			CallID: m.CallID(), CSeq: r.cseq, Created: now, Expires: now.Add(c.expires),
			AccessNetwork: m.Get(sip.HPAccessNetworkInfo), VisitedNetwork: m.Get(sip.HPVisitedNetworkID),
			InstanceID: c.instance, RegID: c.regID, Emergency: c.sos,
		}
		if old.ID != "" {
			b.ID, b.Created, b.Refreshed = old.ID, old.Created, true
		}
		out = slices.Insert(out, min(at, len(out)), b.Clone())
	}
	return registrar.List(r.bound(out)...)
}

// contactParams keeps a Contact's parameters as they came, but expires, which the
// binding has.
func contactParams(p sip.Params) string {
	var buf [256]byte
	b := buf[:0]
	for name, v := range p.All() {
		if strings.EqualFold(name, "expires") {
			continue
		}
		b = append(append(b, ';'), name...)
		if v != "" {
			b = append(append(b, '='), v...)
		}
	}
	return string(b)
}
