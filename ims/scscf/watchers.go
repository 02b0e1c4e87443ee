package scscf

import (
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// cause is why contacts went.
type cause uint8

const (
	causeUser        cause = iota // a REGISTER removed them
	causeExpired                  // they were not refreshed
	causeDeactivated              // by the network; the phone shall register anew
	causeRejected                 // by the network; the phone shall not register again
)

// event is how registration documents call it (RFC 3680 5.1, TS 24.229 5.4.1.5).
func (c cause) event() reginfo.Event {
	switch c {
	case causeExpired:
		return reginfo.Expired
	case causeDeactivated:
		return reginfo.Deactivated
	case causeRejected:
		return reginfo.Rejected
	default:
		return reginfo.Unregistered
	}
}

// watchers are the subscriptions to the reg event (TS 24.229 5.4.2.1), by the
// identity that is watched.
type watchers struct {
	s   *Server
	mu  sync.Mutex
	all map[string][]*watcher
	n   int
}

// watcher is one subscription. Its fields belong to its notifier's shard.
type watcher struct {
	key      string // of the identity
	who      string // the subscriber, for logs
	notifier *dialog.Notifier
	version  uint32
	last     *registrar.Registration // what was told last
}

// Bounds against subscribers without end.
const (
	maxWatchers       = 1_000_000
	maxWatchersPerSet = 16
)

func newWatchers(s *Server) *watchers { return &watchers{s: s, all: map[string][]*watcher{}} }

// add notes a subscription; false when there is no room.
func (w *watchers) add(one *watcher) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n >= maxWatchers || len(w.all[one.key]) >= maxWatchersPerSet {
		return false
	}
	w.all[one.key] = append(w.all[one.key], one)
	w.n++
	return true
}

func (w *watchers) remove(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.all[one.key]
	i := slices.Index(list, one)
	if i < 0 {
		return
	}
	w.n--
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(w.all, one.key)
	} else {
		w.all[one.key] = list
	}
}

// room reports whether another subscription for key would be taken.
func (w *watchers) room(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n < maxWatchers && len(w.all[key]) < maxWatchersPerSet
}

// changed tells every subscriber of the set's identities what is now; now is nil
// when the registration has ended.
func (w *watchers) changed(old, now *registrar.Registration, why cause) {
	if old == nil {
		return // nobody can have subscribed to what was not there
	}
	w.mu.Lock()
	var tell []*watcher
	for _, id := range old.Identities {
		tell = append(tell, w.all[id.Key]...)
	}
	w.mu.Unlock()
	for _, one := range tell {
		one.notifier.Post(func() { w.notify(one, old, now, why) })
	}
}

// notify sends one subscriber the full state, and ends the subscription when the
// registration has ended (TS 24.229 5.4.2.1.2).
func (w *watchers) notify(one *watcher, old, now *registrar.Registration, why cause) {
	if one.notifier.Ended() {
		return
	}
	body := w.s.document(one, old, now, why)
	if now.Registered() {
		if err := one.notifier.Notify(body); err != nil {
			w.s.verdicts.Limited().Warn(w.s.verdicts.Log, "notify", "a subscriber of the reg event is too slow", zap.String("subscriber", one.who), zap.Error(err))
		}
		return
	}
	reason := "noresource"
	switch why {
	case causeDeactivated:
		reason = "deactivated"
	case causeRejected:
		reason = "rejected"
	}
	one.notifier.Terminate(reason, 0, body)
}

// document is the state of a whole set: one registration an identity that is not
// barred, with the contacts that are and those that just went.
func (s *Server) document(one *watcher, old, now *registrar.Registration, why cause) dialog.Part {
	doc := reginfo.Document{Version: one.version}
	one.version++
	shown := now
	if shown == nil {
		shown = old
	}
	if shown == nil { // it ended before this subscriber was told anything
		return dialog.Part{}
	}
	for _, id := range shown.Identities {
		if id.Barred {
			continue
		}
		r := reginfo.Registration{AOR: id.URI, ID: idOf(id.Key), State: reginfo.Terminated}
		if now.Registered() {
			r.State = reginfo.Active
			for _, b := range now.Bindings {
				r.Contacts = append(r.Contacts, contactInfo(b, presentEvent(one.last, b), time.Now()))
			}
		}
		if old != nil {
			for _, b := range old.Bindings {
				if now == nil || !slices.ContainsFunc(now.Bindings, func(n registrar.Binding) bool { return n.ID == b.ID }) {
					r.Contacts = append(r.Contacts, contactInfo(b, why.event(), time.Now()))
				}
			}
		}
		doc.Registrations = append(doc.Registrations, r)
	}
	one.last = now
	return dialog.Part{Type: reginfo.ContentType, Body: string(doc.Append(nil))}
}

// presentEvent is what last happened to a contact that is there, as far as the
// subscriber is concerned.
func presentEvent(told *registrar.Registration, b registrar.Binding) reginfo.Event {
	if told != nil {
		for _, o := range told.Bindings {
			if o.ID == b.ID && !o.Expires.Equal(b.Expires) {
				return reginfo.Refreshed
			}
		}
	}
	return reginfo.Registered
}

func contactInfo(b registrar.Binding, e reginfo.Event, now time.Time) reginfo.Contact {
	c := reginfo.Contact{ID: b.ID, URI: b.Contact, Event: e, State: e.State(), CallID: b.CallID, CSeq: b.CSeq}
	if left := b.Expires.Sub(now); c.State == reginfo.Active && left > 0 {
		c.Expires = uint32(left / time.Second)
	}
	for name, v := range sip.Params(b.Params).All() {
		if name == "q" {
			c.Q = v
			continue
		}
		c.UnknownParams = append(c.UnknownParams, reginfo.Param{Name: name, Value: v})
	}
	return c
}

// idOf names an identity's registration in documents, the same one each time.
func idOf(key string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return "r" + strconv.FormatUint(h.Sum64(), 36)
}
