package load

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gocscf/gocscf/aka"
)

// engine runs the phones: one goroutine reads, one looks at the clock, and both hold mu
// for what they do.
type engine struct {
	cfg       Config
	socket    *socket
	protected *protected // nil for phones without IPsec
	milenage  *aka.Milenage
	run       string // ends Call-IDs
	home      []byte // the Request-URI of a REGISTER
	began     time.Time
	rand      *rand.Rand

	mu        sync.Mutex
	now       time.Duration // since began; set by whoever takes mu
	phones    []phone
	off, on   queue // phones that do nothing: not registered, and registered
	routes    map[string][]byte
	timers    timers
	free      []*attempt
	active    map[*attempt]struct{}
	numbers   uint64
	branches  uint64
	heard     heard
	kept      heard // an INVITE read again
	uri       []byte
	stray     uint64   // messages that belong to nothing
	load      *offer   // what is offered now, nil for nothing
	second    recorder // of this second
	succeeded uint64
	sleeping  time.Duration // until when the clock's goroutine sleeps
	kick      chan struct{}
	over      bool // nothing is received any more
}

func newEngine(cfg Config) (*engine, error) {
	m, err := aka.NewMilenage(cfg.K, cfg.OPc)
	if err != nil {
		return nil, err
	}
	s, err := listen(cfg.Port)
	if err != nil {
		return nil, err
	}
	var x *protected
	if cfg.ESP.IsValid() {
		if x, err = newProtected(&cfg); err != nil {
			return nil, errors.Join(err, s.conn.Close())
		}
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	s.gm = cfg.Gm
	e := &engine{
		cfg: cfg, socket: s, protected: x, milenage: m, run: strconv.FormatUint(uint64(rand.Uint32()), 36) + "@load", home: []byte("sip:" + cfg.Domain),
		began: time.Now(), rand: rand.New(rand.NewPCG(cfg.Seed, 1)), phones: make([]phone, cfg.Phones), routes: make(map[string][]byte),
		active: make(map[*attempt]struct{}), sleeping: never, kick: make(chan struct{}, 1),
	}
	for i := range e.phones {
		p := &e.phones[i]
		a, _ := phoneAddr(cfg.Address, i)
		p.index, p.addr, p.pcscf, p.control = int32(i), a.As4(), cfg.PCSCF[i%len(cfg.PCSCF)], controlFrom(a)
		e.off.push(p)
	}
	return e, nil
}

// lock takes mu and reads the clock.
func (e *engine) lock() {
	e.mu.Lock()
	e.now = time.Since(e.began)
}

// unlock sends what was written, and wakes the clock's goroutine if it sleeps too long.
func (e *engine) unlock() {
	e.fill()
	e.socket.flush()
	late := e.next() < e.sleeping
	e.mu.Unlock()
	if late {
		select {
		case e.kick <- struct{}{}:
		default:
		}
	}
}

const never = time.Duration(1<<63 - 1)

// next is when there is something to do.
func (e *engine) next() time.Duration {
	at := never
	if len(e.timers) > 0 {
		at = e.timers[0].at
	}
	if e.load != nil && e.load.arrivals != nil && e.load.due < at {
		at = e.load.due
	}
	return at
}

// read reads until the socket is closed.
func (e *engine) read() {
	for {
		locked := false
		err := e.socket.read(func(b []byte, from netip.AddrPort, to netip.Addr) {
			if !locked {
				e.lock()
				locked = true
			}
			if e.cfg.Gm.pass(b, func(b []byte) { e.late(b, to) }) {
				e.receive(b, to)
			}
		})
		if locked {
			e.unlock()
		}
		if err != nil {
			return
		}
	}
}

// late takes a datagram that was kept back, a copy of it or both.
func (e *engine) late(b []byte, to netip.Addr) {
	e.lock()
	if !e.over {
		e.receive(b, to)
	}
	e.unlock()
}

// clock does what is due until stop is closed.
func (e *engine) clock(stop <-chan struct{}) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		e.lock()
		e.expire()
		e.arrive()
		e.fill()
		e.socket.flush()
		at := e.next()
		e.sleeping = at
		e.now = time.Since(e.began)
		t.Reset(min(at-e.now, time.Hour))
		e.mu.Unlock()
		select {
		case <-t.C:
		case <-e.kick:
		case <-stop:
			return
		}
	}
}

// expire does what timers are due for.
func (e *engine) expire() {
	for len(e.timers) > 0 && e.timers[0].at <= e.now {
		x := heap.Pop(&e.timers).(timer)
		a := x.attempt
		if a.number != x.number || a.scheduled != x.at {
			continue
		}
		a.scheduled = 0
		if a.wake() <= e.now {
			e.tick(a)
		}
		e.schedule(a)
	}
}

// schedule sees to it that the attempt is looked at when something of it is due. One
// that is looked at too early costs less than moving each in the heap all the time.
func (e *engine) schedule(a *attempt) {
	if a.from == nil { // it is over
		return
	}
	if at := a.wake(); at != never && (a.scheduled == 0 || at < a.scheduled) {
		a.scheduled = at
		heap.Push(&e.timers, timer{at, a, a.number})
	}
}

type timer struct {
	at      time.Duration
	attempt *attempt
	number  uint64
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	x := old[len(old)-1]
	old[len(old)-1] = timer{}
	*t = old[:len(old)-1]
	return x
}

// receive takes a datagram that came to an address.
func (e *engine) receive(b []byte, to netip.Addr) {
	p, h := e.phoneAt(to), &e.heard
	if p == nil || !h.read(b) {
		e.stray++
		return
	}
	c, ok := e.readCallID(h.callID)
	if !ok {
		e.stray++
		if h.request && string(h.method) != "ACK" {
			e.answer(p, h, "481 Call Does Not Exist")
		}
		return
	}
	a := c.underway()
	if h.request {
		e.asked(p, c, a, h)
	} else if p == c.from {
		e.answered(p, c, a, h)
	} else {
		e.stray++
	}
	if a != nil {
		e.schedule(a)
	}
}

// asked takes a request.
func (e *engine) asked(p *phone, c call, a *attempt, h *heard) {
	callee := a != nil && p == a.to
	switch method := string(h.method); {
	case method == "NOTIFY":
		e.notify(p, c, a, h)
	case method == "ACK":
		if callee {
			e.acknowledged(a)
		}
	case callee && method == "INVITE":
		e.called(a, h)
	case callee && method == "MESSAGE", p == c.to && method == "BYE": // a late one too
		e.answer(p, h, "200 OK")
	case callee && method == "CANCEL":
		e.answer(p, h, "200 OK")
		e.finalAnswer(a, "487 Request Terminated", "")
	case method == "OPTIONS":
		e.answer(p, h, "200 OK")
	default:
		e.stray++
		e.answer(p, h, "481 Call Does Not Exist")
	}
}

// answer answers a request.
func (e *engine) answer(p *phone, h *heard, status string) {
	e.socket.send(e.respond(e.socket.begin(), p, h, status, "", ""), p.control, p.pcscf)
}

// answered takes a response at the phone that began.
func (e *engine) answered(p *phone, c call, a *attempt, h *heard) {
	number, ok := readBranch(h.topVia)
	if !ok {
		e.stray++
		return
	}
	var t *transaction
	if a != nil {
		for _, x := range [...]*transaction{&a.main, &a.cancel} {
			if x.branch == number && x.method == string(h.method) {
				t = x
			}
		}
	}
	switch {
	case t != nil && t.active && h.status < 200:
		if t.proceeding = true; t.invite {
			t.next = 0
			if h.status == 180 {
				e.rings(a)
			}
		}
	case t != nil && t.active:
		t.active, t.next = false, 0
		e.cfg.Traffic.answer(t.method, h.status, false)
		e.final(a, t, h)
	case string(h.method) == "REGISTER": // an answer that came before, or nobody waits for
		e.cfg.Traffic.answer("REGISTER", h.status, true)
	case string(h.method) != "INVITE" || h.status < 200:
	case h.status < 300 && a != nil && len(a.ack) > 0:
		e.transmit(p, a.ack)
	case h.status < 300:
		// Nobody waits for it any more; who answered shall not repeat it for ever.
		var late attempt
		late.from, late.callID, late.cseq = p, h.callID, 1
		late.dialog(h)
		e.transmit(p, e.inDialog(nil, &late, "ACK", e.newBranch()))
	default:
		e.socket.send(e.acknowledge(e.socket.begin(), p, c.called(), h, number), p.control, p.pcscf)
	}
}

func readBranch(via []byte) (uint64, bool) {
	b := branch(via)
	if len(b) <= len(branchPrefix) || string(b[:len(branchPrefix)]) != branchPrefix {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[len(branchPrefix):]), 36, 64)
	return n, err == nil
}

// final takes the first final answer to a transaction.
func (e *engine) final(a *attempt, t *transaction, h *heard) {
	switch t.method {
	case "REGISTER":
		e.registerAnswered(a, h)
	case "INVITE":
		e.inviteAnswered(a, h)
	case "SUBSCRIBE":
		e.subscribeAnswered(a, h)
	case "CANCEL": // the 487 says how it went, unless this is a refusal
		if h.status >= 300 {
			e.refused(a, h)
		}
	default: // MESSAGE, BYE
		if h.status >= 300 {
			e.refused(a, h)
			return
		}
		e.succeed(a)
	}
}
