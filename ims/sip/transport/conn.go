package transport

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// lingering is how long a connection that we end waits for the peer to take
// what was written, and to stop writing itself: closing with octets unread
// resets the connection, and the peer loses our last answer.
const lingering = time.Second

// conn is a stream connection, from the moment it is dialled or accepted.
type conn struct {
	t    *Transport
	id   uint64
	peer peer

	// Under Transport.mu; flow does not change once opened is true.
	flow      sip.Flow
	opened    bool
	asked     bool          // accepted, or dialled for a response
	counted   bool          // in Transport.counts,
	answering bool          // and there as well
	place     *list.Element // in Transport.newcomers; nil: in none of them

	holding bool // it had a place in Transport.partials last; for who reads

	used atomic.Int64 // last traffic, nanoseconds since Transport.began: somebody may set the clock

	resume func() // reads on after a rest; set once, before

	mu      sync.Mutex
	nc      net.Conn
	state   connState
	cause   error // why it is closed
	writing bool  // a goroutine runs flush
	queue   []Outgoing
	spare   []Outgoing
	octets  int           // in queue and in what is being written
	done    bool          // flushed is closed
	flushed chan struct{} // closed when nothing more will be written
	written written       // requests that may have been on their way at the end
}

type connState uint8

const (
	dialling connState = iota
	open
	ending // no more is taken, what is queued is written
	ended
)

// newConn enters a connection. The caller holds t.mu.
func (t *Transport) newConn(f sip.Flow, asked, opened bool) *conn {
	t.lastConn++
	f.Conn = t.lastConn
	c := &conn{t: t, id: f.Conn, flow: f, peer: peer{f.Role, f.Remote}, asked: asked, opened: opened, flushed: make(chan struct{})}
	c.touch()
	t.counts.enter(c)
	t.newcomers.enter(c)
	t.conns[c.id] = c
	t.byPeer[c.peer] = append(t.byPeer[c.peer], c)
	return c
}

// current returns the flow while the connection may still be coming up.
func (c *conn) current() sip.Flow {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	return c.flow
}

// remove makes the connection unfindable.
func (t *Transport) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns[c.id] != c {
		return
	}
	delete(t.conns, c.id)
	if l := slices.DeleteFunc(t.byPeer[c.peer], func(o *conn) bool { return o == c }); len(l) > 0 {
		t.byPeer[c.peer] = l
	} else {
		delete(t.byPeer, c.peer)
	}
}

// dial brings the connection up and then serves it.
func (c *conn) dial() {
	t := c.t
	ctx, cancel := t.ctx, context.CancelFunc(func() {})
	if t.cfg.ConnectTimeout > 0 {
		ctx, cancel = context.WithTimeout(t.ctx, t.cfg.ConnectTimeout)
	}
	nc, err := t.net.Dial(ctx, c.flow.Local, c.flow.Remote)
	cancel()
	if err != nil {
		t.uncount(c)
		if t.ctx.Err() != nil {
			c.close(ErrClosed)
			return
		}
		err = fmt.Errorf("connect: %w", err)
		if blamesRemote(err) {
			t.refused.add(wayOf(c.peer, c.flow.Local), err)
		}
		t.dropped(c.flow, DialFailed, err)
		c.close(err)
		return
	}
	t.refused.forget(wayOf(c.peer, c.flow.Local))
	t.mu.Lock()
	c.flow.Local = addrPort(nc.LocalAddr())
	c.opened = true
	t.counts.dialOver(c)
	t.mu.Unlock()
	c.mu.Lock()
	if c.state != dialling { // overflowed or closed meanwhile
		c.mu.Unlock()
		_ = nc.Close()
		t.uncount(c)
		return
	}
	c.nc = nc
	c.state = open
	c.startFlush()
	c.mu.Unlock()
	c.serve()
}

// serve reads until the connection ends, or rests.
func (c *conn) serve() {
	if k, ok := c.nc.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok && c.t.cfg.KeepAlive > 0 {
		// Without probes the connection works all the same.
		_ = k.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: c.t.cfg.KeepAlive, Interval: c.t.cfg.KeepAlive})
	}
	switch nc := c.nc.(type) {
	case StreamDeliverer:
		c.ended(c.called(c.nc, nc))
		return
	case Rester:
		c.resume = func() { go c.resumed() }
		c.restDeadline(c.nc)
		if c.rest(nc) {
			return
		}
	default:
		c.restDeadline(c.nc)
	}
	c.goOn()
}

// ended is called once, when nothing more will be read.
func (c *conn) ended(why error) {
	c.close(why) // at once where Close came before the connection was up
	c.holds(0)
	c.t.handler.Closed(c.flow)
}

// read frames what arrives and hands it on. It returns why the connection has ended, or
// nil where it rests: nothing of it may be used then.
func (c *conn) read(nc net.Conn) error {
	rester, _ := nc.(Rester)
	late, _ := nc.(lateReader)
	s := stream{of: c}
	var partial bool // the deadline is that of a started message
	for {
		var n int
		var err error
		if late != nil {
			n, err = late.readLate(&s)
		} else {
			n, err = nc.Read(s.space())
		}
		s.fed(n)
		whole := false
		if n > 0 {
			c.touch()
			var ferr error
			if whole, ferr = c.take(&s); ferr != nil {
				c.finish(nc, true)
				return ferr
			}
		}
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				return c.readEnded(nc, err, s.started())
			}
			if partial && !whole {
				err = fmt.Errorf("no whole message within %s", c.t.cfg.MessageTimeout)
				c.t.dropped(c.flow, MessageTimeout, err)
				return err
			}
			if !partial && c.rested() {
				err = errors.New("the connection rested too long")
				c.t.dropped(c.flow, Idle, nil)
				c.finish(nc, false)
				return err
			}
		}
		started := s.started()
		if whole || !started {
			c.holds(0)
		}
		switch {
		case started && (!partial || whole):
			partial = true
			c.holds(s.grown())
			if d := c.t.cfg.MessageTimeout; d > 0 {
				_ = nc.SetReadDeadline(time.Now().Add(d))
			}
		case !started && (partial || err != nil):
			partial = false
			c.restDeadline(nc)
		}
		if rester != nil && s.rest() && c.rest(rester) {
			return nil
		}
	}
}

// called frames what the connection calls with. It returns why it ended.
func (c *conn) called(nc net.Conn, d StreamDeliverer) error {
	var s stream
	var bad error
	err := d.DeliverStream(func(data []byte) error {
		c.touch()
		for len(data) > 0 && bad == nil {
			n := copy(s.space(), data)
			s.fed(n)
			data = data[n:]
			_, bad = c.take(&s)
		}
		s.rest()
		return bad
	})
	if bad != nil {
		c.finish(nc, true)
		return bad
	}
	return c.readEnded(nc, err, s.started())
}

// take hands on every whole message, and reports whether there was one.
func (c *conn) take(s *stream) (whole bool, err error) {
	for {
		raw, pings, err := s.next()
		for range pings {
			c.pong()
		}
		if err != nil {
			c.t.dropped(c.flow, Malformed, err)
			c.t.handler.Malformed(c.flow, raw, err)
			return whole, err
		}
		if raw == "" {
			return whole, nil
		}
		whole = true
		if o := c.t.cfg.Observer; o != nil {
			o.Received(c.flow, raw)
		}
		c.t.handler.Receive(c.flow, raw)
	}
}

var crlf = []byte("\r\n")

// maxBacklog is how many messages may wait for a peer that is still told that we
// hear its pings. One that pings and does not read gets no further pongs: each is
// two octets on the wire and a hundred times that in the queue.
const maxBacklog = 64

// pong answers a keep-alive ping (RFC 5626 §4.4.1).
func (c *conn) pong() {
	c.mu.Lock()
	backlog := len(c.queue)
	c.mu.Unlock()
	if backlog < maxBacklog {
		c.enqueue(&Outgoing{Flow: c.flow, Data: crlf})
	}
}

// readEnded turns the error of a read into the cause of the end.
func (c *conn) readEnded(nc net.Conn, err error, started bool) error {
	if errors.Is(err, io.EOF) {
		if started {
			c.t.dropped(c.flow, ReadFailed, io.ErrUnexpectedEOF)
		}
		// The peer has sent all it will; what is queued may still reach it.
		c.finish(nc, false)
		return ErrConnGone
	}
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	if cause != nil {
		return cause // we closed it
	}
	c.t.dropped(c.flow, ReadFailed, err)
	return fmt.Errorf("read: %w", err)
}
