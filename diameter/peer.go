package diameter

import (
	"strings"
)

// A peer is one entry of Config.Peers.
type peer struct {
	cfg  PeerConfig
	conn *conn // identified connection; guarded by Node.mu
	// dialing is our own connection while capabilities are exchanged on it, for
	// the election; guarded by Node.mu.
	dialing *conn
	// failed is set when a connection was lost or went silent, so that the next
	// starts in Reopen (RFC 3539 3.4.1); guarded by Node.mu.
	failed   bool
	lastHost string // Origin-Host of the last connection, in lower case; guarded by Node.mu
	busy     bool   // the peer sent a DPR that asks to stay away; guarded by Node.mu
}

func (p *peer) String() string {
	if p.cfg.Host != "" {
		return p.cfg.Host
	}
	return p.cfg.Address
}

// A place is what identify found for a connection.
type place struct {
	refuse ResultCode // not 0: the connection may not stay, and this says why
	ends   *conn      // the other connection of the same peer, which ends
	cause  error      // of that end
	reopen bool       // the peer failed before and has to prove itself
}

// identify gives a connection its place once the peer's Origin-Host is known.
func (n *Node) identify(c *conn, host string) (out place) {
	key := strings.ToLower(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return place{refuse: TooBusy}
	}
	p := c.peer
	for _, q := range n.peers {
		if p == nil && strings.EqualFold(q.cfg.Host, host) {
			p = q
		}
	}
	if p == nil && !n.cfg.AcceptUnknown {
		return place{refuse: UnknownPeer}
	}
	old := n.byHost[key]
	switch {
	case !c.isDialed && p != nil && p.dialing != nil:
		// Both ends dialed. The one with the greater Origin-Host keeps the
		// connection that it accepted (RFC 6733 5.6.4).
		if strings.ToLower(n.cfg.OriginHost) < key {
			return place{refuse: ElectionLost}
		}
		out.ends, out.cause = p.dialing, errElection
		p.dialing = nil
	case old != nil && old != c && (old.isDialed || c.isDialed) && old.State() == Okay:
		// What one end dialed and both use stays; a second one is refused.
		return place{refuse: ElectionLost}
	case old != nil && old != c:
		// A new CER from the same host: the peer restarted, or lost the old
		// connection before this end noticed.
		out.ends, out.cause = old, errReplaced
	}
	n.byHost[key] = c
	if p != nil {
		p.conn, p.lastHost, c.peer = c, key, p
		if c.isDialed {
			p.dialing = nil
			out.reopen = p.failed
		}
	}
	return out
}

// forget removes a connection that is down. clean tells that it ended by DPR or
// by our own Close, so that the next one need not prove itself.
func (n *Node) forget(c *conn, clean bool) {
	n.mu.Lock()
	if _, ok := n.conns[c]; ok {
		delete(n.conns, c)
		if !c.isDialed {
			n.accepted--
		}
	}
	if key := strings.ToLower(c.host); key != "" && n.byHost[key] == c {
		delete(n.byHost, key)
	}
	if p := c.peer; p != nil {
		if p.conn == c {
			p.conn = nil
			p.failed = !clean
		}
		if p.dialing == c {
			p.dialing = nil
		}
	}
	n.mu.Unlock()
	n.signal()
}
