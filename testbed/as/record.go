package as

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	ours "github.com/gocscf/gocscf/ims/sip"
)

// Request is a request that an application server has seen.
type Request struct {
	Time   time.Time
	Method string
	Proto  string // "udp" or "tcp"
	Remote string // address and port it came from
	// ServedUser is the P-Served-User (RFC 5502), for whom the AS was asked; "" when
	// absent.
	ServedUser string
	// Raw is the request: octet by octet over UDP, as sipgo writes it again over TCP.
	Raw string
}

// Registration is what a third-party REGISTER has told (TS 24.229 5.4.1.7).
type Registration struct {
	Time        time.Time
	IMPU        string // the URI of To
	SCSCF       string // the URI of From
	Contact     string // the whole header value
	Expires     int    // seconds; 0 ends the registration
	CallID      string
	ContentType string
	Body        string // service information, message/sip parts
}

// Counts says how many messages have come.
type Counts struct {
	Messages  int            // all that could be parsed, retransmissions included
	Responses int            // of these
	Requests  map[string]int // by method, without retransmissions; unknown methods under "other"
}

// maxRegistrations bounds the users that a server remembers.
const maxRegistrations = 10000

// records is what a server remembers for tests and people.
type records struct {
	mu            sync.Mutex
	counts        Counts
	keep          int
	requests      []Request // the newest, oldest first
	registrations map[string]Registration
	changed       chan struct{} // closed and replaced with every request
}

func newRecords(keep int) *records {
	return &records{
		keep: keep, counts: Counts{Requests: make(map[string]int)},
		registrations: make(map[string]Registration), changed: make(chan struct{}),
	}
}

func label(method string) string {
	if ours.KnownMethod(method) {
		return method
	}
	return "other"
}

func (r *records) message(response bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Messages++
	if response {
		r.counts.Responses++
	}
}

func (r *records) request(q *sip.Request, proto, raw string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Requests[label(string(q.Method))]++
	if len(r.requests) == r.keep {
		r.requests = append(r.requests[:0], r.requests[1:]...)
	}
	r.requests = append(r.requests, Request{
		Time: time.Now(), Method: string(q.Method), Proto: proto, Remote: q.Source(),
		ServedUser: first(q, "P-Served-User"), Raw: raw,
	})
	close(r.changed)
	r.changed = make(chan struct{})
}

// registered remembers a registration, and forgets one that ends.
func (r *records) registered(g Registration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch _, known := r.registrations[g.IMPU]; {
	case g.Expires == 0:
		delete(r.registrations, g.IMPU)
	case known || len(r.registrations) < maxRegistrations:
		r.registrations[g.IMPU] = g
	}
}

// Counts returns what has come so far.
func (s *Server) Counts() Counts {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	c := s.seen.counts
	c.Requests = maps.Clone(c.Requests)
	return c
}

// Requests returns the newest requests, oldest first, without retransmissions.
func (s *Server) Requests() []Request {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	return append([]Request(nil), s.seen.requests...)
}

// Registrations returns who is registered by the third-party REGISTERs that have
// come, by IMPU.
func (s *Server) Registrations() map[string]Registration {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	return maps.Clone(s.seen.registrations)
}

// Await waits until n requests of a method have come and returns the newest.
func (s *Server) Await(ctx context.Context, method string, n int) (Request, error) {
	for {
		s.seen.mu.Lock()
		changed, got := s.seen.changed, s.seen.counts.Requests[label(method)]
		for i := len(s.seen.requests) - 1; got >= n && i >= 0; i-- {
			if q := s.seen.requests[i]; q.Method == method {
				s.seen.mu.Unlock()
				return q, nil
			}
		}
		s.seen.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Request{}, fmt.Errorf("application server %s: waiting for %d %s, %d have come: %w",
				s.cfg.Name, n, method, got, ctx.Err())
		}
	}
}
