package ue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// maxChallenges bounds the 401s of one registration: one for the password, one
// more after AUTS, and room for a network that repeats itself.
const maxChallenges = 4

// registrar is the phone's registration (TS 24.229 5.1.1). All of it belongs to
// the shard of its Call-ID.
type registrar struct {
	phone  *Phone
	usim   *aka.USIM
	callID string
	cseq   uint32

	last    *sip.Credentials // repeated while nobody asks for others
	verify  []string         // Security-Server that came in clear, where nothing protects
	cnonce  string           // where the profile keeps one
	plain   bool             // the P-CSCF does not know sec-agree: not offered again
	doing   *procedure
	waiting []*procedure
	timer   transaction.Timer

	sub   *dialog.Subscription
	watch *watch // who waits for the subscription
}

// procedure is one registration, re-registration or deregistration.
type procedure struct {
	expires    uint32
	initial    bool         // in clear and without credentials: the network has no state of ours
	fetch      bool         // ask for the bindings, and change nothing
	offered    bool         // Security-Client has been made
	answer     *association // of the challenge that is being answered
	over       *association // on which the last REGISTER went, nil in clear
	contact    string       // its Contact
	bindings   []string     // what fetch has found
	next       int          // P-CSCFs tried
	challenges int
	raised     bool
	resync     bool
	algorithm  string
	cause      error // why the SIM did not accept the last challenge
	automatic  bool  // nobody waits: try again after a failure
	ended      bool
	joined     bool // to what the phone has begun by itself
	done       func(*Registration, error)
}

func (r *registrar) init(p *Phone, usim *aka.USIM) {
	r.phone, r.usim = p, usim
	r.callID = sip.NewCallID()
}

// Register registers the phone, or registers it again, and returns what was
// granted. It subscribes to the registration's state and keeps the registration
// alive. An error is an *Error.
func (p *Phone) Register(ctx context.Context) (*Registration, error) {
	return p.procedure(ctx, &procedure{expires: p.cfg.Expires})
}

// RegisterAnew registers the phone in clear and without credentials, as one does that
// the network has forgotten (TS 24.229 5.1.2A.1.6): security associations that it still
// has are replaced when the new ones stand. An error is an *Error.
func (p *Phone) RegisterAnew(ctx context.Context) (*Registration, error) {
	return p.procedure(ctx, &procedure{expires: p.cfg.Expires, initial: true})
}

// Deregister ends the registration (TS 24.229 5.1.1.6). An error is an *Error.
func (p *Phone) Deregister(ctx context.Context) error {
	if p.Registration() == nil {
		return &Error{Doing: "deregistering " + p.cfg.IMPU, Err: ErrNotRegistered}
	}
	_, err := p.procedure(ctx, &procedure{expires: 0})
	return err
}

func (p *Phone) procedure(ctx context.Context, op *procedure) (*Registration, error) {
	type result struct {
		r   *Registration
		err error
	}
	c := make(chan result, 1)
	op.done = func(r *Registration, err error) { c <- result{r, err} }
	doing := p.reg.what(op)
	p.shard().Post(func() { p.reg.start(op) })
	v, err := wait(ctx, p, c)
	if err != nil {
		next := make(chan string, 1)
		p.shard().Post(func() {
			next <- p.reg.silence(op)
			p.reg.abandon(op)
		})
		e := &Error{Doing: doing, Err: err}
		if ctx.Err() != nil {
			e.Next, _ = wait(context.Background(), p, next)
		}
		return nil, e
	}
	return v.r, v.err
}

func (r *registrar) what(op *procedure) string {
	verb := "registering"
	if op.expires == 0 {
		verb = "deregistering"
	}
	return fmt.Sprintf("%s %s at P-CSCF %v", verb, r.phone.cfg.IMPU, *r.phone.pcscf.Load())
}

func (r *registrar) start(op *procedure) {
	switch {
	case r.doing == nil:
		r.doing = op
		r.timer.Stop()
		if op.initial {
			r.last, r.verify = nil, nil
			r.lapse() // the network that knows no registration knows no subscription
		}
		r.send(op)
	case op.initial && r.doing.initial && r.doing.automatic:
		// The phone has begun by itself what it is asked for (see restoration).
		op.joined = true
		before := r.doing.done
		r.doing.done = func(g *Registration, err error) { before(g, err); op.done(g, err) }
	case len(r.waiting) >= 8:
		r.fail(op, &Error{Doing: r.what(op), Err: ErrBusy})
	default:
		r.waiting = append(r.waiting, op)
	}
}

// abandon forgets a procedure that nobody waits for. What the phone has begun by itself
// goes on, whoever else has waited for it.
func (r *registrar) abandon(op *procedure) {
	r.waiting = slices.DeleteFunc(r.waiting, func(w *procedure) bool { return w == op })
	op.done = func(*Registration, error) {}
	if op.joined {
		return
	}
	if r.doing == op {
		r.last = nil // the answer to a challenge that nobody has taken
		r.disarm()
	}
	r.finish(op, nil, context.Canceled)
}

// schedule registers anew after d.
func (r *registrar) schedule(d time.Duration) {
	r.timer.Stop()
	if r.phone.cfg.NoRefresh {
		return
	}
	r.timer = r.phone.shard().After(d, func() { r.again(false) })
}

// again registers without being asked to.
func (r *registrar) again(initial bool) {
	r.start(&procedure{expires: r.phone.cfg.Expires, initial: initial, automatic: true, done: func(*Registration, error) {}})
}

// retryAfter is when a re-registration that failed is tried again.
const retryAfter = time.Minute

// fail ends a procedure without success.
func (r *registrar) fail(op *procedure, e *Error) {
	p := r.phone
	p.failed(r.callID, e, "TS 24.229 5.1.1")
	r.last = nil
	r.disarm()
	switch {
	case e.Status == 403 || e.Status == 404: // TS 24.229 5.1.1.2.1: do not come back
		r.lost()
	case op.automatic:
		r.schedule(retryAfter)
	case p.Registration() != nil:
		r.schedule(dialog.RefreshAfter(time.Until(p.Registration().Until)))
	}
	r.finish(op, nil, e)
}

// disarm takes back the set that waits for a 200 which will not come. Those that are
// established stay (TS 33.203 7.3.1).
func (r *registrar) disarm() {
	if g := r.phone.guard; g != nil {
		g.forgo()
		g.publish()
	}
}

// finish tells whoever waits and begins what is queued.
func (r *registrar) finish(op *procedure, g *Registration, err error) {
	if op.ended {
		return
	}
	op.ended = true
	op.done(g, err)
	if r.doing != op {
		return
	}
	r.doing = nil
	if g := r.phone.guard; g != nil {
		g.dropOffer() // what nobody challenged
	}
	if len(r.waiting) > 0 {
		next := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.start(next)
	}
}
