package admission_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gocscf/gocscf/ims/sip/admission"
)

// The model: elements that share one processor in turns of a scheduler's slice, each
// with a socket's buffer, a reader that decides about what arrives, and an inbox that
// is worked on when the reader has read all there is. One that works on each message as
// it is read has a socket for each side in place of that, and their readers take turns.
// An operation is a REGISTER, its challenge and the REGISTER that answers it, through one
// or three elements.
type model struct {
	now    int64
	random *rand.Rand
	events events
	order  int
	nodes  []*node
	turn   int

	offered, done, refused int
	slowest                []time.Duration // of refusals, by when they arrived
	took                   []time.Duration // of operations that succeeded
}

type node struct {
	counts  bool                  // by how many are under way
	ctl     *admission.Controller // nil takes all
	asRead  bool                  // what is read is worked on at once
	socket  []job                 // arrived, unread; with asRead of this side alone
	core    []job                 // with asRead, what came from further on
	inCore  bool                  // whose reader it is that has the turn
	read    int                   // in this turn
	inbox   []job
	dropped int
	request time.Duration // processor time of a request
	answer  time.Duration // of an answer
	next    *node
	hss     time.Duration // how long the HSS takes, which costs nothing here
}

// job is a message at a node.
type job struct {
	op     *operation
	answer int // status; 0 is a request
	second bool
	hss    bool // the HSS's answer, which is work of the node's as well
	at     int64
	shed   bool
	why    admission.Reason
}

type operation struct {
	since  int64 // its time at the first element counts
	began  int64
	second int64
	path   []*node
}

const (
	slice    = 3 * time.Millisecond
	turn     = 64 // messages that a reader takes before the other's turn
	buffer   = 3000
	read     = 4 * time.Microsecond // of a message, and deciding about it
	refuse   = 6 * time.Microsecond // answering with 503
	patience = 2 * time.Second
)

type event struct {
	at int64
	n  int
	do func()
}
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	o := *e
	x := o[len(o)-1]
	*e = o[:len(o)-1]
	return x
}

func newModel(nodes ...*node) *model {
	for i, n := range nodes[:len(nodes)-1] {
		n.next = nodes[i+1]
	}
	return &model{random: rand.New(rand.NewPCG(1, 2)), nodes: nodes}
}

func (m *model) after(d time.Duration, do func()) {
	m.order++
	heap.Push(&m.events, event{m.now + int64(d), m.order, do})
}

// arrive puts a message into a socket's buffer.
func (m *model) arrive(n *node, j job) {
	socket := &n.socket
	if n.asRead && j.answer != 0 {
		socket = &n.core
	}
	if len(*socket) >= buffer {
		n.dropped++
		return
	}
	if j.at == 0 {
		j.at = m.now
	}
	*socket = append(*socket, j)
}

func (n *node) busy() bool { return len(n.socket)+len(n.core)+len(n.inbox) > 0 }

// load offers rate operations a second for d, at random times.
func (m *model) load(rate float64, d time.Duration) {
	end := m.now + int64(d)
	at := m.now
	var next func()
	next = func() {
		m.offered++
		m.arrive(m.nodes[0], job{op: &operation{began: at}, at: at})
		if at += int64(m.random.ExpFloat64() / rate * 1e9); at < end {
			m.after(time.Duration(at-m.now), next)
		}
	}
	m.after(0, next)
	m.run(end)
}

// run lets the processor work until end.
func (m *model) run(end int64) {
	for m.now < end {
		m.due()
		n := m.pick()
		if n == nil {
			if len(m.events) == 0 || m.events[0].at > end {
				m.now = end
				return
			}
			m.now = m.events[0].at
			continue
		}
		for until := m.now + int64(slice); m.now < until && n.busy(); m.due() {
			m.step(n)
		}
	}
}

func (m *model) due() {
	for len(m.events) > 0 && m.events[0].at <= m.now {
		heap.Pop(&m.events).(event).do()
	}
}

// pick is the next node that has work, in turns.
func (m *model) pick() *node {
	for range m.nodes {
		m.turn = (m.turn + 1) % len(m.nodes)
		if n := m.nodes[m.turn]; n.busy() {
			return n
		}
	}
	return nil
}

func (m *model) spend(d time.Duration) { m.now += int64(d) }

// step reads one message, or works on one when all are read.
func (m *model) step(n *node) {
	if n.asRead {
		m.work(n, m.receive(n, n.whose()))
		return
	}
	if len(n.inbox) == 0 {
		for len(n.socket) > 0 {
			n.inbox = append(n.inbox, m.receive(n, &n.socket))
			m.due()
		}
		return
	}
	j := n.inbox[0]
	n.inbox = n.inbox[1:]
	m.work(n, j)
}

// whose is the socket whose reader has the turn.
func (n *node) whose() *[]job {
	mine, other := &n.socket, &n.core
	if n.inCore {
		mine, other = other, mine
	}
	if n.read++; n.read > turn || len(*mine) == 0 {
		n.read = 1
		if len(*other) > 0 {
			n.inCore = !n.inCore
			return other
		}
	}
	return mine
}

// receive reads a message and decides about it.
func (m *model) receive(n *node, socket *[]job) job {
	j := (*socket)[0]
	*socket = (*socket)[1:]
	m.spend(read)
	if n.ctl != nil && j.answer == 0 && !j.hss {
		if n.counts {
			var ok bool
			var e admission.Entry
			e, j.why, ok = n.ctl.Enter(m.now, admission.Registers, j.class(), time.Duration(m.now-j.at))
			j.op.since, j.shed = e.Since, !ok
		} else {
			j.shed = !n.ctl.Admit(m.now, j.class())
		}
	}
	return j
}

// work works on a message that has been read.
func (m *model) work(n *node, j job) {
	if j.answer == 0 && !j.hss && n.ctl != nil {
		waited := time.Duration(m.now - j.at)
		if j.shed {
			n.ctl.Refused(m.now, j.class(), waited, j.why)
		} else {
			j.shed = n.ctl.Began(m.now, j.class(), waited)
			if j.shed && n.counts {
				n.ctl.Left(admission.Registers)
			}
		}
	}
	switch {
	case j.shed:
		m.spend(refuse)
		m.reply(n, j, 503)
	case j.answer != 0:
		m.spend(n.answer)
		if n.ctl != nil && n == m.nodes[0] {
			n.ctl.Further(m.now, j.answer == 503)
			if n.counts {
				n.ctl.Heard(m.now, admission.Registers, j.op.since, j.answer != 503)
				n.ctl.Left(admission.Registers)
			}
		}
		m.reply(n, j, j.answer)
	case !j.hss && n.hss > 0:
		m.spend(n.request / 2)
		j.hss, j.at = true, 0
		m.after(n.hss, func() { m.arrive(n, j) })
	default:
		if j.hss {
			m.spend(n.request / 2)
		} else {
			m.spend(n.request)
		}
		if j.hss = false; n.next != nil {
			j.op.path = append(j.op.path, n)
			j.at = 0
			m.arrive(n.next, j)
		} else {
			m.reply(n, j, 200)
		}
	}
}

func (j *job) class() admission.Class {
	if j.second {
		return admission.Begun
	}
	return admission.New
}

// reply takes an answer to the node before n, or to the phone.
func (m *model) reply(n *node, j job, status int) {
	o := j.op
	if l := len(o.path); l > 0 {
		back := o.path[l-1]
		o.path = o.path[:l-1]
		m.arrive(back, job{op: o, answer: status, second: j.second})
		return
	}
	began := o.began
	if j.second {
		began = o.second
	}
	switch {
	case status == 503:
		m.refused++
		m.slowest = append(m.slowest, time.Duration(m.now-began))
	case j.second:
		if took := time.Duration(m.now - o.began); took < patience {
			m.done++
			m.took = append(m.took, took)
		}
	default:
		m.after(2*time.Millisecond, func() {
			o.second = m.now
			m.arrive(m.nodes[0], job{op: o, second: true})
		})
	}
}

// result counts from zero again and says what has been since.
func (m *model) result(d time.Duration) (goodput float64, refusals, success time.Duration) {
	goodput = float64(m.done) / d.Seconds()
	refusals, success = quantile(m.slowest, 0.99), quantile(m.took, 0.99)
	m.offered, m.done, m.refused, m.slowest, m.took = 0, 0, 0, nil, nil
	return goodput, refusals, success
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[int(q*float64(len(d)-1))]
}
