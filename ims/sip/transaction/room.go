package transaction

import (
	"sync/atomic"

	"github.com/gocscf/gocscf/ims/sip/admission"
)

// For 64·T1, 128 s on Gm, an answered transaction is kept for what may be repeated of it.
// How many there are and what they weigh anybody can bring about who sends requests: so
// there is room for so many, and what finds none ends with its answer.

// stays reports whether there is room for t, which has just been answered. What past may
// take is weighed when it does not.
func (t *tx) stays(answer int) bool {
	l := t.shard.layer
	most := int64(l.cfg.MaxLingering)
	if t.valued() {
		most += most / 3
	}
	if l.lingering.Load()+l.unacked.Load() >= most {
		return false
	}
	return t.state != completed || t.passes() || t.fits(answer)
}

// valued reports whether more depends on t than on what anybody can have answered: it is
// a call, or goes on with what was let in before.
func (t *tx) valued() bool {
	s := t.server
	return t.state == accepted || s != nil && s.class != admission.New
}

// weigh counts what an answered transaction keeps to send again: a server's response, a
// client's ACK.
func (t *tx) weigh() {
	n := 0
	if t.class > classOpen {
		n = len(t.last) + len(t.ack)
	}
	if n != t.answer {
		t.shard.layer.answers.Add(int64(n - t.answer))
		t.answer = n
	}
}

// fits reports whether t may keep so many octets to send again.
func (t *tx) fits(octets int) bool {
	l := t.shard.layer
	return octets == 0 || l.answers.Load()+int64(octets-t.answer) <= int64(l.cfg.MaxOctets)
}

// passes reports whether all that is needed of t from here on is what past keeps.
func (t *tx) passes() bool {
	if t.reliable {
		return false
	}
	switch t.kind {
	case nonInviteClient, inviteClient:
		return t.state == completed
	case nonInviteServer:
		return t.state == completed && t.server != nil && len(t.server.onEnd) == 0
	default:
		return t.state == confirmed && !t.legacy && (t.server == nil || len(t.server.onEnd) == 0)
	}
}

// pass gives to past what it may keep. Where that cannot be t has a timer of its own, or
// ends, for want of room.
func (sh *Shard) pass(tb table, count *atomic.Int64, t *tx) {
	stay := t.linger
	t.linger = 0
	switch l := sh.layer; {
	case sh.past.add(t, stay):
		sh.reuse(tb, t)
	case !t.fits(len(t.last) + len(t.ack)):
		l.count.cut.Add(1)
		l.reclass(t.class, -1)
		sh.release(tb, count, t)
	default:
		t.weigh()
		sh.timers.set(&t.end, sh.now()+int64(stay))
	}
}
