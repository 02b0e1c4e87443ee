package esp

import (
	"net/netip"

	"github.com/gocscf/gocscf/ipsec"
)

// Stats tells what has gone over a set.
func (e *Engine) Stats(id ipsec.SetID) (s ipsec.SetStats, ok bool) {
	e.mu.Lock()
	a := e.sets[id]
	e.mu.Unlock()
	if a == nil {
		return s, false
	}
	for i := range 2 {
		s.In[i], s.Out[i] = a.in[i].stats(e), a.out[i].stats(e)
	}
	return s, true
}

// Path tells by which way a set's peer has been heard last; false before.
func (e *Engine) Path(id ipsec.SetID) (Path, bool) {
	e.mu.Lock()
	a := e.sets[id]
	e.mu.Unlock()
	if a != nil {
		if p := a.path.Load(); p != nil {
			return *p, true
		}
	}
	return Path{}, false
}

// Drops tells how many packets have been dropped for each reason.
func (e *Engine) Drops() (d [Reasons]uint64) {
	for i := range d {
		d[i] = e.drops[i].Load()
	}
	return d
}

// UnknownSPI tells what has come from src for SPIs that nobody has. It remembers a
// bounded number of sources.
func (e *Engine) UnknownSPI(src netip.Addr) Unknown { return e.unknown.get(src) }

// Source returns the address and port that a connection to remote has to come from,
// where local's address or port is left open. It is false where no set leads there.
// To find what is left open it looks at every set: whoever knows the source gives
// it whole.
func (e *Engine) Source(local, remote netip.AddrPort) (netip.AddrPort, bool) {
	if local.Addr().IsValid() && !local.Addr().IsUnspecified() && local.Port() != 0 {
		return local, e.out.get(endpoints{local, remote}) != nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var newest *outbound
	for _, a := range e.sets {
		for i := range a.out {
			sa := &a.out[i]
			if k := sa.ends(); k.remote == remote && fits(local, k.local) && (newest == nil || sa.of.set.ID > newest.of.set.ID) {
				newest = sa
			}
		}
	}
	if newest == nil {
		return local, false
	}
	return newest.ends().local, true
}

// fits reports whether a is what is asked for, of which parts may be left open.
func fits(ask, a netip.AddrPort) bool {
	return (!ask.Addr().IsValid() || ask.Addr().IsUnspecified() || ask.Addr() == a.Addr()) &&
		(ask.Port() == 0 || ask.Port() == a.Port())
}
