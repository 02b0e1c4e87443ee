package diameter

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// A Request is a request that a peer sent. It is answered exactly once, at any
// time and from any goroutine; one that is left gets DIAMETER_UNABLE_TO_COMPLY
// after Config.AnswerTimeout.
type Request struct {
	*Message
	Peer      string // Origin-Host of the peer on this connection
	PeerRealm string

	conn       *conn
	done       atomic.Bool
	timer      *time.Timer
	remembered *duplicateKey // guarded by duplicates.mu
}

// NewAnswer starts the answer to the request: Session-Id and the application's
// own AVPs, the result, Origin-Host, Origin-Realm, and the request's Proxy-Info
// (RFC 6733 6.2). Further AVPs are added by the caller.
func (r *Request) NewAnswer(res Result) *Message {
	return r.conn.n.newAnswer(r.Message, res)
}

func (n *Node) newAnswer(req *Message, res Result) *Message {
	a, b := n.appendAnswer(nil, req, res)
	a.SetEncoded(n.cfg.Dictionary, b)
	return a
}

// AppendAnswer is NewAnswer for those who encode the rest themselves: the AVPs are
// appended to b, and the message holds none of them yet.
func (r *Request) AppendAnswer(b []byte, res Result) (*Message, []byte) {
	return r.conn.n.appendAnswer(b, r.Message, res)
}

func (n *Node) appendAnswer(b []byte, req *Message, res Result) (*Message, []byte) {
	a := &Message{
		Flags: req.Flags & FlagProxiable, Command: req.Command, Application: req.Application,
		HopByHop: req.HopByHop, EndToEnd: req.EndToEnd,
	}
	if !res.Experimental && ResultCode(res.Code).isProtocolError() {
		a.Flags |= FlagError
	}
	run := req.Encoded()
	if s, ok := run.Find(avp.SessionID, 0); ok {
		b = appendRaw(b, s)
	}
	b = append(b, n.heads[a.Application]...)
	b = append(appendAVP(b, res.AVP()), n.origin...)
	for p, rest, ok := run.Next(); ok; p, rest, ok = rest.Next() {
		if p.Code == avp.ProxyInfo && p.Vendor == 0 {
			b = appendRaw(b, p)
		}
	}
	return a, b
}

// Answer sends the answer on the connection that the request came on. What it
// holds is the caller's; identifiers, command and the R bit are set here. It
// returns ErrAnswered for a second answer and a *TransportError when the
// connection is gone.
func (r *Request) Answer(a *Message) error {
	if !r.done.CompareAndSwap(false, true) {
		return ErrAnswered
	}
	r.timer.Stop()
	return r.send(a)
}

// Reject answers with a fault: its Result-Code, Error-Message and Failed-AVP.
func (r *Request) Reject(fault *AVPError) error {
	return r.Answer(r.conn.n.errorAnswer(r.Message, fault))
}

func (r *Request) send(a *Message) error {
	c := r.conn
	var tooBig error
	if n := a.Len(); n > ceilingMaxMessage {
		tooBig = fmt.Errorf("diameter: answer of %d octets is over the bound of %d", n, ceilingMaxMessage)
		a = c.n.errorAnswer(r.Message, &AVPError{Code: UnableToComply, Reason: "the answer would be too long"})
	}
	out := *a
	out.Flags &^= FlagRequest | FlagRetransmitted
	out.Command, out.HopByHop, out.EndToEnd = r.Command, r.HopByHop, r.EndToEnd
	err := c.enqueue(&out)
	for _, again := range c.n.duplicates.answered(r, a) {
		_ = again.Answer(a) // its connection may be gone; the answer is kept
	}
	c.mu.Lock()
	c.serving--
	c.checkDrainedLocked()
	c.mu.Unlock()
	if tooBig != nil {
		return tooBig
	}
	return err
}

func (n *Node) errorAnswer(req *Message, fault *AVPError) *Message {
	a := n.newAnswer(req, Base(fault.Code))
	if fault.Reason != "" {
		a.Add(newAVP(avp.ErrorMessage, datatype.UTF8String(fault.Reason)))
	}
	if fault.AVP != nil {
		a.Add(newAVP(avp.FailedAVP, NewGroup(fault.AVP)))
	}
	return a
}

// receive handles one frame of an open connection; more says that the next is there.
// An error ends the connection.
func (c *conn) receive(frame []byte, fault *AVPError, more bool) error {
	m, headerFault := decodeHeader(frame)
	m.more = more
	if fault == nil {
		fault = headerFault
	}
	if fault == nil {
		c.badFrames = 0
	} else if c.badFrames++; c.badFrames > maxBadFrames {
		return fmt.Errorf("%d messages in a row cannot be read: %w", c.badFrames, fault)
	}
	if m.IsRequest() {
		return c.receiveRequest(m, frame, fault)
	}
	return c.receiveAnswer(m, frame, fault)
}

func (c *conn) receiveAnswer(m *Message, frame []byte, fault *AVPError) error {
	c.watchdogHeard(m.Application == 0 && m.Command == DeviceWatchdog)
	if m.Application == 0 && (m.Command == DeviceWatchdog || m.Command == DisconnectPeer) {
		c.observeReceived(frame, faultError(fault))
		if m.Command == DisconnectPeer {
			c.mu.Lock()
			if c.state == Closing {
				select {
				case <-c.dpa:
				default:
					close(c.dpa)
				}
			}
			c.mu.Unlock()
		}
		return nil
	}
	c.mu.Lock()
	k := c.pending[m.HopByHop]
	delete(c.pending, m.HopByHop)
	c.mu.Unlock()
	if k == nil {
		c.observeReceived(frame, fmt.Errorf("diameter: no request waits for %v; it came late or twice", m))
		return nil
	}
	if fault == nil {
		fault = c.n.cfg.Dictionary.decodeBody(m, frame[HeaderLen:])
	}
	c.observeReceived(frame, faultError(fault))
	c.hold()
	k.answered(c, m, fault)
	c.mu.Lock()
	c.checkDrainedLocked()
	c.mu.Unlock()
	return nil
}

func (c *conn) receiveRequest(m *Message, frame []byte, fault *AVPError) error {
	c.watchdogHeard(false)
	if fault == nil {
		fault = c.admit(m)
	}
	if fault == nil {
		fault = c.n.cfg.Dictionary.decodeBody(m, frame[HeaderLen:])
	} else if len(frame) > HeaderLen {
		// What the answer has to repeat, if it can be found.
		w := walker{d: c.n.cfg.Dictionary, app: m.Application}
		m.AVPs, _ = w.walk(frame[HeaderLen:], 0)
	}
	if fault == nil && m.Application == 0 {
		fault = c.n.cfg.Dictionary.Check(m)
	} else if fault == nil {
		fault = c.n.addressed(m)
	}
	c.observeReceived(frame, faultError(fault))
	if fault != nil {
		return c.enqueue(c.n.errorAnswer(m, fault))
	}
	if m.Application == 0 {
		return c.receiveBase(m)
	}
	c.mu.Lock()
	closing, busy := c.state == Closing && c.clean, c.serving >= c.n.cfg.MaxPending
	if !closing && !busy {
		c.serving++
	}
	c.mu.Unlock()
	if closing || busy {
		return c.enqueue(c.n.errorAnswer(m, &AVPError{Code: TooBusy, Reason: "this node is closing or has too many requests of this peer under way"}))
	}
	r := &Request{Message: m, Peer: c.host, PeerRealm: c.realm, conn: c}
	r.timer = time.AfterFunc(c.n.cfg.AnswerTimeout, r.expired)
	if again, answer := c.n.duplicates.arrive(r); !again {
		c.n.cfg.Handler(r)
	} else if answer != nil {
		return r.Answer(answer)
	}
	return nil
}

// expired sees to it that the request gets some answer.
func (r *Request) expired() {
	if r.done.CompareAndSwap(false, true) {
		_ = r.send(r.conn.n.errorAnswer(r.Message, &AVPError{Code: UnableToComply, Reason: "the request was not answered in time"}))
	}
}

// admit looks at the header alone: is this something the node serves?
func (c *conn) admit(m *Message) *AVPError {
	if m.Application == 0 {
		if c.n.cfg.Dictionary.Command(0, m.Command) == nil {
			return &AVPError{Code: CommandUnsupported, Reason: fmt.Sprintf("command %d of the base protocol is not served here", m.Command)}
		}
		return nil
	}
	if _, ok := c.n.cfg.application(m.Application); !ok {
		return &AVPError{Code: ApplicationUnsupported, Reason: fmt.Sprintf("application %d is not served here", m.Application)}
	}
	if c.n.cfg.Handler == nil || c.n.cfg.Dictionary.Command(m.Application, m.Command) == nil {
		return &AVPError{Code: CommandUnsupported, Reason: fmt.Sprintf("command %d of application %d is not served here", m.Command, m.Application)}
	}
	return nil
}

// addressed checks that the request is for this node: it relays nothing.
func (n *Node) addressed(m *Message) *AVPError {
	if m.has(avp.DestinationHost) {
		// A request that names this host is taken whatever its realm is: FHoSS
		// makes the realm from the host name.
		if !n.cfg.isHost(m.Text(avp.DestinationHost, 0)) {
			return &AVPError{Code: UnableToDeliver, Reason: "this node is not the destination host and does not relay"}
		}
		return nil
	}
	if m.has(avp.DestinationRealm) && !n.cfg.isRealm(m.Text(avp.DestinationRealm, 0)) {
		return &AVPError{Code: RealmNotServed, Reason: "the destination realm is not served here"}
	}
	return nil
}

// receiveBase answers DWR and DPR.
func (c *conn) receiveBase(m *Message) error {
	a := &Message{Command: m.Command, HopByHop: m.HopByHop, EndToEnd: m.EndToEnd}
	a.Add(Base(Success).AVP(),
		newAVP(avp.OriginHost, datatype.DiameterIdentity(c.n.cfg.OriginHost)),
		newAVP(avp.OriginRealm, datatype.DiameterIdentity(c.n.cfg.OriginRealm)))
	switch m.Command {
	case DeviceWatchdog:
		a.Add(newAVP(avp.OriginStateID, datatype.Unsigned32(c.n.cfg.OriginStateID)))
		return c.enqueue(a)
	case DisconnectPeer:
		cause, _ := Enumerated(m.Find(avp.DisconnectCause, 0))
		if err := c.enqueue(a); err != nil {
			return err
		}
		c.peerDisconnects(cause)
		return nil
	}
	return c.enqueue(c.n.errorAnswer(m, &AVPError{Code: UnableToComply, Reason: "capabilities were exchanged already"}))
}
