package dialog

import (
	"fmt"
	"strconv"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// Part is a message body and its Content-Type. The zero Part is no body.
type Part struct{ Type, Body string }

// Request is a request outside a dialog, or one that begins a dialog.
type Request struct {
	Method string
	URI    string // Request-URI
	// From and To are header values without tag: "<sip:user1@home1.net>".
	From, To string
	CallID   string // "": a new one
	FromTag  string // "": a new one
	CSeq     uint32 // 0: 1
	// Contact is the value of Contact; "" means Config.Contact for requests that
	// begin a dialog, and none for others.
	Contact string
	// Routes are the values of a preloaded Route, topmost first.
	Routes []string
	// Fields are further header lines.
	Fields []sip.Field
	Body   Part
	// Hop says where to send it, and everything in the dialog that it begins. Zero
	// means Config.Hop.
	Hop proxy.Hop
	// Timeout is how long each address has for its first response (see
	// proxy.Target). 0 leaves it to the transaction.
	Timeout time.Duration
}

// Outcome is how a request of ours ended.
type Outcome struct {
	// Status is that of the final response; without one 408 (no answer), 503 (it
	// could not be sent) or 487 (cancelled before it was sent).
	Status int
	// Msg is the final response, nil if there was none.
	Msg *sip.Message
	// Err says why there is no response, or why a 2xx is none.
	Err error
}

// OK reports whether a 2xx came.
func (o Outcome) OK() bool { return o.Err == nil && o.Status >= 200 && o.Status < 300 }

func (o Outcome) String() string {
	switch {
	case o.Err != nil:
		return fmt.Sprintf("%d (%v)", o.Status, o.Err)
	case o.Msg != nil:
		return fmt.Sprintf("%d %s", o.Status, o.Msg.Reason())
	}
	return strconv.Itoa(o.Status)
}

// Do sends a request outside any dialog; done, which may be nil, gets its outcome
// once, on the shard. It may be called from any goroutine. When the Core is
// closed meanwhile, done is not called.
func (a *Agent) Do(r *Request, done func(Outcome)) {
	req := *r
	req.complete()
	core := a.core.Load()
	if core == nil {
		if done != nil {
			done(Outcome{Status: 503, Err: ErrUnbound})
		}
		return
	}
	core.Shard(req.CallID).Post(func() {
		if _, err := a.originate(core, req.message(a), req.target(a), nil, done); err != nil && done != nil {
			done(Outcome{Status: 500, Err: err})
		}
	})
}

// complete fills in what was left to us.
func (r *Request) complete() {
	if r.CallID == "" {
		r.CallID = sip.NewCallID()
	}
	if r.FromTag == "" {
		r.FromTag = sip.NewTag()
	}
	if r.CSeq == 0 {
		r.CSeq = 1
	}
}

func (r *Request) from() string { return r.From + ";tag=" + r.FromTag }

// message writes the request.
func (r *Request) message(a *Agent) *sip.Builder {
	b := sip.NewRequest(r.Method, r.URI)
	for _, route := range r.Routes {
		b.Add(sip.HRoute, route)
	}
	b.Add(sip.HMaxForwards, "70")
	b.Add(sip.HFrom, r.from())
	b.Add(sip.HTo, r.To)
	b.Add(sip.HCallID, r.CallID)
	b.Add(sip.HCSeq, sip.CSeq{Seq: r.CSeq, Method: r.Method}.String())
	if r.Contact != "" {
		b.Add(sip.HContact, r.Contact)
	}
	return b.AddFields(a.fields(r.Method, 0)...).AddFields(r.Fields...).Body(r.Body.Type, r.Body.Body)
}

func (r *Request) target(a *Agent) proxy.Target {
	return proxy.Target{Hop: a.hop(r.Hop), Timeout: r.Timeout, ViaParams: a.cfg.ViaParams}
}

// originate sends a request and tells done how it ended. each, which may be nil,
// gets the provisional responses.
func (a *Agent) originate(core *proxy.Core, b *sip.Builder, t proxy.Target, each func(*sip.Message), done func(Outcome)) (*proxy.Exchange, error) {
	m, err := b.Message()
	if err != nil {
		return nil, fmt.Errorf("writing a request: %w", err)
	}
	return core.Originate(&proxy.Origin{
		Req: m, Target: t,
		Response: func(_ *proxy.Exchange, m *sip.Message) {
			switch {
			case m.Status() < 200:
				if each != nil {
					each(m)
				}
			case done != nil:
				done(Outcome{Status: m.Status(), Msg: m})
			}
		},
		Failed: func(_ *proxy.Exchange, status int, err error) {
			if done != nil {
				done(Outcome{Status: status, Err: err})
			}
		},
	})
}
