package diameter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// Causes of the end of a connection that are not failures of the peer.
var (
	errElection = errors.New("the peer's own connection won the election (RFC 6733 5.6.4)")
	errReplaced = errors.New("the peer opened a new connection")
	errDPR      = errors.New("the peer disconnected in order (DPR)")
)

// maxBadFrames is how many frames in a row may have an unreadable header before
// the stream is taken for something else than Diameter.
const maxBadFrames = 8

// A conn is one transport connection with its reader and writer goroutine.
//
// Locks are taken in the order call.mu, Node.mu, conn.mu.
type conn struct {
	n        *Node
	nc       net.Conn
	isDialed bool
	address  string // dialed
	peer     *peer  // entry of Config.Peers, nil for others; guarded by Node.mu once identified
	gone     chan struct{}
	done     chan struct{} // closed when the connection has left the node's tables

	// Set under mu by the reader during the exchange of capabilities, read-only
	// once the state is not Connecting.
	host, realm string
	apps        map[uint32]bool // advertised by both, or everything for a relay
	relay       bool

	// Of the reader.
	badFrames int
	held      int // answers since Holder.Hold, 0: not held

	mu       sync.Mutex
	state    State
	err      error // why it is down, set once
	clean    bool  // it went by DPR or by our Close
	queue    []byte
	writing  bool  // the writer is in Write
	last     error // set: fail with it once the queue is written
	wake     chan struct{}
	pending  map[uint32]*call // requests we sent, by Hop-by-Hop identifier
	hopByHop uint32
	serving  int           // requests of the peer that are not answered yet
	drained  chan struct{} // not nil while Close waits for pending and serving
	dpa      chan struct{} // closed when a DPA arrives
	watchdog watchdog
}

func newConn(n *Node, nc net.Conn, p *peer) *conn {
	c := &conn{
		n: n, nc: nc, peer: p, isDialed: p != nil,
		gone: make(chan struct{}), done: make(chan struct{}), dpa: make(chan struct{}),
		wake: make(chan struct{}, 1), pending: make(map[uint32]*call), hopByHop: rand.Uint32(),
	}
	if p != nil {
		c.address = p.cfg.Address
	}
	return c
}

// State returns the state of the connection.
func (c *conn) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// serveAccepted runs a connection that a peer opened, from CER to the end.
func (c *conn) serveAccepted() {
	c.n.wg.Go(c.writeLoop)
	c.end(c.serve(c.answerCapabilities))
}

// serveDialed runs a connection that this node opened, and reports whether
// capabilities were exchanged.
func (c *conn) serveDialed() (up bool) {
	c.n.wg.Go(c.writeLoop)
	c.end(c.serve(func(f *frameReader) error {
		err := c.exchangeCapabilities(f)
		up = err == nil
		return err
	}))
	return up
}

// serve exchanges capabilities under a deadline, then reads until the
// connection ends, and returns why.
func (c *conn) serve(handshake func(*frameReader) error) error {
	c.observe(Connecting, nil)
	if err := c.nc.SetDeadline(time.Now().Add(c.n.cfg.HandshakeTimeout)); err != nil {
		return err
	}
	f := newFrameReader(c.nc, c.n.cfg.MaxMessage)
	if err := handshake(f); err != nil {
		return err
	}
	if err := c.nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.n.signal()
	defer c.release()
	for {
		frame, fault, err := f.next()
		if err != nil {
			if fault != nil && frame != nil {
				_ = c.receive(frame, fault, false) // the connection ends with err either way
			}
			return err
		}
		more := f.more()
		if err := c.receive(frame, fault, more); err != nil {
			return err
		}
		if !more {
			c.release() // before the reader waits
		} else if c.held >= heldFor {
			c.release()
			runtime.Gosched() // there is more to come: it is others' turn first
		}
	}
}

// heldFor is for how many answers what they lead to is gathered.
const heldFor = 64

// hold has what callbacks send wait until nothing further has come, see [Node.Gather].
func (c *conn) hold() {
	if c.n.holder == nil {
		return
	}
	if c.held == 0 {
		c.n.holder.Hold()
	}
	c.held++
}

func (c *conn) release() {
	if c.held > 0 {
		c.held = 0
		c.n.holder.Release()
	}
}

// end takes the connection down after its reader has returned, gives the
// requests that wait on it to another peer.
func (c *conn) end(err error) {
	c.mu.Lock()
	if c.last != nil {
		err = c.last
	}
	flush := c.err == nil && (len(c.queue) > 0 || c.writing)
	c.mu.Unlock()
	if flush {
		// Something explains to the peer why: let it out, if the peer reads.
		c.failAfterFlush(err)
		<-c.gone
	}
	c.fail(err)
	c.mu.Lock()
	err = c.err
	clean := c.clean
	pending := c.pending
	c.pending = nil
	c.watchdog.stop()
	c.mu.Unlock()
	c.n.forget(c, clean)
	close(c.done)
	c.observe(Down, err)
	for _, k := range pending {
		k.lost(c, err)
	}
}

// fail closes the connection; the first cause counts. The reader then returns
// and cleans up.
func (c *conn) fail(err error) {
	if err == nil {
		err = net.ErrClosed
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	c.state = Down
	close(c.gone)
	c.mu.Unlock()
	c.nc.Close()
}

// failAfterFlush closes the connection once what is queued has been written, or
// after a second.
func (c *conn) failAfterFlush(err error) {
	c.mu.Lock()
	c.last = err
	c.mu.Unlock()
	time.AfterFunc(time.Second, func() { c.fail(err) })
	c.signalWriter()
}

func (c *conn) signalWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// writeLoop writes whatever is queued, everything that gathered meanwhile in one
// write.
func (c *conn) writeLoop() {
	const keep = 64 << 10
	var spare []byte
	for {
		select {
		case <-c.wake:
		case <-c.gone:
			return
		}
		c.mu.Lock()
		b, host := c.queue, c.host
		c.queue = spare[:0]
		c.writing = true
		c.mu.Unlock()
		if len(b) > 0 {
			c.observeSent(b, host)
			if _, err := c.nc.Write(b); err != nil {
				c.fail(fmt.Errorf("write: %w", err))
				return
			}
		}
		if spare = b; cap(spare) > keep {
			spare = nil
		}
		c.mu.Lock()
		c.writing = false
		last := c.last
		if len(c.queue) > 0 {
			last = nil
			c.signalWriter()
		}
		c.mu.Unlock()
		if last != nil {
			c.fail(last)
			return
		}
	}
}

// enqueue queues a message that is not matched to anything: an answer, or a
// request of the base protocol. A peer that does not read its answers is
// disconnected, because dropping one of them would leave it waiting.
func (c *conn) enqueue(m *Message) error {
	c.mu.Lock()
	err := c.enqueueLocked(m)
	c.mu.Unlock()
	if err != nil {
		c.fail(err)
	}
	return err
}

func (c *conn) enqueueLocked(m *Message) error {
	if c.err != nil {
		return &TransportError{Peer: c.host, Reason: "connection is down", Err: c.err}
	}
	if len(c.queue)+m.Len() > c.n.cfg.MaxQueue {
		return &TransportError{Peer: c.host, Reason: fmt.Sprintf(
			"%d octets wait to be written; the peer does not read", len(c.queue))}
	}
	c.queue = m.Append(c.queue)
	c.signalWriter()
	return nil
}

// requestLocked queues a request of the base protocol (CER, DWR, DPR).
func (c *conn) requestLocked(m *Message) error {
	c.hopByHop++
	m.HopByHop = c.hopByHop
	m.EndToEnd = c.n.endToEnd.Add(1)
	return c.enqueueLocked(m)
}

func (c *conn) baseRequest(command uint32) *Message {
	m := &Message{Flags: FlagRequest, Command: command}
	m.Add(newAVP(avp.OriginHost, datatype.DiameterIdentity(c.n.cfg.OriginHost)),
		newAVP(avp.OriginRealm, datatype.DiameterIdentity(c.n.cfg.OriginRealm)))
	return m
}

func (c *conn) observe(s State, err error) {
	if o := c.n.cfg.Observer; o != nil {
		o.Connection(ConnectionEvent{State: s, Dialed: c.isDialed, Local: c.nc.LocalAddr(),
			Remote: c.nc.RemoteAddr(), Peer: c.host, Address: c.address, Err: err})
	}
}

func (c *conn) observeReceived(frame []byte, err error) {
	if o := c.n.cfg.Observer; o != nil {
		o.Message(MessageEvent{Local: c.nc.LocalAddr(), Remote: c.nc.RemoteAddr(), Peer: c.host, Raw: frame, Err: err})
	}
}

// observeSent shows each message of a buffer that is about to be written.
func (c *conn) observeSent(b []byte, host string) {
	o := c.n.cfg.Observer
	if o == nil {
		return
	}
	for len(b) >= HeaderLen {
		n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		o.Message(MessageEvent{Sent: true, Local: c.nc.LocalAddr(), Remote: c.nc.RemoteAddr(), Peer: host, Raw: b[:n]})
		b = b[n:]
	}
}
