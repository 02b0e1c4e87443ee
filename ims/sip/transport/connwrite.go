package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// gather is how many octets of several messages leave in one write.
const gather = 32 << 10

var gatherBufs = sync.Pool{New: func() any { return new([gather]byte) }}

// enqueue takes a message for the connection. It is false when the connection
// has ended, or is about to: then the message was not taken.
func (c *conn) enqueue(o *Outgoing) bool {
	c.mu.Lock()
	if c.state >= ending {
		c.mu.Unlock()
		return false
	}
	if limit := c.t.cfg.MaxQueue; limit > 0 && c.octets+len(o.Data) > limit {
		c.mu.Unlock()
		c.t.dropped(c.current(), SlowConsumer, nil)
		c.close(ErrSlowConsumer)
		o.fail(ErrSlowConsumer)
		return true
	}
	c.put(o)
	if c.state == open {
		c.startFlush()
	}
	c.mu.Unlock()
	return true
}

// put puts a message into the queue. The caller holds c.mu, or has a connection that
// nobody else knows yet.
func (c *conn) put(o *Outgoing) {
	o.keep()
	c.queue = append(c.queue, *o)
	c.octets += len(o.Data)
}

// startFlush starts the writer unless it runs. The caller holds c.mu.
func (c *conn) startFlush() {
	if !c.writing && len(c.queue) > 0 {
		c.writing = true
		c.t.wg.Go(c.flush)
	}
}

// flushDone tells finish that nothing more will be written. The caller holds
// c.mu.
func (c *conn) flushDone() {
	if !c.done {
		c.done = true
		close(c.flushed)
	}
}

// flush writes until the queue is empty.
func (c *conn) flush() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.writing = false
			if c.state == ending {
				c.flushDone()
			}
			c.mu.Unlock()
			return
		}
		all := c.queue
		c.queue = c.spare[:0]
		c.spare = nil
		c.mu.Unlock()

		octets := 0
		for i := range all {
			octets += len(all[i].Data)
		}
		for rest := all; len(rest) > 0; {
			n, err := c.write(rest)
			c.wrote(rest[:n])
			rest = rest[n:]
			if err == nil {
				continue
			}
			c.close(err)
			for i := range rest {
				c.t.dropped(c.flow, Unsendable, err)
				rest[i].fail(err)
			}
			break
		}
		drop(all)
		c.mu.Lock()
		c.spare = all[:0]
		c.octets -= octets
		c.mu.Unlock()
	}
}

// write writes the first of rest, and as many behind it as fit one write. It
// returns how many left entirely.
func (c *conn) write(rest []Outgoing) (int, error) {
	data, n := rest[0].Data, 1
	if len(rest) > 1 && len(data)+len(rest[1].Data) <= gather {
		buf := gatherBufs.Get().(*[gather]byte)
		defer gatherBufs.Put(buf)
		data = buf[:0]
		for n = 0; n < len(rest) && len(data)+len(rest[n].Data) <= gather; n++ {
			data = append(data, rest[n].Data...)
		}
	}
	if o := c.t.cfg.Observer; o != nil {
		for i := range rest[:n] {
			o.Sent(c.flow, rest[i].Data)
		}
	}
	if d := c.t.cfg.WriteTimeout; d > 0 {
		_ = c.nc.SetWriteDeadline(time.Now().Add(d))
	}
	wrote, err := c.nc.Write(data)
	if err == nil {
		c.touch()
		return n, nil
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.t.dropped(c.flow, SlowConsumer, err)
		err = ErrSlowConsumer
	case isClosed(err):
		c.mu.Lock()
		if c.cause != nil {
			err = c.cause
		}
		c.mu.Unlock()
	default:
		err = fmt.Errorf("write: %w", err)
	}
	whole := 0
	for whole < n && wrote >= len(rest[whole].Data) {
		wrote -= len(rest[whole].Data)
		whole++
	}
	return whole, err
}

// finish writes what is queued and takes no more. Where the peer may still be
// sending, it is told that nothing more comes and given a moment to read.
func (c *conn) finish(nc net.Conn, peerSends bool) {
	c.t.remove(c)
	c.mu.Lock()
	if c.state == open {
		c.state = ending
		if !c.writing {
			c.flushDone()
		}
	}
	c.mu.Unlock()
	timer := time.NewTimer(lingering)
	defer timer.Stop()
	select {
	case <-c.flushed:
	case <-timer.C:
		return
	case <-c.t.ctx.Done():
		return
	}
	half, ok := nc.(interface{ CloseWrite() error })
	if !peerSends || !ok || half.CloseWrite() != nil {
		return
	}
	_ = nc.SetReadDeadline(time.Now().Add(lingering))
	_, _ = io.CopyN(io.Discard, nc, 1<<20)
}

// close ends the connection at once, and fails what it has not written.
func (c *conn) close(cause error) {
	c.t.remove(c) // first: who looks for a connection does not find an ended one
	c.mu.Lock()
	if c.state == ended {
		c.mu.Unlock()
		return
	}
	c.state = ended
	c.cause = cause
	queue, nc := c.queue, c.nc
	c.queue = nil
	for i := range queue {
		c.octets -= len(queue[i].Data)
	}
	c.flushDone()
	lost := c.written.take(time.Now())
	c.mu.Unlock()
	if nc != nil {
		if !errors.Is(cause, ErrConnGone) {
			c.forsake(nc)
		}
		_ = nc.Close()
		c.t.uncount(c)
	} // else it is being dialled, and counts until it is not
	if !errors.Is(cause, ErrClosed) {
		for _, fail := range lost {
			fail(&LostError{cause})
		}
	}
	for i := range queue {
		c.t.dropped(queue[i].Flow, Unsendable, cause)
		queue[i].fail(cause)
	}
	drop(queue)
}

// forsake has the end of a protected connection, where the peer has not ended it,
// leave nothing behind: TIME_WAIT at ports that are fixed would keep the next
// connection between them from being dialled (TS 33.203 7.1).
func (c *conn) forsake(nc net.Conn) {
	if c.peer.role != sip.RoleProtectedServer && c.peer.role != sip.RoleProtectedClient {
		return
	}
	if l, ok := nc.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
}

func (c *conn) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.octets
}
