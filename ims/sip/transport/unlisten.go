package transport

import (
	"net/netip"
	"slices"

	"github.com/gocscf/gocscf/ims/sip"
)

// Unlisten closes what listens at addr, an address that Listen has returned, and
// ends at once the connections that were dialled from there or accepted there. It
// reports whether anything listened. What is still queued on the socket is lost:
// protected ports go when their SA set does, and nothing would carry it. A Handler may
// call it; of the socket that it is called by the port is free when the handler has
// returned, so listening there again before may fail.
func (t *Transport) Unlisten(addr netip.AddrPort) bool {
	addr = unmap(addr)
	t.mu.Lock()
	var gone []*listen
	t.listens = slices.DeleteFunc(t.listens, func(l *listen) bool {
		if l.Addr != addr {
			return false
		}
		gone = append(gone, l)
		return true
	})
	delete(t.udpByAddr, addr)
	t.mu.Unlock()
	for _, l := range gone {
		l.close()
	}
	if gone != nil {
		t.EndConns(addr, netip.AddrPort{})
	}
	return gone != nil
}

// EndConns ends at once the connections between local and remote; a zero address
// or port of either fits any. It returns how many there were.
func (t *Transport) EndConns(local, remote netip.AddrPort) int {
	local, remote = unmap(local), unmap(remote)
	t.mu.Lock()
	var ended []*conn
	note := func(c *conn) {
		if fits(c.flow.Local, local) && fits(c.flow.Remote, remote) {
			ended = append(ended, c)
		}
	}
	if remote.Port() != 0 && remote.Addr().IsValid() { // one peer of many
		for role := range sip.RoleISC + 1 {
			for _, c := range t.byPeer[peer{role, remote}] {
				note(c)
			}
		}
	} else {
		for _, c := range t.conns {
			note(c)
		}
	}
	t.mu.Unlock()
	for _, c := range ended {
		c.close(ErrAborted)
	}
	return len(ended)
}
