package scscf

import (
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// watchers are the subscriptions to the reg event (TS 24.229 5.4.2.1), by the
// identity that is watched.
type watchers struct {
	s   *Server
	mu  sync.Mutex // taken under the store's lock: nothing under it may call the store
	all map[string][]*watcher
	n   int
}

// watcher is one subscription. Its fields belong to its shard, but key.
type watcher struct {
	key      string // of an identity of the set; guarded by watchers.mu
	who      string // the subscriber, for logs
	charging string // P-Charging-Vector of NOTIFYs, empty for none
	shard    *transaction.Shard
	notifier *dialog.Notifier        // nil until the SUBSCRIBE is accepted
	seen     *registrar.Registration // the set, as the shard has heard of it; nil for none. The store may be ahead
	version  uint32                  // of the next document
	waiting  *change                 // that no document has begun to tell; nil for none
	telling  *change                 // whose next document follows when the last is answered; nil for none
	told     int                     // registrations of telling
}

// Bounds against subscribers without end.
const (
	maxWatchers            = 1_000_000
	maxWatchersPerIdentity = 16
)

func newWatchers(s *Server) *watchers { return &watchers{s: s, all: map[string][]*watcher{}} }

func newWatcher(x *proxy.Exchange, key, who string) *watcher {
	return &watcher{key: strings.Clone(key), who: strings.Clone(who), shard: x.Shard}
}

// add notes a subscription. Where there is no room it returns the status to refuse it
// with: 503 only when that is so for everybody, as a P-CSCF takes 503s for overload.
func (w *watchers) add(one *watcher) (status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.n >= maxWatchers:
		return 503
	case len(w.all[one.key]) >= maxWatchersPerIdentity:
		return 500
	}
	w.all[one.key] = append(w.all[one.key], one)
	w.n++
	return 0
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

// keyOf is an identity of the set that one watches.
func (w *watchers) keyOf(one *watcher) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return one.key
}

func (w *watchers) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// changed tells every subscriber of the set's identities. The store calls it, with
// its changes in order, so that the last that is told is what is.
func (w *watchers) changed(old, now *registrar.Registration, why registrar.Cause) {
	if old == nil || sameState(old, now) {
		return // nobody can have subscribed to what was not there
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range old.Identities {
		for _, one := range w.all[id.Key] {
			one.shard.Post(func() { w.notify(one, old, now, why) })
		}
	}
	if now != nil {
		w.follow(old, now)
	}
}

// follow sees to it that an identity that leaves the set takes nobody with it.
func (w *watchers) follow(old, now *registrar.Registration) {
	key := now.Identities[0].Key
	for _, id := range old.Identities {
		if _, stays := now.Identity(id.Key); stays || len(w.all[id.Key]) == 0 {
			continue
		}
		for _, one := range w.all[id.Key] {
			one.key = key
		}
		w.all[key] = append(w.all[key], w.all[id.Key]...)
		delete(w.all, id.Key)
	}
}

// sameState reports whether subscribers would be told the same of both.
func sameState(a, b *registrar.Registration) bool {
	return a != nil && b != nil && slices.Equal(a.Identities, b.Identities) &&
		slices.EqualFunc(a.Bindings, b.Bindings, func(x, y registrar.Binding) bool {
			return x.ID == y.ID && x.CSeq == y.CSeq && x.Expires.Equal(y.Expires) && x.Params == y.Params
		})
}

// notify sends one subscriber the full state, and ends the subscription when the
// registration has ended (TS 24.229 5.4.2.1.2). While an earlier NOTIFY is not answered
// the change waits, one with those behind it.
func (w *watchers) notify(one *watcher, old, now *registrar.Registration, why registrar.Cause) {
	one.seen = now
	if one.notifier == nil || one.notifier.Ended() {
		return
	}
	if !now.Registered() && why == registrar.Moved {
		// The registration lives elsewhere; the subscriber shall ask there (RFC 6665
		// 4.1.3), and hear nothing of contacts that are terminated.
		one.notifier.Terminate("deactivated", 0, dialog.Part{}, one.fields()...)
		return
	}
	one.waiting = one.waiting.and(old, now, why)
	switch {
	case now.Registered():
		_ = one.notifier.Changed(one.fields()...) // one waits at most: never ErrBusy
	case why == registrar.Deactivated:
		one.end("deactivated")
	case why == registrar.Rejected:
		one.end("rejected")
	default:
		one.end("noresource")
	}
}

// end sends the last NOTIFY, with what waits.
func (one *watcher) end(reason string) {
	one.notifier.Conclude(reason, 0, one.fields()...)
}

// state writes the document of the NOTIFY that is about to be sent: of what waits, or if
// nothing does of what is, and then the parts of it that are left.
func (w *watchers) state(one *watcher, part int) (body dialog.Part, more bool) {
	if part == 0 {
		one.telling, one.told, one.waiting = one.waiting, 0, nil
	}
	if one.telling == nil { // its time is up
		one.telling = one.telling.and(one.seen, one.seen, registrar.Unregistered)
	}
	body, told, more, whole := one.telling.document(one.version, one.told)
	if !whole {
		w.s.verdicts.Limited().Warn(w.s.verdicts.Log, "long_document", "a document of the reg event has no room for all contacts of an identity: the longest are left out",
			zap.String("subscriber", one.who), zap.String("impu", w.keyOf(one)),
			zap.String("next", "Look at the contacts in the REGISTERs: URIs of so many octets are not those of phones."))
	}
	if body != (dialog.Part{}) {
		one.version++
	}
	if one.told = told; !more {
		one.telling = nil
	}
	return body, more
}

// fields are those of every NOTIFY (TS 24.229 5.4.2.1.2).
func (one *watcher) fields() []sip.Field {
	if one.charging == "" {
		return nil
	}
	return []sip.Field{{ID: sip.HPChargingVector, Value: one.charging}}
}
