package transaction

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// tx is a transaction as its shard keeps it. It is reused after its end, so
// nothing outside the shard refers to it: Users hold a Server or a Client, which
// forget their tx when it ends. It also outlives them: what only absorbs
// retransmissions pins neither the request nor what the User made of it.
type tx struct {
	machine
	class           class
	legacy          bool // matched as RFC 2543 has it
	timers          Timers
	retransmit, end timer

	hash uint64
	next *tx    // in the table
	key  []byte // owned; its first prefix bytes are shared by INVITE, ACK and CANCEL
	pre  int

	to   sip.Flow    // where last goes
	last []byte      // client: the request; server: the last response
	kept *sip.Buffer // what last is in; nil while it is somebody else's, for the event in hand
	ack  []byte      // INVITE client: the ACK to a non-2xx

	shard  *Shard
	server *Server
	client *Client
	octets int // of the server's request
	answer int // octets that it counts for in Layer.answers

	linger time.Duration // how long past may keep it; 0: not, or not now
}

// hold gives a server transaction its Server, letGo takes it away again.
func (t *tx) hold(s *Server) {
	t.server, s.tx = s, t
	t.octets = len(s.msg.Raw())
	t.shard.layer.octets.Add(int64(t.octets))
}

func (t *tx) letGo() {
	if t.server == nil {
		return
	}
	t.server.tx, t.server = nil, nil
	t.shard.layer.octets.Add(-int64(t.octets))
}

// own has t send what is in b, which is t's from here on.
func (t *tx) own(b *sip.Buffer) {
	t.kept.Free()
	t.last, t.kept = b.Bytes(), b
}

// borrow has t send a response, which may be in memory that is somebody else's: until
// keep, or forgetLast.
func (t *tx) borrow(r reply) {
	t.own(r.buffer.Share())
	t.last = r.data
}

// keep makes what is borrowed t's own.
func (t *tx) keep() {
	if t.kept == nil && t.last != nil {
		t.own(sip.BufferOf(t.last))
	}
}

// forgetLast is for what will not be sent again.
func (t *tx) forgetLast() { t.own(nil) }

// class is how a transaction counts.
type class uint8

const (
	classNone class = iota
	classOpen
	classUnacked // an INVITE that is answered and awaits its ACK
	classLingering
)

func (m *machine) classOf() class {
	switch {
	case m.kind == inviteServer && m.state == completed:
		return classUnacked
	case m.open():
		return classOpen
	case m.state == initial || m.state == terminated:
		return classNone
	}
	return classLingering
}

// usualKey is room for nearly every key, so that it does not matter whose record a
// transaction gets.
const usualKey = 96

func (sh *Shard) newTx(k kind, f sip.Flow, timers Timers) *tx {
	var t *tx
	if n := len(sh.free); n > 0 {
		t, sh.free = sh.free[n-1], sh.free[:n-1]
	} else {
		t = &tx{shard: sh, key: make([]byte, 0, usualKey)}
		t.retransmit = timer{what: timerRetransmit, tx: t}
		t.end = timer{what: timerEnd, tx: t}
	}
	t.machine = machine{kind: k, reliable: f.Proto.Stream()}
	t.timers = timers.orDefault()
	t.to = f
	return t
}

// advance steps the machine, keeps the counts and carries out the timer actions. answer
// is how many octets the User's response has that is to be sent.
func (t *tx) advance(ev event, answer int) actions {
	l := t.shard.layer
	a := t.step(ev, &t.timers)
	if t.classOf() > classOpen && t.class == classOpen && !t.stays(answer) {
		l.count.cut.Add(1)
		a = t.terminate(a.do)
	}
	if c := t.classOf(); c != t.class {
		l.reclass(t.class, -1)
		l.reclass(c, 1)
		t.class = c
		if l.draining.Load() && l.open.Load()+l.unacked.Load() == 0 {
			select {
			case l.idle <- struct{}{}:
			default:
			}
		}
	}
	if a.do&doTimeout != 0 {
		l.count.timeouts.Add(1)
	}
	if ev == evRetransmit && a.do&doSend != 0 {
		l.count.retransmits.Add(1)
	}
	sh := t.shard
	if a.do&doStopRetransmit != 0 {
		sh.timers.remove(&t.retransmit)
	}
	if a.do&doStopEnd != 0 {
		sh.timers.remove(&t.end)
	}
	if a.do&(doSetRetransmit|doSetEnd) != 0 && a.do&doEnd == 0 {
		now := sh.now()
		if a.do&doSetRetransmit != 0 {
			sh.timers.set(&t.retransmit, now+int64(a.retransmit))
		}
		switch {
		case a.do&doSetEnd == 0:
		case t.passes():
			t.linger = a.end
			sh.timers.remove(&t.end)
		default:
			sh.timers.set(&t.end, now+int64(a.end))
		}
	}
	return a
}

func (l *Layer) reclass(c class, n int64) {
	switch c {
	case classOpen:
		l.open.Add(n)
	case classUnacked:
		l.unacked.Add(n)
	case classLingering:
		l.lingering.Add(n)
	}
}

// timerFired is what the shard does with a transaction's timer.
func (l *Layer) timerFired(t *tx, ev event) {
	if t.kind == inviteServer || t.kind == nonInviteServer {
		t.serverEvent(ev, reply{}, nil)
	} else {
		t.clientEvent(ev, sip.Flow{}, nil, ErrTimeout)
	}
}

// release takes t out of its table and makes it ready for reuse.
func (sh *Shard) release(tb table, count *atomic.Int64, t *tx) {
	count.Add(-1)
	sh.reuse(tb, t)
}

// reuse is release for what is still counted.
func (sh *Shard) reuse(tb table, t *tx) {
	tb.remove(t)
	t.forgetLast()
	if t.answer != 0 {
		sh.layer.answers.Add(-int64(t.answer))
	}
	*t = tx{shard: sh, key: t.key[:0], retransmit: t.retransmit, end: t.end}
	if len(sh.free) < maxFree && cap(t.key) <= 512 {
		sh.free = append(sh.free, t)
	}
}

// table finds transactions by the hash of their key. Collisions are chained and
// told apart by the key itself.
type table map[uint64]*tx

func (tb table) insert(t *tx, hash uint64) {
	t.hash, t.next = hash, tb[hash]
	tb[hash] = t
}

func (tb table) remove(t *tx) {
	first := tb[t.hash]
	if first == t {
		if t.next == nil {
			delete(tb, t.hash)
		} else {
			tb[t.hash] = t.next
		}
		return
	}
	for p := first; p != nil; p = p.next {
		if p.next == t {
			p.next = t.next
			return
		}
	}
}

// find returns the transaction whose key is exactly key.
func (tb table) find(hash uint64, key []byte) *tx {
	for t := tb[hash]; t != nil; t = t.next {
		if bytes.Equal(t.key, key) {
			return t
		}
	}
	return nil
}

// findPrefix returns the transaction that an ACK or a CANCEL is about: one whose
// key has that prefix, the INVITE if there are several.
func (tb table) findPrefix(hash uint64, prefix []byte) (found *tx) {
	for t := tb[hash]; t != nil; t = t.next {
		if bytes.Equal(t.key[:t.pre], prefix) {
			if found = t; t.kind == inviteServer {
				break
			}
		}
	}
	return found
}

func (sh *Shard) hash(key []byte) uint64 { return maphash.Bytes(sh.layer.seed, key) }
