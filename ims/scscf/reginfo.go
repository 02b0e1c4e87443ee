package scscf

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/uri"
)

// maxDocument bounds a document, in octets: with the headers of its NOTIFY it stays below
// the 56 KiB of a message that proxies take.
const maxDocument = 48 << 10

// change is what subscribers hear of a set: what they were told last, nil for nothing,
// what is, nil when the set is gone, and why contacts have gone in between.
type change struct {
	old, now *registrar.Registration
	why      registrar.Cause
	earlier  map[string]registrar.Cause // why, for contacts that had gone before the last change, by ID
	full     bool                       // a SUBSCRIBE asks for the full state
}

// and is a change with a later one behind it; nil is none.
func (c *change) and(old, now *registrar.Registration, why registrar.Cause) *change {
	if c == nil {
		return &change{old: old, now: now, why: why, full: old == now}
	}
	if c.old.Registered() {
		for _, b := range c.old.Bindings {
			if _, known := c.earlier[b.ID]; known || stays(b, c.now) {
				continue
			}
			if c.earlier == nil {
				c.earlier = map[string]registrar.Cause{}
			}
			c.earlier[b.ID] = c.why
		}
	}
	c.now, c.why, c.full = now, why, c.full || old == now
	return c
}

// eventOf is the event of a contact that is gone.
func (c *change) eventOf(b registrar.Binding) reginfo.Event {
	if why, ok := c.earlier[b.ID]; ok {
		return eventOf(why)
	}
	return eventOf(c.why)
}

// document is the state after the change (TS 24.229 5.4.2.1.2), without the first
// registrations if so many have been told. It says how many have then, whether there are
// more, and whether a contact is left out because there is no room for it in any document.
// What is too long for one is without what may be absent; if that does not do, it is
// several partial ones, the first of them full where the subscriber may know nothing yet
// (RFC 3680 5.1). It is empty when there never was anything.
func (c *change) document(version uint32, told int) (body dialog.Part, now int, more, whole bool) {
	doc := reginfo.Document{Version: version, Partial: told > 0, Registrations: c.registrations(told > 0)}
	all := len(doc.Registrations)
	if told >= all {
		return dialog.Part{}, all, false, true
	}
	doc.Registrations = doc.Registrations[told:]
	text, n, whole := doc.AppendMost(nil, maxDocument)
	if told == 0 && (n < all || !whole) {
		doc.Registrations = c.registrations(true)
		text, n, whole = doc.AppendMost(text[:0], maxDocument)
		if n < all && version > 0 && !c.full && c.now.Registered() {
			doc.Partial = true
			text, n, whole = doc.AppendMost(text[:0], maxDocument)
		}
	}
	return dialog.Part{Type: reginfo.ContentType, Body: string(text)}, told + n, told+n < all, whole
}

// registrations are one an identity that is not barred, with the contacts that are and
// those that have just gone. Brief ones have only what must be there, the shortest contacts
// first: no phone keeps another one's out.
func (c *change) registrations(brief bool) (all []reginfo.Registration) {
	var is, gone, left []reginfo.Contact
	if c.now.Registered() {
		for _, b := range c.now.Bindings {
			is = append(is, contactInfo(b, brief))
		}
	}
	if c.old.Registered() {
		for _, b := range c.old.Bindings {
			if !stays(b, c.now) {
				gone = append(gone, after(contactInfo(b, brief), c.eventOf(b)))
			}
		}
	}
	if c.now.Registered() {
		for _, id := range c.now.Identities {
			if !id.Barred {
				all = append(all, c.active(id, is, gone))
			}
		}
	}
	if c.old.Registered() {
		for _, id := range c.old.Identities {
			if id.Barred || c.now.Registered() && shown(c.now, id.Key) {
				continue
			}
			r := reginfo.Registration{AOR: id.URI, ID: idOf(id.Key), State: reginfo.Terminated, Contacts: gone}
			if c.now.Registered() { // the set lives on without the identity
				if left == nil {
					for _, b := range c.old.Bindings {
						left = append(left, after(contactInfo(b, brief), reginfo.Deactivated))
					}
				}
				r.Contacts = left
			}
			all = append(all, r)
		}
	}
	if brief {
		for _, r := range all {
			slices.SortStableFunc(r.Contacts, func(a, b reginfo.Contact) int { return len(a.URI) - len(b.URI) })
		}
	}
	return all
}

// active is an identity that is registered, with the contacts of the set.
func (c *change) active(id registrar.Identity, is, gone []reginfo.Contact) reginfo.Registration {
	r := reginfo.Registration{AOR: id.URI, ID: idOf(id.Key), State: reginfo.Active}
	before := c.old.Registered() && shown(c.old, id.Key)
	for i, b := range c.now.Bindings {
		e := reginfo.Created // by the registration of another identity of the set
		switch {
		case b.Refreshed && (before || !c.old.Registered()):
			e = reginfo.Refreshed
		case b.IMPU == id.Key:
			e = reginfo.Registered
		}
		r.Contacts = append(r.Contacts, after(is[i], e))
	}
	if before {
		r.Contacts = append(r.Contacts, gone...)
	}
	return r
}

// stays reports whether a contact is there in r: the same one, or one that the phone has
// registered anew meanwhile. To call that terminated would end it at the P-CSCF.
func stays(b registrar.Binding, r *registrar.Registration) bool {
	return r.Registered() && slices.ContainsFunc(r.Bindings, func(n registrar.Binding) bool {
		if n.ID == b.ID {
			return true
		}
		if n.IMPI != b.IMPI || n.RegID != b.RegID || n.Emergency != b.Emergency {
			return false
		}
		u, err := uri.Parse(n.Contact)
		return err == nil && sameURI(b, contact{uri: u})
	})
}

// shown reports whether subscribers hear of an identity.
func shown(r *registrar.Registration, key string) bool {
	id, ok := r.Identity(key)
	return ok && !id.Barred
}

// eventOf is how documents call the cause of a contact's end (RFC 3680 5.1, TS
// 24.229 5.4.1.5).
func eventOf(why registrar.Cause) reginfo.Event {
	switch why {
	case registrar.Expired:
		return reginfo.Expired
	case registrar.Deactivated, registrar.Moved:
		return reginfo.Deactivated
	case registrar.Rejected:
		return reginfo.Rejected
	}
	return reginfo.Unregistered
}

// contactInfo is a contact that is registered; brief is without what may be absent.
func contactInfo(b registrar.Binding, brief bool) reginfo.Contact {
	c := reginfo.Contact{ID: b.ID, URI: b.Contact, Expires: secondsLeft(b, time.Now())}
	if brief {
		return c
	}
	c.CallID, c.CSeq = b.CallID, b.CSeq
	for name, v := range sip.Params(b.Params).All() {
		switch {
		case strings.EqualFold(name, "q"):
			c.Q = v
		case len(c.UnknownParams) < reginfo.MaxParams: // two octets become forty, in each registration
			c.UnknownParams = append(c.UnknownParams, reginfo.Param{Name: name, Value: v})
		}
	}
	return c
}

// after is a contact after an event.
func after(c reginfo.Contact, e reginfo.Event) reginfo.Contact {
	if c.Event, c.State = e, e.State(); c.State != reginfo.Active {
		c.Expires = 0
	}
	return c
}

// secondsLeft is how long a binding lasts, rounded up: a living one has 1 at least.
func secondsLeft(b registrar.Binding, now time.Time) uint32 {
	return uint32(max(0, b.Expires.Sub(now)+time.Second-1) / time.Second)
}

// idOf names an identity's registration in documents, the same one each time.
func idOf(key string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return "r" + strconv.FormatUint(h.Sum64(), 36)
}
