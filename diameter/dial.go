package diameter

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"time"
)

// sleep waits, and reports false when the node closes first.
func (n *Node) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.stop.Done():
		return false
	}
}

// keepDialed holds the connection to one peer up: it dials, serves, and dials
// again after a pause that doubles with each failure.
func (n *Node) keepDialed(p *peer) {
	pause := n.cfg.ReconnectMin
	for n.stop.Err() == nil {
		if other := n.acceptedFrom(p); other != nil {
			// The peer came to us. One connection is enough.
			select {
			case <-other.done:
			case <-n.stop.Done():
				return
			}
			continue
		}
		if n.dialOnce(p) {
			pause = n.cfg.ReconnectMin
		}
		n.mu.Lock()
		if p.busy {
			p.busy, pause = false, n.cfg.ReconnectMax
		}
		n.mu.Unlock()
		// Jitter keeps the clients of a restarted server apart.
		if !n.sleep(pause/2 + rand.N(pause/2+1)) {
			return
		}
		pause = min(2*pause, n.cfg.ReconnectMax)
	}
}

func (n *Node) acceptedFrom(p *peer) *conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return p.conn
}

// dialOnce opens one connection and serves it to its end. It reports whether
// capabilities were exchanged.
func (n *Node) dialOnce(p *peer) (up bool) {
	ctx, cancel := context.WithTimeout(n.stop, n.cfg.HandshakeTimeout)
	defer cancel()
	nc, err := n.cfg.Dialer.DialContext(ctx, "tcp", p.cfg.Address)
	if err != nil {
		if o := n.cfg.Observer; o != nil && n.stop.Err() == nil {
			o.Connection(ConnectionEvent{State: Down, Dialed: true, Peer: p.cfg.Host, Address: p.cfg.Address, Err: &TransportError{
				Peer: p.String(), Reason: "cannot connect to " + p.cfg.Address + "; check that it runs and that the address is right", Err: err}})
		}
		return false
	}
	if p.cfg.TLS != nil {
		nc = tls.Client(nc, tlsConfigFor(p.cfg))
	}
	c := newConn(n, nc, p)
	n.mu.Lock()
	if n.closing {
		n.mu.Unlock()
		nc.Close()
		return false
	}
	n.conns[c] = struct{}{}
	p.dialing = c
	n.mu.Unlock()
	return c.serveDialed()
}

func tlsConfigFor(p PeerConfig) *tls.Config {
	if p.TLS.ServerName != "" || p.TLS.InsecureSkipVerify {
		return p.TLS
	}
	t := p.TLS.Clone()
	if t.ServerName = p.Host; t.ServerName == "" {
		t.ServerName, _, _ = net.SplitHostPort(p.Address)
	}
	return t
}
