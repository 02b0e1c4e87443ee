package load

import (
	"bytes"
	"strconv"
	"time"
)

// attempt is one operation under way. It is guarded by the engine, which uses it again
// when it is over: whoever keeps one also keeps its number.
type attempt struct {
	number    uint64
	kind      Scenario
	from, to  *phone
	rec       *recorder
	offer     *offer
	due       time.Duration // all times count from the engine's beginning
	own       time.Duration // what the phones waited by themselves
	connected time.Duration // when the caller had the 200 to its INVITE
	retrans   int
	begun     bool // its first request has been sent

	state      state
	challenges int
	callID     []byte
	cseq       uint32
	main       transaction
	cancel     transaction // of a CANCEL, beside main
	toTag      []byte      // To as the other side completed it
	target     []byte      // of the dialog
	routes     []byte
	ack        []byte // the ACK to a 2xx, sent again when that comes again

	// The called party's.
	invite   []byte // as it came
	acked    bool
	answered []byte        // its final answer to the INVITE, until the ACK comes
	repeat   time.Duration // when that is sent again, 0 for never
	interval time.Duration

	plan   plan
	planAt time.Duration

	accepted, notified bool // of a SUBSCRIBE

	deadline  time.Duration
	scheduled time.Duration // when the engine looks at it next, 0 for not at all
}

// state is what the caller waits for.
type state uint8

const (
	trying state = iota
	ringing
	established // the ACK is on its way to the called party
	ending      // BYE, or the 487 after a CANCEL
)

// plan is what a phone does by itself after a while.
type plan uint8

const (
	nothing plan = iota
	answerChallenge
	answerCall
	giveUpRinging
	hangUp
	cancelCall
)

// transaction is a client transaction (RFC 3261 17.1) of the caller's.
type transaction struct {
	active     bool
	invite     bool
	method     string
	branch     uint64
	request    []byte
	asked, own time.Duration // when it was due, and what the phones had waited by then
	proceeding bool
	next       time.Duration // when it is sent again, 0 for never
	interval   time.Duration
}

// wake is when the attempt has to be looked at.
func (a *attempt) wake() time.Duration {
	at := a.deadline
	for _, t := range [...]time.Duration{a.main.due(), a.cancel.due(), a.repeat, a.planAt} {
		if t != 0 && t < at {
			at = t
		}
	}
	return at
}

func (t *transaction) due() time.Duration {
	if !t.active {
		return 0
	}
	return t.next
}

// start makes a transaction of t.request and sends that. The Via's branch is in it.
func (e *engine) start(a *attempt, t *transaction, method string) {
	t.active, t.method, t.invite, t.proceeding = true, method, method == "INVITE", false
	t.interval = e.cfg.T1
	t.next = e.now + t.interval
	t.asked, t.own = e.now, a.own
	if !a.begun {
		a.begun, t.asked = true, a.due
	}
	e.cfg.Traffic.request(method)
	e.transmit(a.from, t.request)
}

// transmit sends what a phone has written to its P-CSCF.
func (e *engine) transmit(p *phone, message []byte) {
	b := append(e.socket.begin(), message...)
	e.socket.send(b, p.control, p.pcscf)
}

// tick does what is due for an attempt.
func (e *engine) tick(a *attempt) {
	if e.now >= a.deadline {
		what := "no final answer"
		if a.plan != nothing {
			what = "given up"
		}
		e.fail(a, a.main.method+": "+what)
		return
	}
	for _, t := range [...]*transaction{&a.main, &a.cancel} {
		if t.active && t.next != 0 && e.now >= t.next {
			a.retrans++
			if t.interval *= 2; !t.invite || t.proceeding {
				t.interval = min(t.interval, 8*e.cfg.T1) // T2: 4 s of 0.5 s, 16 s of 2 s
			}
			t.next = e.now + t.interval
			e.transmit(a.from, t.request)
		}
	}
	if a.repeat != 0 && e.now >= a.repeat {
		a.retrans++
		a.interval = min(2*a.interval, 8*e.cfg.T1)
		a.repeat = e.now + a.interval
		e.transmit(a.to, a.answered)
	}
	if a.plan != nothing && e.now >= a.planAt {
		p := a.plan
		a.plan, a.planAt = nothing, 0
		e.carryOut(a, p)
	}
}

// after has a phone do something in a while, which is not the core's latency.
func (e *engine) after(a *attempt, wait time.Duration, p plan) {
	if wait <= 0 {
		e.carryOut(a, p)
		return
	}
	a.own += wait
	a.deadline += wait
	a.plan, a.planAt = p, e.now+wait
}

func (e *engine) carryOut(a *attempt, p plan) {
	switch p {
	case answerChallenge:
		e.sendRegister(a)
	case answerCall:
		e.answerCall(a)
	case giveUpRinging:
		e.finalAnswer(a, "480 Temporarily Unavailable", "")
	case hangUp:
		e.sendBye(a)
	case cancelCall:
		e.loseHeart(a)
	}
}

// A Call-ID tells whose it is: a letter for the kind, a number, the phones, and the
// engine's run. So what comes too late can still be answered.
const (
	callRegister  = 'r' // the number is the phone's boot
	callSubscribe = 's' // the number is the attempt's that began the subscription
	callOther     = 'a' // the number is the attempt's
	callEmergency = 'e' // so it is here
)

func (e *engine) appendCallID(b []byte, kind byte, number uint64, from, to *phone) []byte {
	b = strconv.AppendUint(append(b, kind), number, 36)
	b = strconv.AppendUint(append(b, '-'), uint64(from.index), 36)
	other := from
	if to != nil {
		other = to
	}
	b = strconv.AppendUint(append(b, '-'), uint64(other.index), 36)
	return append(append(b, '-'), e.run...)
}

// call is a Call-ID read back.
type call struct {
	kind     byte
	number   uint64
	from, to *phone
}

func (e *engine) readCallID(b []byte) (c call, ok bool) {
	if len(b) < 2 {
		return c, false
	}
	var n [3]uint64
	c.kind, b = b[0], b[1:]
	for i := range n {
		part, rest, found := bytes.Cut(b, []byte("-"))
		if !found || len(part) == 0 || len(part) > 12 {
			return c, false
		}
		for _, d := range part {
			switch {
			case d >= '0' && d <= '9':
				n[i] = n[i]*36 + uint64(d-'0')
			case d >= 'a' && d <= 'z':
				n[i] = n[i]*36 + uint64(d-'a'+10)
			default:
				return c, false
			}
		}
		b = rest
	}
	if string(b) != e.run || n[1] >= uint64(len(e.phones)) || n[2] >= uint64(len(e.phones)) {
		return c, false
	}
	c.number, c.from, c.to = n[0], &e.phones[n[1]], &e.phones[n[2]]
	return c, true
}

// called is who was called, nil in an emergency.
func (c call) called() *phone {
	if c.kind == callEmergency {
		return nil
	}
	return c.to
}

// underway finds the attempt that a Call-ID belongs to, nil if that is over.
func (c call) underway() *attempt {
	a := c.from.doing
	switch {
	case a == nil || a.from != c.from:
		return nil
	case c.kind == callRegister && a.kind.registers() && uint64(c.from.boot) == c.number,
		c.kind == callSubscribe && a.kind == Subscribe && c.from.sub != nil && c.from.sub.number == c.number,
		(c.kind == callOther || c.kind == callEmergency) && a.number == c.number:
		return a
	}
	return nil
}
