package proxy

import (
	"errors"

	"github.com/gocscf/gocscf/ims/sip"
)

// Origin is a request of our own, to be sent by the same rules as one that is
// forwarded: route set, addresses, size, Via.
type Origin struct {
	// Req is the request without Via. Max-Forwards is added if it is missing.
	Req *sip.Message
	// Target says where it goes.
	Target Target
	// Response gets each provisional but 100, each 2xx, and one final.
	Response func(x *Exchange, m *sip.Message)
	// Failed is called instead of the final response: 408 for a time-out, 503
	// for what could not be sent, 487 for what was cancelled before that.
	Failed func(x *Exchange, status int, err error)
}

var errNotRequest = errors.New("originating: not a request, or an ACK")

// Originate sends a request of our own. It must be called on the shard of its
// Call-ID (Core.Shard); Response and Failed come there, not before Originate has
// returned. An ACK goes with SendAck.
//
// The Exchange returned can be cancelled with CancelBranches, and has hooks like
// any other. o.Req must not be changed afterwards.
func (c *Core) Originate(o *Origin) (*Exchange, error) {
	if !o.Req.IsRequest() || o.Req.Method() == "ACK" || o.Req.Method() == "CANCEL" {
		return nil, errNotRequest
	}
	sh := c.layer.Shard(o.Req.CallID())
	x := &Exchange{Req: o.Req, Shard: sh, core: c, origin: o, start: c.layer.Now(), ruri: o.Req.RequestURI()}
	x.loop = hashOf(o.Req, c.seed)
	x.starting = true
	x.Forward(o.Target)
	x.starting = false
	if x.live == 0 && !x.done { // it failed at once; say so later
		sh.Post(x.check)
	}
	return x, nil
}

// SendAck sends an ACK to a 2xx, which has no transaction. It must be called on
// the shard of its Call-ID, for each 2xx again.
func (c *Core) SendAck(m *sip.Message, t Target) error {
	if m.Method() != "ACK" {
		return errors.New("sending an ACK: not an ACK")
	}
	x := &Exchange{Req: m, Shard: c.layer.Shard(m.CallID()), core: c, ack: true, origin: &Origin{}, ruri: m.RequestURI()}
	x.loop = hashOf(m, c.seed)
	x.pass(&t)
	return nil
}

// Cancel cancels a request of our own; fields (a Reason) go into the CANCEL.
func (x *Exchange) Cancel(fields ...sip.Field) {
	if x.origin == nil || x.done {
		return
	}
	x.cancelFields = fields
	x.CancelBranches()
	if !x.done && x.live == 0 {
		x.giveUp(487, "cancelled before it was sent")
	}
}
