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
	"github.com/gocscf/gocscf/ims/node"
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
// at once, as the registrations from before a failure do, is more than an HSS takes
// at a time. Its methods may be called from any goroutine; run sends.
type endings struct {
	s    *Server
	max  int
	wake chan struct{}

	mu    sync.Mutex
	pace  endingPace
	first []ending // not told yet
	again []ending // told, and not taken: the first is due first
	turn  bool     // the next is one of again
	// Those of challenges that nobody has answered, which strangers can make.
	challenges, challengesAgain []ending
}

// Bounds: one that the HSS has not taken is sent again each minute for an hour; those of
// challenges are an eighth of as many as the others may be.
const (
	maxEndingTries    = 60
	endingPause       = time.Minute
	partForChallenges = 8
)

func newEndings(s *Server) *endings {
	return &endings{s: s, max: cmp.Or(max(s.cfg.MaxUsers, 0), 1_000_000), wake: make(chan struct{}, 1), pace: newEndingPace()}
}

// add puts e behind the others. Each is of a user who was here, or who was to be challenged:
// beyond as many as there may be users, one is lost, and the HSS keeps him until he comes back.
func (q *endings) add(e ending) {
	own := e.impi + e.impu // so that it does not hold on to a binding
	e.impi, e.impu = own[:len(e.impi)], own[len(e.impi):]
	q.mu.Lock()
	list, again, most := &q.first, &q.again, q.max
	if e.ofChallenge() {
		list, again, most = &q.challenges, &q.challengesAgain, (q.max+partForChallenges-1)/partForChallenges
	}
	full := len(*list)+len(*again) >= most
	if e.tries > 0 {
		list = again
	}
	if !full {
		*list = append(*list, e)
	}
	q.mu.Unlock()
	if full {
		q.lost(e, "too many wait")
		return
	}
	q.look()
}

// later sends e, which the HSS has not taken, again after a while, if not too often.
func (q *endings) later(e ending) {
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

// len returns how many are to be told, now or again; those that are open are none of them.
func (q *endings) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.first) + len(q.again) + len(q.challenges) + len(q.challengesAgain)
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
		e, wait := q.next(time.Now())
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
// is while no HSS is connected, nor while it has enough to do with those who wait for it.
func (q *endings) next(now time.Time) (e ending, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list, wait := q.due(now)
	if wait = max(wait, q.pace.wait(now)); wait > 0 {
		return ending{}, wait
	}
	if q.s.cx.Ready() != nil {
		return ending{}, time.Second
	}
	if !q.s.cx.Spare(q.pace.open) {
		return ending{}, time.Second / 10
	}
	e, (*list)[0] = (*list)[0], ending{}
	if *list = (*list)[1:]; len(*list) == 0 {
		*list = nil // it may have been long
	}
	q.turn = !q.turn
	q.pace.open++
	return e, 0
}

// due returns the list whose first is to be told next, or how long until one is: those that
// are not told yet, and those that are told again, in turn, and at last those of challenges.
func (q *endings) due(now time.Time) (list *[]ending, wait time.Duration) {
	order := [...]*[]ending{&q.first, &q.again, &q.challenges, &q.challengesAgain}
	if q.turn {
		order[0], order[1] = order[1], order[0]
	}
	wait = time.Hour
	for _, l := range order {
		if len(*l) == 0 {
			continue
		}
		if left := (*l)[0].after.Sub(now); left < wait {
			list, wait = l, left
		}
		if wait <= 0 {
			break
		}
	}
	return list, wait
}

// closed is the end of one that was open: err is what has become of its SAR.
func (q *endings) closed(err error) {
	q.mu.Lock()
	q.pace.open--
	var late *diameter.TimeoutError
	switch {
	case errors.As(err, &late), node.TooBusy(err):
		q.pace.failed(time.Now())
	case err == nil || !transient(err):
		q.pace.taken()
	case !errors.Is(err, errNotTold):
		q.pace.undelivered(time.Now())
	}
	q.mu.Unlock()
	q.look()
}

// errNotTold ends one that the HSS does not have to hear of any more.
var errNotTold = errors.New("not told")

// tell tells the HSS if it is still so, in the turn of the private identity: a REGISTER may
// come meanwhile, and what it tells the HSS must be the last.
func (q *endings) tell(e ending) {
	turns := q.s.turns
	if e.impi == "" || e.ofChallenge() { // nobody registers a service; and the HSS keeps who is registered
		if q.s.stands(e) {
			q.s.sar(e, q.closed)
		} else {
			q.closed(errNotTold)
		}
		return
	}
	over := func(err error) { turns.done(e.impi); q.closed(err) }
	inTurn := turns.take(e.impi, func() {
		if q.s.stands(e) {
			q.s.sar(e, over)
		} else {
			over(errNotTold)
		}
	})
	if !inTurn { // so many REGISTERs wait: one of them may stay
		q.later(e)
		q.closed(errNotTold)
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
				s.endings.later(e)
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
