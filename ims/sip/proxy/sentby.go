package proxy

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gocscf/gocscf/ims/sip"
)

// sentBys knows the host and port that we show for a flow: the port on which we
// listen, which is not the one that a connection was dialled from, nor the
// protected client port that a datagram is sent from (TS 33.203 7.1: what comes
// back must come to port_ps).
type sentBys struct {
	set atomic.Pointer[sentBySet]

	mu    sync.Mutex
	added []roleSocket // in the order they were opened
}

type roleSocket struct {
	role sip.Role
	addr netip.AddrPort
}

type sentBySet struct {
	sockets map[netip.AddrPort]string
	byRole  map[roleAddr]string // the first socket of that role there
}

type roleAddr struct {
	role sip.Role
	addr netip.Addr
}

func (s *sentBys) add(role sip.Role, a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = append(s.added, roleSocket{role, netip.AddrPortFrom(a.Addr().Unmap(), a.Port())})
	s.refresh()
}

// remove forgets the sockets of an address.
func (s *sentBys) remove(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = slices.DeleteFunc(s.added, func(o roleSocket) bool {
		return o.addr == netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	})
	s.refresh()
}

// refresh makes what readers see anew. The caller holds s.mu.
func (s *sentBys) refresh() {
	set := &sentBySet{sockets: map[netip.AddrPort]string{}, byRole: map[roleAddr]string{}}
	for _, o := range s.added {
		text := o.addr.String()
		if o.role != sip.RoleProtectedClient {
			set.sockets[o.addr] = text
		}
		for _, ip := range [...]netip.Addr{o.addr.Addr(), {}} { // {}: any address
			k := roleAddr{o.role, ip}
			if _, ok := set.byRole[k]; !ok {
				set.byRole[k] = text
			}
		}
	}
	s.set.Store(set)
}

// of returns the sent-by for a flow.
func (s *sentBys) of(f sip.Flow) string {
	local := netip.AddrPortFrom(f.Local.Addr().Unmap(), f.Local.Port())
	set := s.set.Load()
	if set == nil {
		return local.String()
	}
	role := f.Role
	if role == sip.RoleProtectedClient {
		role = sip.RoleProtectedServer
	} else if text, ok := set.sockets[local]; ok {
		return text
	}
	if text, ok := set.byRole[roleAddr{role, local.Addr()}]; ok {
		return text
	}
	return local.String()
}

// ofRole returns the sent-by of the first socket of a role.
func (s *sentBys) ofRole(role sip.Role) string {
	if set := s.set.Load(); set != nil {
		return set.byRole[roleAddr{role: role}]
	}
	return ""
}

// sentBy is what Via and Record-Route show for a flow.
func (c *Core) sentBy(f sip.Flow) string {
	if c.cfg.SentBy != nil {
		if s := c.cfg.SentBy(f); s != "" {
			return s
		}
	}
	return c.sentBys.of(f)
}

// via writes our Via for a flow.
func (c *Core) via(dst []byte, f sip.Flow, branch, params string) []byte {
	dst = append(append(dst, "SIP/2.0/"...), f.Proto.String()...)
	dst = append(append(dst, ' '), c.sentBy(f)...)
	dst = append(append(dst, ";branch="...), branch...)
	return append(dst, params...)
}

// record writes our Record-Route entry for a request that leaves over f: one
// entry, or the one of the far side above that of the near side when they are
// not reached in the same way (RFC 5658 5).
func (o *Own) record(dst []byte, x *Exchange, f sip.Flow) []byte {
	far := x.core.side(o, f)
	dst = o.append(dst, far)
	if x.origin != nil {
		return dst
	}
	if near := x.core.side(o, x.Flow); near != far {
		dst = o.append(append(dst, ", "...), near)
	}
	return dst
}

// side is what an entry of ours says about the side of a flow.
type side struct {
	sentBy, params string
	stream         bool
}

// side returns what whoever is on the other end of f needs to know. A phone that
// is connected over a stream comes back over a stream: without a transport
// parameter RFC 3263 4.1 has it take UDP, which it may not have, and behind a NAT
// we should not know it again. Towards the core the size of each request decides,
// and our peers there have both.
func (c *Core) side(o *Own, f sip.Flow) side {
	s := side{sentBy: c.sentBy(f)}
	if o.Facing != nil {
		s.params = o.Facing(f)
	}
	switch f.Role {
	case sip.RoleGm, sip.RoleProtectedServer, sip.RoleProtectedClient:
		s.stream = f.Proto.Stream()
	}
	return s
}

// Entry returns our Record-Route entry for the side of a flow.
func (c *Core) Entry(f sip.Flow, own Own) string {
	var buf [160]byte
	return string(own.append(buf[:0], c.side(&own, f)))
}

// URI returns our own URI on a socket of that role, without angle brackets, for
// Path, Service-Route and Contact; "" when there is no such socket.
func (c *Core) URI(role sip.Role, own Own) string {
	sentBy := c.sentBys.ofRole(role)
	if sentBy == "" {
		return ""
	}
	var buf [160]byte
	b := own.append(buf[:0], side{sentBy: sentBy})
	return string(b[1 : len(b)-1])
}
