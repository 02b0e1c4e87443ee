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
)

// document is the full state of a set after the change from old to now, nil for
// none: one registration an identity that is not barred, with the contacts that are
// and those that have just gone (TS 24.229 5.4.2.1.2). It is empty when there never
// was anything.
func document(version uint32, old, now *registrar.Registration, why registrar.Cause) dialog.Part {
	doc := reginfo.Document{Version: version}
	if now.Registered() {
		for _, id := range now.Identities {
			if !id.Barred {
				doc.Registrations = append(doc.Registrations, active(id, old, now, why))
			}
		}
	}
	if old.Registered() {
		gone := eventOf(why)
		if now.Registered() { // the set lives on without the identity
			gone = reginfo.Deactivated
		}
		for _, id := range old.Identities {
			if id.Barred || now.Registered() && shown(now, id.Key) {
				continue
			}
			r := reginfo.Registration{AOR: id.URI, ID: idOf(id.Key), State: reginfo.Terminated}
			for _, b := range old.Bindings {
				r.Contacts = append(r.Contacts, contactInfo(b, gone))
			}
			doc.Registrations = append(doc.Registrations, r)
		}
	}
	if doc.Registrations == nil {
		return dialog.Part{}
	}
	return dialog.Part{Type: reginfo.ContentType, Body: string(doc.Append(nil))}
}

// active is an identity that is registered.
func active(id registrar.Identity, old, now *registrar.Registration, why registrar.Cause) reginfo.Registration {
	r := reginfo.Registration{AOR: id.URI, ID: idOf(id.Key), State: reginfo.Active}
	before := old.Registered() && shown(old, id.Key)
	for _, b := range now.Bindings {
		e := reginfo.Created // by the registration of another identity of the set
		switch {
		case b.Refreshed && (before || !old.Registered()):
			e = reginfo.Refreshed
		case b.IMPU == id.Key:
			e = reginfo.Registered
		}
		r.Contacts = append(r.Contacts, contactInfo(b, e))
	}
	if before {
		for _, b := range old.Bindings {
			if !slices.ContainsFunc(now.Bindings, func(n registrar.Binding) bool { return n.ID == b.ID }) {
				r.Contacts = append(r.Contacts, contactInfo(b, eventOf(why)))
			}
		}
	}
	return r
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

func contactInfo(b registrar.Binding, e reginfo.Event) reginfo.Contact {
	c := reginfo.Contact{ID: b.ID, URI: b.Contact, Event: e, State: e.State(), CallID: b.CallID, CSeq: b.CSeq}
	if c.State == reginfo.Active {
		c.Expires = secondsLeft(b, time.Now())
	}
	for name, v := range sip.Params(b.Params).All() {
		if strings.EqualFold(name, "q") {
			c.Q = v
			continue
		}
		c.UnknownParams = append(c.UnknownParams, reginfo.Param{Name: name, Value: v})
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
