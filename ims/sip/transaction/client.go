package transaction

import (
	"errors"
	"net/netip"

	"github.com/gocscf/gocscf/ims/sip"
)

// ClientRequest is a request to be sent. Its functions are called on the shard.
type ClientRequest struct {
	Method string // never ACK
	Branch string // that of the top Via
	Flow   sip.Flow

	// Render writes the request for a flow; the Via, at least, depends on it. The
	// Buffer is the layer's, which may send it again: a new one for each call.
	Render func(f sip.Flow) *sip.Buffer
	// Fallback, if set, is asked for another flow when a message did not leave,
	// or may be lost, and nothing has been answered yet. The transaction starts
	// anew there.
	Fallback func(failed sip.Flow, err error) (sip.Flow, bool)
	// Timers, when zero, are those of Config.TimersFor for the flow.
	Timers Timers
	// Response gets every provisional, every 2xx to an INVITE, and one final.
	Response func(c *Client, f sip.Flow, m *sip.Message)
	// Failed is called at most once, instead of a final response: with
	// ErrTimeout, or with the error of the transport.
	Failed func(c *Client, err error)
}

// Client is a request that we have sent, and its transaction. Methods are for
// the shard's goroutine.
type Client struct {
	req     ClientRequest
	shard   *Shard
	tx      *tx // nil once the transaction has ended or needs its User no more
	flow    sip.Flow
	attempt uint32      // flows tried
	fail    func(error) // for the current attempt

	passed               uint64 // hash of what past has of a refused INVITE
	provisional, final   bool
	cancelled, cancelOut bool
	cancelFields         []sip.Field
}

// Client sends a request and keeps its transaction. Failed is never called
// before Client has returned.
func (sh *Shard) Client(r ClientRequest) *Client {
	c := &Client{req: r, shard: sh}
	k := nonInviteClient
	if r.Method == "INVITE" {
		k = inviteClient
	}
	t := sh.newTx(k, r.Flow, r.Timers)
	t.client, c.tx = c, t
	sh.clientKey(r.Branch, r.Method)
	t.key = append(t.key[:0], sh.scratch...)
	t.pre = len(t.key)
	sh.clients.insert(t, sh.hash(t.key))
	sh.layer.count.clients.Add(1)
	c.start(r.Flow)
	return c
}

// Flow returns the flow of the current attempt.
func (c *Client) Flow() sip.Flow { return c.flow }

// Over reports whether nothing more comes of it.
func (c *Client) Over() bool { return c.tx == nil }

// Done reports whether a final response or a failure has been reported.
func (c *Client) Done() bool { return c.final }

func (c *Client) start(f sip.Flow) {
	t, sh := c.tx, c.shard
	sh.timers.remove(&t.retransmit)
	sh.timers.remove(&t.end)
	t.machine = machine{kind: t.kind, reliable: f.Proto.Stream()}
	t.timers = c.req.Timers
	if t.timers == (Timers{}) {
		t.timers = sh.layer.cfg.TimersFor(f)
	}
	t.timers = t.timers.orDefault()
	c.flow, t.to = f, f
	t.own(c.req.Render(f))
	c.attempt++
	n := c.attempt
	c.fail = func(err error) { sh.Post(func() { c.sendFailed(n, err) }) }
	t.clientEvent(evStart, f, nil, nil)
}

// sendFailed hears that something of attempt n did not leave, or may be lost.
func (c *Client) sendFailed(n uint32, err error) {
	var u interface{ Uncertain() bool }
	uncertain := errors.As(err, &u) && u.Uncertain()
	if c.attempt != n {
		return
	}
	if c.tx == nil {
		if c.passed != 0 && !uncertain { // its ACK (RFC 3261 17.1.1.2)
			c.shard.lose(inviteClient, c.passed)
		}
		return
	}
	if !c.provisional && !c.final && c.req.Fallback != nil {
		if f, ok := c.req.Fallback(c.flow, err); ok && c.tx != nil {
			c.start(f)
			return
		}
		if c.tx == nil { // Fallback itself ended it
			return
		}
	}
	if uncertain { // the answer may still come, over another connection
		return
	}
	c.tx.clientEvent(evTransportError, sip.Flow{}, nil, err)
}

// clientEvent steps a client transaction and does what the machine asks. The
// callbacks come last: they may do anything to t.
func (t *tx) clientEvent(ev event, f sip.Flow, m *sip.Message, err error) {
	sh, c := t.shard, t.client
	var fail func(error)
	if c != nil {
		fail = c.fail
	}
	a := t.advance(ev, 0)
	if a.do&doSend != 0 {
		sh.layer.send(t.to, t.last, t.kept, fail)
	}
	if a.do&doAck != 0 {
		if t.ack == nil {
			t.ack = makeAck(t.last, m)
		}
		if t.ack != nil {
			sh.layer.send(t.to, t.ack, nil, fail)
		}
	}
	if a.do&doDeliver != 0 {
		if ev == evTrying || ev == evProvisional {
			if c.provisional = true; c.cancelled {
				c.sendCancel()
			}
		} else {
			c.final = true
		}
	}
	if c != nil && a.do&(doTimeout|doError) != 0 {
		if c.final { // an ACK that did not leave: the User has its final response
			c = nil
		} else {
			c.final = true
		}
	}
	switch {
	case a.do&doEnd != 0:
		if t.client != nil {
			t.client.tx = nil
		}
		sh.release(sh.clients, &sh.layer.count.clients, t)
	case t.state == completed:
		t.forgetLast()
		if c != nil && (t.kind == nonInviteClient || t.linger > 0) {
			c.tx, t.client = nil, nil // only the key is needed from here on, and the ACK
			if t.linger > 0 {
				if t.kind == inviteClient {
					c.passed = t.hash
				}
				sh.pass(sh.clients, &sh.layer.count.clients, t)
			}
		}
	case t.state == accepted:
		t.forgetLast()
	}
	switch {
	case c == nil:
	case a.do&doDeliver != 0:
		if c.req.Response != nil {
			c.req.Response(c, f, m)
		}
	case a.do&(doTimeout|doError) != 0:
		if c.req.Failed != nil {
			c.req.Failed(c, err)
		}
	}
	if c != nil && c.tx == nil {
		c.forget()
	}
}

// forget lets go of the User, who hears no more. The transport remembers for seconds
// whom to tell of a failure: it must not keep alive all that a request has led to.
func (c *Client) forget() { c.req, c.cancelFields = ClientRequest{}, nil }

// response takes a response from the inbox. It belongs to the transaction with
// that branch and its CSeq method, by whichever flow it came (RFC 3261 §17.1.3).
func (sh *Shard) response(f sip.Flow, m *sip.Message, branch string) {
	method := m.Method()
	sh.clientKey(branch, method)
	hash := sh.hash(sh.scratch)
	t := sh.clients.find(hash, sh.scratch)
	var done record
	if t == nil {
		k := nonInviteClient
		if method == "INVITE" {
			k = inviteClient
		}
		done = sh.past.find(k, hash, sh.scratch)
	}
	switch {
	case t == nil && done == nil:
		sh.layer.cfg.User.Stray(sh, f, m)
		return
	case t != nil && !t.admits(f) || done != nil && !sh.layer.admits(done.flow(), f):
		sh.layer.drop(&sh.layer.count.unprotected, f, m.Raw(), "a response by another way than its request went")
		return
	case done != nil && done.kind() == inviteClient:
		sh.anew(done, f, m)
		return
	case done != nil:
		sh.layer.absorbed(f, m)
		return
	}
	if t.class == classLingering && t.state == completed {
		sh.layer.absorbed(f, m)
	}
	t.clientEvent(statusEvent(m.Status()), f, m, nil)
}

// admits reports whether what came over f may belong to the transaction, whoever has
// read its branch. What goes over SAs is answered, acknowledged and cancelled by the
// same phone over SAs (TS 33.203 7.1). What is between us and the core is the core's:
// a phone reads the branches of all who have passed its INVITE on, and would answer
// past its own P-CSCF.
func (t *tx) admits(f sip.Flow) bool { return t.shard.layer.admits(t.to, f) }

func (l *Layer) admits(to, f sip.Flow) bool {
	if may := l.cfg.Peer; may != nil && !may(f) {
		return false
	}
	if guarded(to.Role) {
		return guarded(f.Role) && f.Remote.Addr() == to.Remote.Addr()
	}
	return to.Role == sip.RoleGm || f.Role != sip.RoleGm && !guarded(f.Role)
}

// guarded reports whether what passes a socket of that role goes over an SA.
func guarded(r sip.Role) bool {
	return r == sip.RoleProtectedServer || r == sip.RoleProtectedClient
}

func (sh *Shard) clientKey(branch, method string) {
	sh.scratch = append(append(append(sh.scratch[:0], branch...), 0), method...)
}

// Cancel asks for the end of an INVITE (RFC 3261 §9.1). The CANCEL is built from
// the request, with fields (a Reason, say) added, and goes the same way. It is
// sent now if a provisional has come, else as soon as one comes; a final response
// makes it void. The final response to the INVITE (487, or a 200 that crossed)
// comes to Response as ever; without one within 64·T1 Failed gets ErrTimeout.
func (c *Client) Cancel(fields ...sip.Field) {
	if c.tx == nil || c.final || c.cancelled || c.tx.kind != inviteClient {
		return
	}
	c.cancelled, c.cancelFields = true, fields
	if c.provisional {
		c.sendCancel()
	}
}

func (c *Client) sendCancel() {
	if c.cancelOut {
		return
	}
	c.cancelOut = true
	t := c.tx
	t.clientEvent(evCancel, sip.Flow{}, nil, nil)
	data := makeCancel(t.last, c.cancelFields)
	if data == nil {
		return
	}
	c.shard.Client(ClientRequest{
		Method: "CANCEL", Branch: c.req.Branch, Flow: c.flow, Timers: t.timers,
		Render:   func(sip.Flow) *sip.Buffer { return sip.BufferOf(data) },
		Fallback: c.shard.layer.redial,
	})
}

// redial is the way of a CANCEL whose connection has ended: another one to the
// same address, or the callee goes on ringing.
func (l *Layer) redial(failed sip.Flow, _ error) (sip.Flow, bool) {
	if failed.Conn == 0 {
		return sip.Flow{}, false
	}
	f := l.Redial(failed)
	return f, f.Remote.IsValid()
}

// Redial is the flow to the peer of f over a new connection, zero when there is
// none. It goes to the same address, from any port; but a protected port is one
// end of an SA (TS 33.203 7.1): a client port is kept, and a server port does not
// dial, unless Config.ReturnFlow knows what does.
func (l *Layer) Redial(f sip.Flow) sip.Flow {
	if l.cfg.ReturnFlow != nil {
		if back, ok := l.cfg.ReturnFlow(f, 0); ok {
			return back
		}
	}
	switch f.Conn = 0; f.Role {
	case sip.RoleProtectedClient:
	case sip.RoleProtectedServer:
		return sip.Flow{}
	default:
		f.Local = netip.AddrPortFrom(f.Local.Addr(), 0)
	}
	return f
}
