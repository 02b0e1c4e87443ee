package diameter

import (
	"context"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// disconnect ends the connection in order: requests under way on it finish, DPR,
// DPA, close (RFC 6733 5.4). It waits for them no longer than ctx.
func (c *conn) disconnect(ctx context.Context) {
	c.mu.Lock()
	open := c.state == Okay || c.state == Suspect || c.state == Reopen
	drained := make(chan struct{})
	if open {
		c.drained = drained
		c.checkDrainedLocked()
	}
	c.mu.Unlock()
	if !open {
		c.fail(ErrClosed)
		return
	}
	select {
	case <-drained:
	case <-ctx.Done():
	case <-c.gone:
		return
	}
	m := c.baseRequest(DisconnectPeer)
	m.Add(newAVP(avp.DisconnectCause, datatype.Enumerated(0))) // REBOOTING
	c.mu.Lock()
	c.clean = true
	if c.err == nil {
		c.state = Closing
		_ = c.requestLocked(m) // a full queue means a dead peer: the wait below ends it
	}
	c.mu.Unlock()
	c.observe(Closing, nil)
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-c.dpa:
		c.fail(ErrClosed)
	case <-ctx.Done():
		c.failAfterFlush(ErrClosed)
	case <-t.C:
		c.fail(ErrClosed)
	case <-c.gone:
	}
}

func (c *conn) checkDrainedLocked() {
	if c.drained != nil && len(c.pending) == 0 && c.serving == 0 {
		close(c.drained)
		c.drained = nil
	}
}

// peerDisconnects notes a DPR: no further request goes this way, and the peer,
// which has the DPA, closes (RFC 6733 5.4). Requests under way wait for that and
// then move to another peer.
func (c *conn) peerDisconnects(cause int32) {
	c.mu.Lock()
	c.state, c.clean = Closing, true
	c.watchdog.timer.Reset(closeTimeout)
	c.mu.Unlock()
	if cause != 0 { // BUSY or DO_NOT_WANT_TO_TALK_TO_YOU
		c.n.mu.Lock()
		if c.peer != nil {
			c.peer.busy = true
		}
		c.n.mu.Unlock()
	}
	c.observe(Closing, errDPR)
	c.n.signal()
}
