package pcscf

import (
	"errors"

	"github.com/gocscf/gocscf/ipsec"
)

// maxRoom bounds how many challenges of others one REGISTER may end.
const maxRoom = 4

// errMadeRoom is that ports are about to be free.
var errMadeRoom = errors.New("challenges that nobody has answered hold every protected port towards this phone")

// makeRoom ends the oldest unproven set that may stand in the way of s: with REGISTERs
// in many names from the forged address of a phone, a stranger would keep it out
// otherwise. It reports whether there was one. Its ports are free when the back end
// has let go of it. It looks at those alone who hold such ports: whoever wants to may
// have it called often, and every message over SAs waits for the lock.
func (c *security) makeRoom(s *ipsec.Set) bool {
	a := c.madeRoom(s)
	if a != nil {
		c.toldWhoGaveWay(a)
	}
	return a != nil
}

// madeRoom is makeRoom, and returns which set has ended, nil for none.
func (c *security) madeRoom(s *ipsec.Set) (oldest *association) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.ports.InTheWay(s) {
		a := c.byID[id]
		if a == nil || a.phone.life.Unproven() != a.Set || !inTheWay(a.Set, s) || oldest != nil && oldest.ID < id {
			continue
		}
		oldest = a
	}
	if oldest != nil {
		c.abandon(oldest, errRoom)
	}
	return oldest
}

// inTheWay reports whether o may hold a port of ours that s could have (see
// ipsec.Ports).
func inTheWay(o, s *ipsec.Set) bool {
	if o.Mode == ipsec.UDPTunnel && s.Mode == ipsec.UDPTunnel && o.Outer.Addr() == s.Outer.Addr() {
		return true
	}
	return o.Remote.Client() == s.Remote.Client() || o.Remote.Server() == s.Remote.Server()
}
