package ipsec

import (
	"slices"
	"time"
)

// Timers are how long sets live beyond what the registration says.
type Timers struct {
	// Await is reg-await-auth: how long a temporary set waits for the answer to the
	// challenge (TS 24.229 7.8).
	Await time.Duration
	// Tail is how long an old set serves what is pending, 64·T1 on Gm (TS 24.229
	// 5.2.2.2, 7.7).
	Tail time.Duration
	// Linger is how long a set outlives its registration, so that the response
	// leaves and a retransmitted request gets it again: timer J of Gm.
	Linger time.Duration
}

// DefaultTimers are those of TS 24.229.
func DefaultTimers() Timers {
	return Timers{Await: 4 * time.Minute, Tail: 128 * time.Second, Linger: 128 * time.Second}
}

// Slack is what a set lives longer than the registration (TS 24.229 5.2.2.2).
const Slack = 30 * time.Second

// MaxSets is how many sets a phone may have: old, current, temporary (TS 33.203 7.4).
const MaxSets = 3

// State is where a set is in its life.
type State uint8

// The states. At most one set of a phone is in each.
const (
	// Temporary: the 401 has been sent, the phone has not answered well.
	Temporary State = iota + 1
	// Unused: the phone has answered well, but has sent nothing further over it; what
	// we send still goes over the set that is in use.
	Unused
	// InUse: what we send to the phone goes over it.
	InUse
	// Old: another is in use; pending transactions end on it.
	Old
	// Leaving: the answer to the phone's challenge was refused or answered with
	// another challenge, and that message leaves over it; or somebody was challenged
	// anew in clear while the home network has the phone's answer.
	Leaving
)

func (s State) String() string {
	return [...]string{"none", "temporary", "unused", "in use", "old", "leaving"}[s]
}

// ActionKind is what is to be done with a set.
type ActionKind uint8

// The actions.
const (
	Install ActionKind = iota + 1
	Extend
	Remove
	Use // we send over this set from now on; nothing to do for a back end
)

func (k ActionKind) String() string {
	return [...]string{"none", "install", "extend", "remove", "use"}[k]
}

// Action is what a [Life] asks of its owner.
type Action struct {
	Kind ActionKind
	Set  *Set
	At   time.Time // Install and Extend: when the set ends by itself
	Why  string    // for logs
}

// Life is the sets of one phone at one address, as the P-CSCF keeps them (TS 33.203
// 7.4, TS 24.229 5.2.2.2). It has no clock and does no I/O: it is told what happens,
// and returns what is to be done, in order. It is not safe for concurrent use.
//
// Every set that is given to Challenged comes back in one Remove action, once,
// whatever happens: its SPIs and ports are given back there. Whoever carries the
// actions out keeps their order, and need not tell that a Remove is done.
type Life struct {
	timers *Timers
	sets   []*held // the oldest first
}

type held struct {
	set       *Set
	state     State
	installed bool
	// from is the set over which the REGISTER came that began the authentication,
	// 0 for one in clear.
	from SetID
	end  time.Time
	why  string // it ends then
	// answered is set when the phone has answered the challenge, however well, and
	// pending as long as the home network has not said how well.
	answered, pending bool
}

// NewLife is that of a phone without a set. All phones may have the same timers, which
// do not change.
func NewLife(t *Timers) *Life { return &Life{timers: t} }

func (l *Life) find(id SetID) *held {
	for _, h := range l.sets {
		if h.set.ID == id {
			return h
		}
	}
	return nil
}

func (l *Life) in(s State) *held {
	for _, h := range l.sets {
		if h.state == s {
			return h
		}
	}
	return nil
}

// remove takes h, which may be nil, out.
func (l *Life) remove(h *held, why string) []Action {
	i := slices.Index(l.sets, h)
	if i < 0 {
		return nil
	}
	l.sets = slices.Delete(l.sets, i, i+1)
	return []Action{{Kind: Remove, Set: h.set, Why: why}}
}

// shorten makes h end at the latest then.
func (h *held) shorten(end time.Time, why string) {
	if end.Before(h.end) {
		h.end, h.why = end, why
	}
}

// lengthen makes h end at the earliest then.
func (h *held) lengthen(end time.Time) []Action {
	if !end.After(h.end) {
		return nil
	}
	h.end, h.why = end, endRegistration
	return []Action{{Kind: Extend, Set: h.set, At: end, Why: "registered"}}
}

// Why sets end.
const (
	endAwait        = "the phone has not answered the challenge in time"
	endReplaced     = "a newer challenge takes its place"
	endTail         = "its time for pending transactions is over"
	endRefused      = "the answer to the challenge was refused"
	endRegistration = "the registration has expired"
	endDeregistered = "deregistered"
	endLost         = "it is not installed"
	endCrowded      = "a phone has three sets at most"
	endInClear      = "the phone has registered anew in clear, so it has lost the set"
	endOther        = "another set was used for the re-registration"
	endDropped      = "dropped"
)

// Challenged is called before a 401 leaves that answers a REGISTER which came over
// the set on, 0 for in clear: the set it announces becomes the temporary one, in
// the place of an older one. Set.Hard is written. When the Install action has been
// carried out, Installed or Failed is called; only then the 401 may leave.
//
// Nobody has shown yet that he has the keys: established sets stay, also where the
// phone offers their SPIs and ports again, which anybody could have read on the way.
// A back end takes such a set beside the other. For the same reason one stays whose
// challenge was answered, which needs the keys, until the home network has answered:
// where that makes too many, one that is established and not in use goes, which a phone
// that has answered without it has lost, or the answered one, if the REGISTER came over that.
func (l *Life) Challenged(s *Set, on SetID, now time.Time) []Action {
	from := on
	if h := l.find(on); h != nil && (h.state == Temporary || h.state == Leaving) {
		from = h.from // it goes on with the authentication that this set came from
	}
	stays := l.find(on)
	if stays != nil && (stays.state == Temporary || stays.state == Leaving) {
		stays.pending = false // the 401 leaves over it
	} else {
		stays = l.pending()
	}
	var acts []Action
	for _, h := range slices.Clone(l.sets) {
		if h != stays && (h.state == Temporary || h.state == Leaving) {
			acts = append(acts, l.remove(h, endReplaced)...)
		}
	}
	if h := l.in(Temporary); h != nil {
		h.state = Leaving
		h.shorten(now.Add(l.timers.Linger), endReplaced)
	}
	for _, st := range [...]State{Old, Leaving, Unused} {
		if h := l.in(st); len(l.sets) >= MaxSets && h != nil && h != stays && h.set.ID != on {
			acts = append(acts, l.remove(h, endCrowded)...)
		}
	}
	if len(l.sets) >= MaxSets && stays.set.ID != on { // this one is asked for over a set before it
		acts = append(acts, l.remove(stays, endCrowded)...)
	}
	s.Hard = now.Add(l.timers.Await)
	l.sets = append(l.sets, &held{set: s, state: Temporary, from: from, end: s.Hard, why: endAwait})
	acts = append(acts, l.settle(now)...)
	return append(acts, Action{Kind: Install, Set: s, At: s.Hard, Why: "challenged"})
}

// pending is the latest set whose challenge the phone has answered and the home network
// has not, nil for none.
func (l *Life) pending() *held {
	for _, st := range [...]State{Temporary, Leaving} {
		if h := l.in(st); h != nil && h.pending {
			return h
		}
	}
	return nil
}

// Installed tells that a set stands: the 401 may leave.
func (l *Life) Installed(id SetID) {
	if h := l.find(id); h != nil {
		h.installed = true
	}
}

// Stands reports whether the phone has a set, and it is installed.
func (l *Life) Stands(id SetID) bool {
	h := l.find(id)
	return h != nil && h.installed
}

// Failed tells that a set could not be installed, or that its back end has lost it.
func (l *Life) Failed(id SetID, now time.Time) []Action {
	return append(l.remove(l.find(id), endLost), l.settle(now)...)
}

// Unproven is the temporary set of a REGISTER in clear over which nothing has come, nil
// for none. Anybody may have begun it.
func (l *Life) Unproven() *Set {
	if t := l.in(Temporary); t != nil && t.from == 0 && !t.answered {
		return t.set
	}
	return nil
}

// Proven reports whether whoever is there has shown that he has the keys of a set.
func (l *Life) Proven() bool { return len(l.sets) != 1 || l.Unproven() == nil }

// GaveWayError is that the set of a challenge was taken from whoever may have been about to
// use it.
type GaveWayError struct{ Why string }

func (e *GaveWayError) Error() string { return "its SA set has given way: " + e.Why }

// Abandoned is called when an unproven set keeps others out, which is why it goes.
func (l *Life) Abandoned(why string, now time.Time) []Action {
	s := l.Unproven()
	if s == nil {
		return nil
	}
	return append(l.remove(l.find(s.ID), why), l.settle(now)...)
}

// Answering is called when a REGISTER over the set on goes to the home network: the
// phone was in time (TS 24.229 5.2.2.2 stops reg-await-auth), and the set stands for
// as long as the answer may take. That is granted once.
func (l *Life) Answering(on SetID, now time.Time) []Action {
	h := l.find(on)
	if h == nil || !h.installed || h.state != Temporary || h.answered {
		return nil
	}
	h.answered, h.pending = true, true
	if end := now.Add(l.timers.Linger); end.After(h.end) {
		h.end = end
		return []Action{{Kind: Extend, Set: h.set, At: end, Why: "the challenge is answered"}}
	}
	return nil
}

// Registered is called before a 200 leaves that answers a REGISTER which came over
// the set on. expires is the longest registration that the phone has now.
func (l *Life) Registered(on SetID, expires time.Duration, now time.Time) []Action {
	h := l.find(on)
	if h == nil || !h.installed || h.state == Leaving && !h.pending {
		return nil
	}
	end := now.Add(max(expires, 0) + Slack)
	if h.state == Temporary || h.state == Leaving {
		return l.established(h, end, now)
	}
	var acts []Action
	if h.state != Old { // what is superseded stays so
		acts = h.lengthen(end)
	}
	// Of the established sets, the youngest is what the phone goes on with.
	for _, st := range [...]State{Unused, InUse} {
		if y := l.in(st); y != nil {
			if y != h {
				acts = append(acts, y.lengthen(end)...)
			}
			break
		}
	}
	return append(acts, l.settle(now)...)
}

// established makes the set t one that was answered well: the temporary one, or one
// beside which somebody was challenged since, who may go on.
func (l *Life) established(t *held, end, now time.Time) []Action {
	from := l.find(t.from)
	if from != nil && (from.state == Temporary || from.state == Leaving) {
		from = nil
	}
	var gone []Action
	for _, h := range slices.Clone(l.sets) {
		if h == t || h.state == Temporary {
			continue
		}
		if h.state != Leaving && h.end.After(end) {
			end = h.end // max(current, expires + 30 s)
		}
		switch {
		case h == from:
		case from == nil && t.from == 0:
			gone = append(gone, l.remove(h, endInClear)...)
		default:
			gone = append(gone, l.remove(h, endOther)...)
		}
	}
	t.end, t.why, t.pending = end, endRegistration, false
	acts := append([]Action{{Kind: Extend, Set: t.set, At: end, Why: "registered"}}, gone...)
	t.state = Unused
	back := from != nil && from.state != InUse
	if back {
		from.state = InUse
	}
	moved := l.settle(now)
	if back && len(moved) == 0 {
		moved = []Action{{Kind: Use, Set: from.set, Why: "the re-registration began on it"}}
	}
	return append(acts, moved...)
}

// Received is called for each message that came over the set on and that no
// transaction absorbed: a retransmission of the REGISTER shows nothing.
func (l *Life) Received(on SetID, now time.Time) []Action {
	h := l.find(on)
	if h == nil || h.state != Unused {
		return nil
	}
	return l.use(h, now, "the phone uses it")
}

// use moves our sending to h.
func (l *Life) use(h *held, now time.Time, why string) []Action {
	if old := l.in(InUse); old != nil {
		old.state = Old
		old.shorten(now.Add(l.timers.Tail), endTail)
	}
	h.state = InUse
	return []Action{{Kind: Use, Set: h.set, Why: why}}
}

// settle sees to it that what we send over stands, and for long enough.
func (l *Life) settle(now time.Time) []Action {
	next, cur := l.in(Unused), l.in(InUse)
	switch {
	case next == nil:
		return nil
	case cur == nil:
		return l.use(next, now, "it is the only one")
	case !now.Before(cur.end.Add(-l.timers.Tail)):
		return l.use(next, now, "the one before is about to end")
	}
	return nil
}

// Rejected is called before the final answer to a REGISTER leaves that is neither a
// success nor another challenge: over the temporary set, or over the set or in
// clear as the REGISTER that led to it, for one that answers the challenge with a
// failure. Established sets stay (TS 33.203 7.3.1), and so does one whose answer is
// with the home network, whatever others get in clear. After 423 the phone tries again
// over the same set; it is not to be reported.
func (l *Life) Rejected(on SetID, now time.Time) []Action {
	t := l.in(Temporary)
	if h := l.find(on); h != nil {
		h.pending = false
	}
	switch {
	case t == nil:
		return nil
	case t.set.ID == on:
		t.state = Leaving
		t.shorten(now.Add(l.timers.Linger), endRefused)
		if old := l.in(Leaving); old != t {
			return l.remove(old, endReplaced)
		}
		return nil
	case t.from == on && !t.pending:
		return l.remove(t, endRefused)
	}
	return nil
}

// Deregistered is called when the phone's last registration has ended, by whomever
// or by expiry. A temporary set is of a registration to come, and stays; where the
// 200 to the de-registration leaves over it, Registered is called first.
func (l *Life) Deregistered(now time.Time) []Action {
	for _, h := range l.sets {
		if h.state != Temporary {
			h.shorten(now.Add(l.timers.Linger), endDeregistered)
		}
	}
	return l.settle(now)
}

// Drop removes everything at once.
func (l *Life) Drop() (acts []Action) {
	for len(l.sets) > 0 {
		acts = append(acts, l.remove(l.sets[0], endDropped)...)
	}
	return acts
}

// Tick does what is due.
func (l *Life) Tick(now time.Time) (acts []Action) {
	for _, h := range slices.Clone(l.sets) {
		if !h.end.After(now) {
			acts = append(acts, l.remove(h, h.why)...)
		}
	}
	return append(acts, l.settle(now)...)
}

// Next is when Tick has something to do; zero for never.
func (l *Life) Next() (at time.Time) {
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, h := range l.sets {
		sooner(h.end)
		if h.state == InUse && l.in(Unused) != nil {
			sooner(h.end.Add(-l.timers.Tail))
		}
	}
	return at
}

// End is when the last of the sets ends, if nothing happens; zero for a phone without one.
func (l *Life) End() (at time.Time) {
	for _, h := range l.sets {
		if h.end.After(at) {
			at = h.end
		}
	}
	return at
}

// Current is the set over which requests go to the phone, nil for none.
func (l *Life) Current() *Set { return l.set(l.in(InUse)) }

// Temporary is the set whose challenge is to be answered, nil for none.
func (l *Life) Temporary() *Set { return l.set(l.in(Temporary)) }

// Of is the set with that number, nil when the phone does not have it.
func (l *Life) Of(id SetID) *Set { return l.set(l.find(id)) }

func (l *Life) set(h *held) *Set {
	if h == nil {
		return nil
	}
	return h.set
}

// Established are the sets that the phone has answered well, the one in use first.
func (l *Life) Established() []*Set { return l.pick(InUse, Unused, Old) }

// Sets are all that the phone may still have, the one in use first.
func (l *Life) Sets() []*Set { return l.pick(InUse, Unused, Old, Temporary, Leaving) }

func (l *Life) pick(states ...State) (list []*Set) {
	for _, st := range states {
		if h := l.in(st); h != nil {
			list = append(list, h.set)
		}
	}
	return list
}

// Status tells where the set is in its life and when it ends; zero for one that is
// not there.
func (l *Life) Status(id SetID) (s State, end time.Time) {
	if h := l.find(id); h != nil {
		return h.state, h.end
	}
	return 0, time.Time{}
}
