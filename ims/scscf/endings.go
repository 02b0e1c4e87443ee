package scscf

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
)

// ending is what the HSS has to hear of a private identity: it is registered no more, or
// has not answered its challenge (TS 29.228 6.1.2).
type ending struct {
	impi, impu string
	kind       cx.ServerAssignmentType
	tries      int       // SARs that the HSS has not taken
	after      time.Time // of the next one
}

// endings are those for which nobody waits, or which the HSS has not taken. What runs out
// at once, as the registrations from before a failure do, is more than a connection takes
// at a time. Its methods may be called from any goroutine; run sends.
type endings struct {
	s    *Server
	max  int
	wake chan struct{}

	mu           sync.Mutex
	open         int // of which the HSS is being told
	first, again []ending
}

// Bounds: so many SARs are open at a time, which leaves the HSS to those who register; and
// one that it has not taken is sent again each minute for an hour.
const (
	maxOpenEndings = 128
	maxEndingTries = 60
	endingPause    = time.Minute
)

func newEndings(s *Server) *endings {
	return &endings{s: s, max: cmp.Or(max(s.cfg.MaxUsers, 0), 1_000_000), wake: make(chan struct{}, 1)}
}

// add puts e behind the others. Each is of a user who was here: beyond as many as there may
// be users, one is lost, and the HSS keeps him until he comes back.
func (q *endings) add(e ending) {
	own := e.impi + e.impu // so that it does not hold on to a binding
	e.impi, e.impu = own[:len(e.impi)], own[len(e.impi):]
	q.mu.Lock()
	full := len(q.first)+len(q.again) >= q.max
	switch {
	case full:
	case e.tries == 0:
		q.first = append(q.first, e)
	default:
		q.again = append(q.again, e)
	}
	q.mu.Unlock()
	if full {
		q.lost(e, "too many wait")
		return
	}
	q.look()
}

// failed sends e again later, if not too often.
func (q *endings) failed(e ending) {
	if e.tries++; e.tries == maxEndingTries {
		q.lost(e, "it was told each minute for an hour")
		return
	}
	e.after = time.Now().Add(endingPause)
	q.add(e)
}

func (q *endings) lost(e ending, why string) {
	q.s.verdicts.Limited().Warn(q.s.verdicts.Log, "ending_lost", "the HSS keeps a registration that has ended here: "+why, zap.String("impi", e.impi), zap.String("impu", e.impu), zap.Stringer("kind", e.kind))
}

// look lets run look again.
func (q *endings) look() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run tells the HSS, until ctx ends.
func (q *endings) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		e, wait := q.next(time.Now(), q.s.cx.Ready() == nil)
		if wait == 0 {
			q.tell(e)
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-q.wake:
		}
	}
}

// next returns one that is due, which is open then, or how long until there may be one. None
// is while no HSS is connected.
func (q *endings) next(now time.Time, connected bool) (e ending, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := &q.first
	if len(q.first) == 0 {
		list = &q.again // all wait equally long: the first is due first
	}
	if q.open == maxOpenEndings || len(*list) == 0 {
		return ending{}, time.Hour
	}
	if !connected {
		return ending{}, time.Second
	}
	if wait := (*list)[0].after.Sub(now); wait > 0 {
		return ending{}, wait
	}
	e, (*list)[0] = (*list)[0], ending{}
	if *list = (*list)[1:]; len(*list) == 0 {
		*list = nil // it may have been long
	}
	q.open++
	return e, 0
}

func (q *endings) closed() {
	q.mu.Lock()
	q.open--
	q.mu.Unlock()
	q.look()
}

// tell tells the HSS if it is still so, in the turn of the private identity: a REGISTER may
// come meanwhile, and what it tells the HSS must be the last.
func (q *endings) tell(e ending) {
	turns := q.s.turns
	if e.impi == "" || e.ofChallenge() { // nobody registers a service; and the HSS keeps who is registered
		if q.s.stands(e) {
			q.s.sar(e, func(error) { q.closed() })
		} else {
			q.closed()
		}
		return
	}
	over := func(error) { turns.done(e.impi); q.closed() }
	inTurn := turns.take(e.impi, func() {
		if q.s.stands(e) {
			q.s.sar(e, over)
		} else {
			over(nil)
		}
	})
	if !inTurn { // so many REGISTERs wait: one of them may stay
		q.failed(e)
		q.closed()
	}
}

func (e *ending) ofChallenge() bool {
	return e.kind == cx.AuthenticationFailure || e.kind == cx.AuthenticationTimeout
}

// stands reports whether an ending is still to be told: its user has not come back, nor has
// his profile been fetched anew.
func (s *Server) stands(e ending) bool {
	if e.ofChallenge() {
		return s.undecided(e.impi, e.impu)
	}
	set := s.store.Get(e.impu)
	return set == nil || set.Registered() && !set.Has(e.impi)
}

// tellHSS is sar for a REGISTER that waits for the answer.
func (s *Server) tellHSS(impi, impu string, kind cx.ServerAssignmentType, done func(error)) {
	s.sar(ending{impi: impi, impu: impu, kind: kind}, done)
}

// sar sends the SAR, whose answer changes nothing here. One that was not answered is sent
// again later; what the HSS has refused it would refuse again.
func (s *Server) sar(e ending, done func(error)) {
	q := &cx.SAR{UserName: e.impi, PublicIdentities: []string{e.impu}, ServerName: s.name, Type: e.kind, UserDataAlreadyAvailable: cx.UserDataAvailable}
	s.cx.SAR(s.cx.Deadline(), q, func(_ *cx.SAA, err error) {
		if err != nil {
			s.verdicts.Limited().Warn(s.verdicts.Log, "sar_failed", "the HSS did not take "+e.kind.String(), zap.String("impi", e.impi), zap.String("impu", e.impu), zap.Error(err))
			if transient(err) {
				s.endings.failed(e)
			}
		}
		done(err)
	})
}

// transient reports whether an HSS may take later what it has not taken now.
func transient(err error) bool {
	var r *diameter.ResultError
	return !errors.As(err, &r) || r.Is(diameter.TooBusy) || r.Is(diameter.UnableToDeliver)
}
