package scscf

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
)

// assign deals with an authenticated REGISTER, when it is its turn: it tells the
// HSS where that must know, and binds, refreshes or removes contacts (TS 24.229
// 5.4.1.2.2F, 5.4.1.4).
func (r *registration) assign() {
	if !r.s.turns.take(r.impi, func() { r.x.Shard.Post(r.myTurn) }) {
		// No 503: that says that the core is overloaded, and a P-CSCF would refuse other
		// phones for it. A second INVITE that comes too early gets a 500, too (14.2).
		r.refuse(node.Refusal{Status: 500, Cause: "registers_wait", Clause: "RFC 3261 10.2",
			Text:   "Too many REGISTERs of " + r.impi + " wait for each other.",
			Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "5"}},
			Next:   "A phone that sends so many at once is at fault, or the HSS is slow."})
	}
}

// over gives up the turn. It must be called when all is done, whatever became of
// the REGISTER.
func (r *registration) over() {
	if r.turn {
		r.turn = false
		r.s.turns.done(r.impi)
	}
}

// post runs f on the shard, also when the REGISTER has been answered meanwhile:
// what the HSS has been told must be what is registered here.
func (r *registration) post(f func()) { r.x.Shard.Post(f) }

func (r *registration) myTurn() {
	r.turn = true
	reg := r.s.store.Get(string(r.impu))
	ref, bad := r.outOfOrder(reg)
	switch {
	case r.x.Done(): // it has waited too long
		r.over()
	case bad:
		r.refuse(ref)
	case r.leaving():
		r.leave()
	case len(r.contacts) > 0:
		r.tell(reg.Has(r.impi))
	case reg.Has(r.impi): // a query (RFC 3261 10.2.3)
		r.accept(reg, associated(reg)).Free()
	default:
		r.release(nil, nil, "not registered") // a query that leaves nothing behind
	}
}

// outOfOrder refuses a REGISTER that is older than what was taken (RFC 3261 10.3
// step 7).
func (r *registration) outOfOrder(reg *registrar.Registration) (node.Refusal, bool) {
	if reg == nil {
		return node.Refusal{}, false
	}
	for _, b := range reg.Bindings {
		if b.IMPI != r.impi || b.CallID != r.x.Req.CallID() || r.cseq > b.CSeq {
			continue
		}
		if r.all || slices.ContainsFunc(r.contacts, func(c contact) bool { return matches(b, c, r.impi) }) {
			return node.Refusal{Status: 500, Cause: "out_of_order", Clause: "RFC 3261 10.3",
				Text: "The REGISTER of " + r.impi + " has CSeq " + strconv.FormatUint(uint64(r.cseq), 10) + ", and " + strconv.FormatUint(uint64(b.CSeq), 10) + " was taken before.",
				Next: "The phone tries again with a higher CSeq. If it often happens, look at the delay of the first."}, true
		}
	}
	return node.Refusal{}, false
}

// tell sends the SAR. again: this private identity has contacts already (TS 29.228
// 6.1.2).
func (r *registration) tell(again bool) {
	q := &cx.SAR{UserName: r.impi, PublicIdentities: []string{string(r.impu)}, ServerName: r.s.name,
		Type: cx.AssignRegistration, UserDataAlreadyAvailable: cx.UserDataNotAvailable}
	if again {
		q.Type, q.UserDataAlreadyAvailable = cx.AssignReRegistration, cx.UserDataAvailable
	}
	r.before = nil
	if reg := r.s.store.Get(string(r.impu)); reg != nil {
		r.before = reg.Profile
	}
	r.s.turns.asks(r.impi)
	r.s.cx.SAR(r.s.cx.Deadline(), q, func(a *cx.SAA, err error) {
		node.Answered(r.x.Shard, a, func() { r.assigned(again, a, err) })
	})
}

// assigned goes on with the HSS's answer to the SAR.
func (r *registration) assigned(again bool, a *cx.SAA, err error) {
	s := r.s
	if node.TooBusy(err) {
		r.refuse(s.cx.Busy())
		return
	}
	if r.moved() {
		return
	}
	if again {
		// The HSS has lost what it knew, or the network has ended the registration
		// meanwhile: as for a first one.
		gone := err == nil && len(a.UserData) == 0 && !s.store.Get(string(r.impu)).Registered()
		if gone || forgotten(err) {
			r.tell(false)
			return
		}
	}
	if err != nil {
		r.refuse(hssRefusal(err, "the assignment of "+r.impi, false))
		return
	}
	for {
		old := s.store.Get(string(r.impu))
		if ref, bad := r.outOfOrder(old); bad {
			r.refuse(ref)
			return
		}
		now, err := r.registered(old, a)
		if err != nil {
			r.undo(node.Refusal{Status: 500, Cause: "bad_profile", Clause: "TS 29.229 6.2.2",
				Text: "The profile of " + r.impi + " cannot be used: " + err.Error() + ".", Next: "Correct the subscriber's profile or filter criteria at the HSS."})
			return
		}
		if now.Default() == (registrar.Identity{}) {
			r.undo(node.Refusal{Status: 403, Cause: "barred", Clause: "TS 24.229 5.4.1.2.2F",
				Text: "Every public identity of " + r.impi + " is barred.",
				Next: "Give the subscriber an identity at the HSS that is not barred."})
			return
		}
		if octets(now.Bindings...) > maxOctets {
			r.undo(node.Refusal{Status: 500, Cause: "contacts_full", Clause: "RFC 3261 10.3",
				Text:   "The contacts of " + strings.Join(now.IMPIs, ", ") + ", which share their public identities, would not fit in one answer.",
				Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "300"}},
				Next:   "Let fewer phones share an implicit registration set at the HSS."})
			return
		}
		var taken *registrar.TakenError
		switch err = r.put(old, now); {
		case err == nil:
			list := associated(now)
			r.changed(old, now, list)
			kind := profile.InitialRegistration
			if old.Registered() {
				kind = profile.ReRegistration
			}
			answer := r.accept(now, list)
			r.tellServers(now, kind, answer)
			answer.Free()
			return
		case errors.Is(err, errEnded):
			r.tell(false)
			return
		case errors.Is(err, errElsewhere) && r.moved():
			return
		case errors.As(err, &taken):
			if !s.giveWay(taken.By, r.impi) {
				r.undo(node.Refusal{Status: 403, Cause: "identity_taken", Clause: "TS 29.228 6.5.1",
					Text: "The profile of " + r.impi + " has " + taken.Key + ", which is registered with " + strings.Join(taken.By.IMPIs, ", ") + ".",
					Next: "Two subscribers of the HSS share a public identity that is not in the same implicit set; or a number has moved: then it is free when the old registration ends."})
				return
			}
		case !errors.Is(err, registrar.ErrConflict):
			r.undo(node.Refusal{Status: 503, Cause: "full", Text: "No room for another registered user: " + err.Error() + ".", Next: "Raise max_users, or add an S-CSCF.",
				Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "30"}}})
			return
		}
	}
}

// giveWay removes a set that stands in the way of one that the HSS has just
// described: one without contacts, or an older one of the same user. It reports
// whether it may.
func (s *Server) giveWay(other *registrar.Registration, impi string) bool {
	if other.Registered() && !slices.Contains(other.IMPIs, impi) {
		return false
	}
	if s.store.RemoveFor(other, registrar.Deactivated) == nil { // else somebody has changed it: the caller looks again
		s.ended(other, nil, registrar.Deactivated)
	}
	return true
}

// registered makes the registration that follows from the SAA and the contacts. A profile
// that the set has got since the HSS was asked is the later one: a PPR that names another
// user of the set has brought it, or his SAA.
func (r *registration) registered(old *registrar.Registration, a *cx.SAA) (*registrar.Registration, error) {
	var now *registrar.Registration
	if old.Registered() && old.Profile != nil && (len(a.UserData) == 0 || old.Profile != r.before) {
		now = old.With(old.Bindings)
		now.IMPIs = slices.Clip(now.IMPIs) // who adds to them adds to a copy
	} else {
		n, err := r.s.userData(a.UserData, r.impi, r.impu)
		if err != nil {
			return nil, err
		}
		now = n
		if old != nil {
			now.Bindings, now.Charging, now.State = old.Bindings, old.Charging, old.State
			addIMPIs(now, old.IMPIs...)
		}
	}
	remembers(now)
	now.HSS = unique.Make(a.OriginHost).Value() // all users have one of few
	if charging := chargingAddresses(a.Charging); charging != "" {
		now.Charging = charging
	}
	addIMPIs(now, r.impi)
	addIMPIs(now, associatedIMPIs(a)...)
	now.Bindings = r.bind(now.Bindings)
	return now, nil
}

// leave removes contacts, first of all here: a phone that goes shall be gone,
// whatever the HSS says. With its last contact the HSS is told (TS 24.229
// 5.4.1.4), also when there was none, which is so after a restart of ours.
func (r *registration) leave() {
	before, after := r.s.take(string(r.impu), registrar.Unregistered, func(b registrar.Binding) bool {
		return b.IMPI == r.impi && (r.all || slices.ContainsFunc(r.contacts, func(c contact) bool { return matches(b, c, r.impi) }))
	})
	if after.Has(r.impi) {
		list := associated(after)
		r.changed(before, after, list)
		answer := r.accept(after, list)
		r.tellServers(after, profile.ReRegistration, answer)
		answer.Free()
		return
	}
	r.release(before, after, "de-registered")
}

// release tells the HSS that this private identity has no contact any more, and
// accepts. after is what is left of the set, nil for nothing.
func (r *registration) release(before, after *registrar.Registration, text string) {
	r.s.tellHSS(r.impi, string(r.impu), cx.UserDeregistration, func(error) {
		r.post(func() {
			r.log(text, nil, nil)
			answer := r.accept(after, associated(after))
			if before.Registered() && !after.Registered() {
				r.tellServers(before, profile.DeRegistration, answer)
			}
			answer.Free()
		})
	})
}

// changed says that the registration has changed. list is what associated gives of now.
func (r *registration) changed(old, now *registrar.Registration, list []string) {
	text := "registered"
	if old.Has(r.impi) {
		text = "registration refreshed"
	}
	r.log(text, now, list)
}

// log says what became of the REGISTER, to the log and the trace.
func (r *registration) log(text string, now *registrar.Registration, list []string) {
	if now != nil {
		r.info(text, zap.Int("contacts", len(now.Bindings)), zap.Strings("identities", list))
	} else {
		r.info(text)
	}
	if !r.s.verdicts.Trace.On() {
		return
	}
	detail := text + ": " + string(r.impu) + " of " + r.impi
	if now != nil {
		detail += ", " + strconv.Itoa(len(now.Bindings)) + " contact(s), identities " + strings.Join(list, ", ")
	}
	r.s.verdicts.Trace.Emit(trace.Event{
		Kind: trace.State, CallID: r.x.Req.CallID(), ICID: node.ICID(r.x.Req), IMPI: r.impi, Text: detail + ".", Clause: "TS 24.229 5.4.1.2.2F",
	})
}

// accept sends the 200 with what the registration is now, nil for none (TS 24.229
// 5.4.1.2.2F step h), and returns it, to be freed. list is what associated gives of it.
func (r *registration) accept(reg *registrar.Registration, list []string) *sip.Builder {
	s := r.s
	r.counts(200)
	b := r.x.Response(200, "")
	for _, p := range r.path {
		b.Add(sip.HPath, p)
	}
	if reg.Registered() {
		r.describe(b, reg, list)
	}
	if v, err := sip.ParseChargingVector(r.x.Req.Get(sip.HPChargingVector)); err == nil {
		v.TermIOI = s.ioi(1)
		var buf [192]byte
		b.Add(sip.HPChargingVector, string(v.AppendTo(buf[:0])))
	}
	r.x.Send(200, b)
	r.over()
	return b
}

// describe writes a registration into a 200.
func (r *registration) describe(b *sip.Builder, reg *registrar.Registration, list []string) {
	now, flows := time.Now(), false
	var buf [256]byte
	line := buf[:0]
	for _, c := range reg.Bindings {
		left := int64(max(c.Expires.Sub(now).Round(time.Second), 0) / time.Second)
		line = append(append(append(line[:0], '<'), c.Contact...), '>')
		line = append(append(line, c.Params...), ";expires="...)
		b.Add(sip.HContact, string(strconv.AppendInt(line, left, 10)))
		flows = flows || c.RegID != 0 && c.IMPI == r.impi
	}
	if flows { // RFC 5626 6
		b.Add(sip.HRequire, "outbound")
		b.Add(sip.HSupported, "path, outbound")
	}
	b.Add(sip.HServiceRoute, "<"+r.s.ownURI(origUser)+";lr>")
	if len(list) > 0 {
		line = line[:0]
		for i, id := range list {
			if i > 0 {
				line = append(line, ", "...)
			}
			line = append(append(append(line, '<'), id...), '>')
		}
		b.Add(sip.HPAssociatedURI, string(line))
	}
	if reg.Charging != "" {
		b.Add(sip.HPChargingFunctionAddresses, reg.Charging)
	}
}
