package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// refusals remembers which remotes did not take a connection (TR-08), so that
// the next large request falls back to UDP at once instead of after a second.
type refusals struct {
	ttl time.Duration
	max int

	mu sync.Mutex
	m  map[way]refusal
}

// peer is a remote as seen from one of our roles: what a role's sockets cannot
// reach, another's may.
type peer struct {
	role   sip.Role
	remote netip.AddrPort
}

// way is how a remote is dialled. From a protected client port it is by the ports of
// one SA set (TS 33.203 7.1): from another, the same address and port is another phone.
type way struct {
	peer
	local netip.AddrPort // of a protected client port, else zero
}

func wayOf(p peer, local netip.AddrPort) way {
	if p.role == sip.RoleProtectedClient {
		return way{p, local}
	}
	return way{peer: p}
}

type refusal struct {
	until time.Time
	err   error
}

func (r *refusals) add(p way, err error) {
	if r.ttl <= 0 || r.max <= 0 {
		return
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = make(map[way]refusal)
	}
	if _, known := r.m[p]; !known && len(r.m) >= r.max {
		r.evict(now)
	}
	r.m[p] = refusal{now.Add(r.ttl), err}
}

// evict makes room: everything out of date, or else the first that comes.
func (r *refusals) evict(now time.Time) {
	for p, x := range r.m {
		if !now.Before(x.until) {
			delete(r.m, p)
		}
	}
	for p := range r.m {
		if len(r.m) < r.max {
			return
		}
		delete(r.m, p)
	}
}

// get returns the refusal that still counts, or nil.
func (r *refusals) get(p way) *RefusedError {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.m[p]
	if !ok {
		return nil
	}
	if !time.Now().Before(x.until) {
		delete(r.m, p)
		return nil
	}
	return &RefusedError{Remote: p.remote, Until: x.until, Err: x.err}
}

func (r *refusals) forget(p way) {
	r.mu.Lock()
	delete(r.m, p)
	r.mu.Unlock()
}

// blamesRemote reports whether a dial failed because of the other side or the
// way there, rather than for want of a port or a descriptor of our own.
func blamesRemote(err error) bool {
	var timeout net.Error
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}
