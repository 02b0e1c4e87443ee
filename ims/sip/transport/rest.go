package transport

import (
	"net"
	"time"
)

// rest leaves the connection alone, and reports whether it can: then another goroutine
// will read on, or does already.
func (c *conn) rest(nc Rester) bool {
	c.t.wg.Add(1) // for resumed, which Close waits for though it has not begun
	if nc.WhenReadable(c.resume) {
		return true
	}
	c.t.wg.Done()
	return false
}

// resumed reads on where somebody has left it.
func (c *conn) resumed() {
	defer c.t.wg.Done()
	c.goOn()
}

func (c *conn) goOn() {
	if why := c.read(c.nc); why != nil {
		c.ended(why)
	}
}

// lateReader is a connection that has no buffer while it waits: it asks for the
// stream's space when something may be there, and has it rest where nothing is.
type lateReader interface {
	readLate(s *stream) (int, error)
}

// touch notes traffic.
func (c *conn) touch() { c.used.Store(int64(time.Since(c.t.began))) }

// lastUsed is when there was traffic, with a monotonic reading.
func (c *conn) lastUsed() time.Time { return c.t.began.Add(time.Duration(c.used.Load())) }

// rested reports whether the connection has been silent, both ways, for its
// idle time.
func (c *conn) rested() bool {
	d := c.t.cfg.idle(c.flow.Role)
	return d > 0 && time.Since(c.lastUsed()) >= d
}

// restDeadline sets when to look whether the connection rested too long.
func (c *conn) restDeadline(nc net.Conn) {
	var at time.Time
	if d := c.t.cfg.idle(c.flow.Role); d > 0 {
		at = c.lastUsed().Add(d)
	}
	_ = nc.SetReadDeadline(at)
}
