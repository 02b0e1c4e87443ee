package pcscf

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ipsec"
)

// challenge takes a new set into the life of its phone: on is the set over which
// its REGISTER came, nil for in clear. done is called on any goroutine, once the set
// stands, or with why it does not; the set is taken back then. It must not block.
func (c *security) challenge(a *association, k phoneKey, on *association, done func(error)) {
	for _, gone := range c.begin(a, k, on, done) {
		if gone != nil {
			c.toldWhoGaveWay(gone)
		}
	}
}

// begin is challenge, and returns whose sets have given way: of the same private identity,
// and of all.
func (c *security) begin(a *association, k phoneKey, on *association, done func(error)) (gone [2]*association) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		c.release(a.Set)
		done(errStopping)
		return gone
	}
	k.impi = a.Owner // which holds on to no message
	p := c.phones.of(k)
	if p == nil {
		p, gone[0] = c.enter(k)
	}
	a.phone = p
	p.unanswered.Store(0)
	c.byID[a.ID] = a
	id := ipsec.SetID(0)
	if on != nil {
		id = on.ID
	}
	for _, act := range p.life.Challenged(a.Set, id, now) {
		if act.Kind != ipsec.Install {
			c.act(p, act)
			continue
		}
		for _, f := range a.flows() {
			c.byFlow.put(f, a)
		}
		c.work.do(func() { c.install(a, done) })
	}
	c.after(p)
	gone[1] = c.crowded(a)
	return gone
}

// enter makes a phone, and returns the unproven set that has given way for it, nil for none.
// The caller holds c.mu.
func (c *security) enter(k phoneKey) (p *phone, gone *association) {
	if c.phones.count(k.impi) >= maxPhonesOfOne {
		gone = c.leaveOne(c.phones.expendable(k.impi))
	}
	p = &phone{key: k, life: *ipsec.NewLife(&c.timers)}
	c.phones.add(p)
	return p, gone
}

// leaveOne ends the sets of a phone, nil for none, for the sake of another with its private
// identity. It returns the set that had not been proven, nil for none. The caller holds c.mu.
func (c *security) leaveOne(p *phone) (gone *association) {
	if p == nil {
		return nil
	}
	if s := p.life.Unproven(); s != nil {
		gone = c.byID[s.ID]
		c.givesWay(gone, errMany)
	}
	c.run(p, p.life.Drop())
	return gone
}

// errOvertaken is why a challenge is not sent whose set stood for a moment only.
var errOvertaken = errors.New("another challenge of the phone has taken its place")

// gone is why a set is no longer there, nil when it is. The caller holds c.mu.
func (c *security) gone(a *association) error {
	switch {
	case c.byID[a.ID] == a:
		return nil
	case a.gaveWay != nil:
		return a.gaveWay
	}
	return errOvertaken
}

// install is on the worker's goroutine.
func (c *security) install(a *association, done func(error)) {
	c.mu.RLock()
	err := c.gone(a)
	c.mu.RUnlock()
	if err != nil { // its removal is queued, and finds nothing
		done(err)
		return
	}
	err = c.stack.Install(a.Set)
	c.mu.Lock()
	gone := c.gone(a)
	switch {
	case err != nil:
		c.metric.failures.WithLabelValues("install").Inc()
		c.run(a.phone, a.phone.life.Failed(a.ID, time.Now()))
	case gone != nil: // its removal is queued
		err = gone
	default:
		a.phone.life.Installed(a.ID)
		c.told(a, "SA set up: ", ".")
	}
	c.mu.Unlock()
	done(err)
}

// change lets f report to the life of a set's phone what has happened, and does
// what follows from it.
func (c *security) change(a *association, f func(l *ipsec.Life, now time.Time) []ipsec.Action) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phones.of(a.phone.key) == a.phone {
		c.run(a.phone, f(&a.phone.life, time.Now()))
	}
}

// registered is the 200 to a REGISTER over a set.
func (c *security) registered(a *association, expires time.Duration) {
	c.change(a, func(l *ipsec.Life, now time.Time) []ipsec.Action {
		before, _ := l.Status(a.ID)
		acts := l.Registered(a.ID, expires, now)
		if after, _ := l.Status(a.ID); (before == ipsec.Temporary || before == ipsec.Leaving) && after != before {
			c.answered.Add(1)
			a.client = nil // nobody compares it any more
			if c.phones.count(a.phone.key.impi) > maxPhonesOfOne {
				c.leaveOne(c.phones.first(a.phone))
			}
		}
		return acts
	})
}

// answering is a REGISTER over a set whose challenge it answers.
func (c *security) answering(a *association) {
	c.change(a, func(l *ipsec.Life, now time.Time) []ipsec.Action { return l.Answering(a.ID, now) })
}

// deregistered is the end of a phone's last registration.
func (c *security) deregistered(k phoneKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.phones.of(k); p != nil {
		c.run(p, p.life.Deregistered(time.Now()))
	}
}

// rejected is a final answer to a REGISTER that failed: over the set on, or in
// clear for a phone that answers its challenge so.
func (c *security) rejected(k phoneKey, on *association) {
	id := ipsec.SetID(0)
	if on != nil {
		id = on.ID
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.phones.of(k); p != nil {
		c.run(p, p.life.Rejected(id, time.Now()))
	}
}

// received notes that something new has come over a set: the first time after its
// 200 our sending moves to it.
func (c *security) received(a *association) {
	if a != nil && a.fresh.Load() {
		c.change(a, func(l *ipsec.Life, now time.Time) []ipsec.Action { return l.Received(a.ID, now) })
	}
}

// lost tells that the back end has ended a set by itself.
func (c *security) lost(id ipsec.SetID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.byID[id]; a != nil {
		c.run(a.phone, a.phone.life.Failed(id, time.Now()))
	}
}

// soonLimit is how long before the end of a set its back end tells of it, and half as
// much again.
const soonLimit = 15 * time.Second

// soon tells that the back end will end a set by itself in a few seconds. Nothing
// prolongs a set but a registration (TS 24.229 5.2.2.2), so as a rule there is nothing
// to do: the phone has not come back. If the set is to live longer, the back end has
// not taken that in, and is told again while there is time.
func (c *security) soon(id ipsec.SetID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.byID[id]
	if a == nil {
		return
	}
	st, end := a.phone.life.Status(id)
	switch left := time.Until(end); {
	case left > soonLimit:
		c.s.deps.Log.Warn("the back end is about to end an SA set that lives longer: it is told again", zap.String("impi", a.Owner), zap.Stringer("set", a), zap.Time("until", end))
		c.extend(a, end)
	case st == ipsec.InUse || st == ipsec.Unused:
		c.s.verdicts.Limited().Log(c.s.deps.Log, zap.InfoLevel, "sa_runs_out", "the SA set of a phone is about to end: its registration has run out, and it has not registered again", zap.String("impi", a.Owner), zap.Stringer("set", a))
	}
}

// extend prolongs a set. The caller holds c.mu.
func (c *security) extend(a *association, until time.Time) {
	c.work.do(func() {
		if err := c.stack.Extend(a.ID, until); err != nil {
			c.s.deps.Log.Error("an SA set cannot be prolonged: the phone will lose its registration", zap.String("impi", a.Owner), zap.Stringer("set", a), zap.Error(err))
		}
	})
}

// run carries actions out. The caller holds c.mu.
func (c *security) run(p *phone, acts []ipsec.Action) {
	for _, act := range acts {
		c.act(p, act)
	}
	c.after(p)
}

func (c *security) act(p *phone, act ipsec.Action) {
	a := c.byID[act.Set.ID]
	if a == nil {
		return
	}
	switch act.Kind {
	case ipsec.Extend:
		c.told(a, "SA ", " lives until "+act.At.Format(time.TimeOnly)+": "+act.Why+".")
		c.extend(a, act.At)
	case ipsec.Use:
		c.told(a, "Requests go to the phone over ", ": "+act.Why+".")
	case ipsec.Remove:
		c.remove(p, a, act.Why)
	}
}

// remove takes a set out; its SPIs and ports are free when the back end has let go
// of it.
func (c *security) remove(p *phone, a *association, why string) {
	delete(c.byID, a.ID)
	c.crowd.leaves(a)
	for _, f := range a.flows() {
		c.byFlow.remove(f, a)
	}
	c.told(a, "SA ended: ", ": "+why+".")
	c.work.do(func() {
		for _, f := range a.flows() {
			c.s.core.EndConns(f.local, f.remote)
		}
		c.letGo(a, time.Second)
	})
}

// letGo has the back end let go of a set, and gives its SPIs and ports back. A set that the
// back end keeps keeps them as well: another one with them would not be set up. It is tried
// again, each time after twice as long. It is on the worker's goroutine.
func (c *security) letGo(a *association, wait time.Duration) {
	began := time.Now()
	err := c.stack.Remove(a.ID)
	wait = max(wait, 10*time.Since(began)) // a kernel that is slow holds those up who register
	if err == nil {
		c.release(a.Set)
		return
	}
	c.s.verdicts.Limited().Log(c.s.deps.Log, zap.ErrorLevel, "sa_kept", "an SA set cannot be removed: it is tried again",
		zap.String("impi", a.Owner), zap.Stringer("set", a), zap.Duration("in", wait), zap.Error(err))
	time.AfterFunc(wait, func() {
		c.work.do(func() { c.letGo(a, min(2*wait, maxRemoveWait)) })
	})
}

// maxRemoveWait is the longest time between two attempts to remove a set, unless one takes long.
const maxRemoveWait = 30 * time.Second

func (c *security) release(s *ipsec.Set) {
	c.spis.Release(s.Local.SPIC, s.Local.SPIS)
	c.ports.Release(s)
}

// after follows each change of a phone's life: who has no set is forgotten, the
// others are looked at again when something is due. The caller holds c.mu.
func (c *security) after(p *phone) {
	sets := p.life.Sets()
	if len(sets) == 0 {
		c.forget(p)
		return
	}
	for _, s := range sets {
		st, _ := p.life.Status(s.ID)
		a := c.byID[s.ID]
		a.fresh.Store(st == ipsec.Unused)
		if a.unproven && p.life.Unproven() != s {
			c.crowd.leaves(a)
		}
	}
	c.ticks.Set(p, p.life.Next())
}

func (c *security) tick(p *phone) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phones.of(p.key) == p && !c.ended {
		c.run(p, p.life.Tick(time.Now()))
	}
}

func (c *security) forget(p *phone) {
	c.ticks.Stop(p)
	c.phones.remove(p)
}
