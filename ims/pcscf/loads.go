package pcscf

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// loads counts the requests of each private identity that are under way. There is one
// limit of transactions for all, and a user who answers himself late, or never, would
// hold them all: nobody's phone has so many at a time. They are counted by private
// identity and not by binding, or who registers again would begin anew.
type loads struct {
	mu sync.Mutex
	of map[load]uint16 // none is 0
}

// load is what is counted together.
type load struct {
	impi string
	kind loadKind
	way  way
}

// way is whether the phone sends a request or is sent it.
type way uint8

const (
	fromIt way = iota
	toIt
)

// loadKind is what a request is.
type loadKind uint8

const (
	calls       loadKind = iota // an INVITE that begins a call
	emergencies                 // of an emergency call
	others                      // outside of dialogs, no INVITE
	within                      // in a dialog
)

// maxLoad is how many requests of a kind one phone may have under way.
func maxLoad(k loadKind) uint16 {
	switch k {
	case calls:
		return 32
	case emergencies:
		return maxCallersOfOne
	case others:
		return 64
	}
	return 2 * maxDialogs
}

// maxRinging is how long a call may ring, however often the callee says that it does:
// longer than what waits for the called side elsewhere (Q.764 T9: three minutes at most),
// and not for days. An emergency call may ring for as long as the emergency centre lets
// it.
const maxRinging = 10 * time.Minute

// initial is the kind of a request outside of a dialog.
func initial(method string) loadKind {
	if method == "INVITE" {
		return calls
	}
	return others
}

func newLoads() *loads { return &loads{of: map[load]uint16{}} }

// begin counts one more, or reports false. What comes to a phone may be twice as much as
// what one sends: one caller alone keeps nobody from being called.
func (t *loads) begin(l load) bool {
	limit := maxLoad(l.kind)
	if l.way == toIt {
		limit *= 2
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of[l]
	if n >= limit {
		return false
	}
	t.of[l] = n + 1
	return true
}

// end gives back what begin has taken.
func (t *loads) end(l load) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.of[l]; n > 1 {
		t.of[l] = n - 1
	} else {
		delete(t.of, l)
	}
}

// begins counts x among what is under way of a phone's user until it has ended, or
// refuses it, and reports false: that is no overload (RFC 3261 14.2 has 500 for a second
// INVITE that comes too early).
func (s *Server) begins(x *proxy.Exchange, b *binding, kind loadKind, w way) bool {
	l := load{b.impi, kind, w}
	if s.loads.begin(l) {
		x.OnEnd(func() { s.loads.end(l) })
		return true
	}
	who := "of "
	if w == toIt {
		who = "for "
	}
	s.verdicts.Refuse(x, node.Refusal{Status: 500, Cause: "too_many_under_way", Clause: "RFC 3261 14.2", IMPI: b.impi,
		Text:   fmt.Sprintf("A %s %s%s is refused: too many requests %sthat phone are without an answer.", x.Req.Method(), who, b.impi, who),
		Next:   "Look in the trace who does not answer them, and why that phone goes on.",
		Fields: []sip.Field{{ID: sip.HRetryAfter, Value: strconv.Itoa(defaultRetryAfter)}}})
	return false
}
