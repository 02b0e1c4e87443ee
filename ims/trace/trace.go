// Package trace carries what happened in a core, for people and for tools: one
// stream of events that the ladder, the web page, captures and logs read.
//
// An event holds string keys and raw bytes only; whoever writes events needs no
// parser and whoever reads them needs no type of the core. Events never hold
// key material: the writers blank K, OPc, CK, IK and RES before they emit.
package trace

import (
	"sync"
	"sync/atomic"
	"time"
)

// Kind says what an event is about.
type Kind string

// The kinds of events.
const (
	SIP      Kind = "sip"      // a SIP message passed a socket; Raw holds it
	Diameter Kind = "diameter" // a Diameter message passed a connection; Raw holds it
	SA       Kind = "sa"       // a security association came up, changed or went
	IFC      Kind = "ifc"      // a filter criterion matched or did not, and why
	State    Kind = "state"    // a registration, subscription or dialog changed
	Decision Kind = "decision" // what a function decided, and why
	Failure  Kind = "failure"  // something went wrong: cause and next step
	Engine   Kind = "engine"   // a step of the SIP engine, for whoever debugs it
)

// The directions of a message event, seen from the node that emits it.
const (
	In  = "in"
	Out = "out"
)

// ESP begins Event.Proto of a message that was in ESP.
const ESP = "esp/"

// Event is one thing that happened at one node.
type Event struct {
	Time   time.Time `json:"time"`
	Node   string    `json:"node"`             // who saw it: "pcscf", "hss", "ue:alice" …
	Kind   Kind      `json:"kind"`             //
	Dir    string    `json:"dir,omitempty"`    // In or Out, for messages
	Proto  string    `json:"proto,omitempty"`  // "udp", "tcp", "tls", "esp/udp" …
	Local  string    `json:"local,omitempty"`  // address and port of this node
	Remote string    `json:"remote,omitempty"` // address and port of the peer
	Peer   string    `json:"peer,omitempty"`   // the peer's own name, where known (Diameter Origin-Host)

	ICID   string `json:"icid,omitempty"`    // P-Charging-Vector icid-value
	CallID string `json:"call_id,omitempty"` //
	IMPI   string `json:"impi,omitempty"`    //

	Text   string `json:"text,omitempty"`   // one sentence for a person
	Clause string `json:"clause,omitempty"` // the clause that asks for it, "TS 24.229 5.4.1.2"
	Next   string `json:"next,omitempty"`   // for failures: what to do next
	Raw    []byte `json:"raw,omitempty"`    // the message, key material blanked
}

// Stream fans events out to its subscribers. The zero value is ready to use and
// a nil Stream is off. A subscriber that does not keep up loses events, counted;
// it never holds up the core.
type Stream struct {
	on   atomic.Bool // any subscriber
	mu   sync.Mutex
	subs map[*Subscription]struct{}
}

// On reports whether anybody reads. Writers ask before they build an event.
func (s *Stream) On() bool { return s != nil && s.on.Load() }

// Emit hands e to every subscriber. A zero Time becomes the current time.
// The stream keeps e.Raw; the caller must not change it afterwards.
func (s *Stream) Emit(e Event) {
	if !s.On() {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subs {
		select {
		case sub.c <- e:
		default:
			sub.lost.Add(1)
		}
	}
}

// Subscription is one reader of a Stream.
type Subscription struct {
	stream *Stream
	c      chan Event
	lost   atomic.Uint64
	once   sync.Once
}

// Subscribe adds a reader that may fall behind by as many as buffer events.
func (s *Stream) Subscribe(buffer int) *Subscription {
	sub := &Subscription{stream: s, c: make(chan Event, max(buffer, 1))}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs == nil {
		s.subs = make(map[*Subscription]struct{})
	}
	s.subs[sub] = struct{}{}
	s.on.Store(true)
	return sub
}

// C yields the events in the order in which they were emitted. It is closed by Close.
func (u *Subscription) C() <-chan Event { return u.c }

// Lost counts the events that this reader was too slow for.
func (u *Subscription) Lost() uint64 { return u.lost.Load() }

// Close ends the subscription; events already queued can still be read from C.
func (u *Subscription) Close() {
	u.once.Do(func() {
		s := u.stream
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, u)
		s.on.Store(len(s.subs) > 0)
		close(u.c)
	})
}

// Node is a Stream with the name of the node that writes to it.
type Node struct {
	Stream *Stream
	Name   string
}

// On reports whether anybody reads.
func (n Node) On() bool { return n.Stream.On() }

// Emit writes e under the node's name.
func (n Node) Emit(e Event) {
	if n.Stream.On() {
		e.Node = n.Name
		n.Stream.Emit(e)
	}
}
