package pcscf

import (
	"slices"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// making follows a request that may make dialogs, to their end if it fails.
type making struct {
	s       *Server
	b       *binding
	x       *proxy.Exchange
	icid    string
	calling bool // the phone sends it
	ringing bool // the far side has said so
	itself  bool // the phone subscribes to its own registration

	made []made
}

// made is a dialog that the request has made.
type made struct {
	key       dialogKey
	confirmed bool // by a 2xx
}

// response learns from a response that makes a dialog (RFC 3261 12.1). Without a
// Record-Route, a provisional one may come from somewhere that makes none.
func (k *making) response(m *sip.Message) {
	status := m.Status()
	k.ringing = k.ringing || status == 180
	if status >= 300 || m.ToTag() == "" || status < 200 && !m.Has(sip.HRecordRoute) {
		return
	}
	method := k.x.Req.Method()
	d := dialog{icid: k.icid, call: method == "INVITE", early: status < 200, subscription: method != "INVITE", itself: k.itself, routes: make([]string, 0, 4)}
	if k.calling {
		d.key = keyFromPhone(k.b, m) // From and To stand as in the request
		for v := range m.Values(sip.HRecordRoute) {
			d.routes = append(d.routes, v)
		}
		slices.Reverse(d.routes)
		d.routes, _ = k.s.behindUs(d.routes, k.b)
	} else {
		d.key = keyToPhone(k.b, m)
		for v := range k.x.Req.Values(sip.HRecordRoute) {
			d.routes = append(d.routes, v)
		}
	}
	if len(d.routes) == 0 {
		if d.target = remoteTarget(m); !k.calling {
			d.target = remoteTarget(k.x.Req)
		}
	}
	// Another To tag is another dialog: the call was forked.
	i := slices.IndexFunc(k.made, func(o made) bool { return o.key == d.key })
	if i < 0 && len(k.made) >= maxForks && !k.forgetEarly(status) {
		return
	}
	key, ok := k.s.learn(k.b, d)
	if !ok {
		return
	}
	if i < 0 {
		i = len(k.made)
		k.made = append(k.made, made{key: key})
	}
	k.made[i].confirmed = k.made[i].confirmed || status >= 200
}

// learn is dialogs.learn for a phone that may have left since: then nothing but the
// time ends the dialog. What is learnt before the phone leaves goes with it (left).
func (s *Server) learn(b *binding, d dialog) (dialogKey, bool) {
	key, ok := s.dialogs.learn(d)
	if ok {
		s.endOfLeft(b, key)
	}
	return key, ok
}

// endOfLeft ends a dialog if its phone has left.
func (s *Server) endOfLeft(b *binding, k dialogKey) {
	if s.bindings.has(b.impi) || s.callers.ofToken(b.token) != nil {
		return
	}
	now := time.Now()
	s.dialogs.ended(k, true, now)
	s.dialogs.ended(k, false, now)
}

// forgetEarly makes room for a dialog that a 2xx has made, in place of the first
// that is early still. It reports whether there is room.
func (k *making) forgetEarly(status int) bool {
	i := slices.IndexFunc(k.made, func(o made) bool { return !o.confirmed })
	if i < 0 || status < 200 {
		return false
	}
	k.s.dialogs.ended(k.made[i].key, k.x.Req.Method() == "INVITE", time.Now())
	k.made = slices.Delete(k.made, i, i+1)
	return true
}

// end is the end of the transaction: what it has made and not confirmed, ends
// (RFC 3261 13.2.2.4).
func (k *making) end() {
	if k.itself {
		k.s.dialogs.asked(keyFromPhone(k.b, k.x.Req))
	}
	for _, d := range k.made {
		if !d.confirmed {
			k.s.dialogs.ended(d.key, k.x.Req.Method() == "INVITE", time.Now())
		}
	}
}
