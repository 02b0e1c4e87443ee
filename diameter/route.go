package diameter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fiorix/go-diameter/v4/diam/avp"
)

// A route is what decides where a request goes.
type route struct {
	app  uint32
	host string // Destination-Host
	hint bool   // Destination-Host may be ignored
}

// rank orders states by how well a connection in them serves, 0 for not at all.
func rank(s State) int {
	switch s {
	case Okay:
		return 3
	case Reopen:
		return 2
	case Suspect:
		return 1
	}
	return 0
}

// route returns the connection for a request, nil if there is none. Connections
// in tried are left out.
//
// The peer that Destination-Host names comes first. Then the peers that this
// node dials, in the order of the configuration, and those that relay: any of
// them may know the way to that host. Peers that only connect to this node, such
// as the CSCFs of an HSS, get nothing that does not name them.
func (n *Node) route(r route, tried []*conn) *conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	var best *conn
	bestRank := 0
	offer := func(c *conn) {
		if c == nil || !c.apps[r.app] || slices.Contains(tried, c) {
			return
		}
		if k := rank(c.State()); k > bestRank {
			best, bestRank = c, k
		}
	}
	if r.host != "" {
		offer(n.byHost[strings.ToLower(r.host)])
		if bestRank == rank(Okay) || best != nil && !r.hint {
			return best
		}
	}
	for _, p := range n.peers {
		if p.cfg.Address != "" || p.conn != nil && p.conn.relay {
			offer(p.conn)
		}
	}
	if best == nil {
		for _, c := range n.byHost {
			if c.relay {
				offer(c)
			}
		}
	}
	return best
}

// isPeer reports whether the host is, or was, directly connected to this node:
// then no agent stands between.
func (n *Node) isPeer(host string) bool {
	host = strings.ToLower(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byHost[host] != nil {
		return true
	}
	for _, p := range n.peers {
		if p.lastHost == host || strings.ToLower(p.cfg.Host) == host {
			return true
		}
	}
	return false
}

// unroutable says why no connection was found.
func (n *Node) unroutable(m *Message) error {
	host := m.Text(avp.DestinationHost, 0)
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for _, p := range n.peers {
		names = append(names, p.String())
	}
	e := &TransportError{Peer: host, Reason: fmt.Sprintf("no peer is connected for application %d; configured: %s; check that one of them runs and is reachable",
		m.Application, strings.Join(names, ", "))}
	if len(names) == 0 {
		e.Reason = fmt.Sprintf("no peer is connected for application %d and none is configured", m.Application)
	}
	return e
}
