package dialog

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// Incoming is a request to us that waits for its answer.
type Incoming struct {
	Req  *sip.Message
	Flow sip.Flow
	// Dialog is the dialog it came in, nil outside one.
	Dialog *Dialog
	// Data is the user's.
	Data any

	agent  *Agent
	x      *proxy.Exchange
	status int                                // of the final response, 0 before
	after  []func(status int, b *sip.Builder) // run when the final response has left
}

// Wrap makes an Incoming of an exchange, for a function that has received a
// request in its own handler and wants the Agent to answer it.
func (a *Agent) Wrap(x *proxy.Exchange) *Incoming {
	return &Incoming{Req: x.Req, Flow: x.Flow, agent: a, x: x}
}

// Exchange returns the exchange below.
func (in *Incoming) Exchange() *proxy.Exchange { return in.x }

// Replied reports whether a final response has been sent.
func (in *Incoming) Replied() bool { return in.status != 0 || in.x.Done() }

// Reply answers the request. reason "" is the usual phrase. A 2xx that refreshes
// the target carries our Contact, unless fields bring one. A second final
// response is ignored.
func (in *Incoming) Reply(status int, reason string, body Part, fields ...sip.Field) {
	if in.Replied() {
		return
	}
	b := in.build(status, reason, body, fields)
	in.send(status, b)
	b.Free()
}

func (in *Incoming) send(status int, b *sip.Builder) {
	if status >= 200 {
		in.status = status
	}
	in.x.Send(status, b)
	if status >= 200 {
		for _, f := range in.after {
			f(status, b)
		}
	}
}

// build writes a response.
func (in *Incoming) build(status int, reason string, body Part, fields []sip.Field) *sip.Builder {
	b := in.x.Response(status, reason)
	method := in.Req.Method()
	if status > 100 && status < 300 && refreshesTarget(method) && !hasField(fields, sip.HContact) {
		contact := ""
		if in.Dialog != nil {
			contact = in.Dialog.contact
		}
		if contact == "" {
			contact = in.agent.contact()
		}
		if contact != "" {
			b.Add(sip.HContact, contact)
		}
	}
	return b.AddFields(in.agent.fields(method, status)...).AddFields(fields...).Body(body.Type, body.Body)
}

// notAllowed answers 405.
func (in *Incoming) notAllowed() {
	in.Reply(405, "", Part{}, sip.Field{ID: sip.HAllow, Value: in.agent.cfg.Allow})
}

// refreshesTarget reports whether a method is a target refresh request (RFC 3261
// 12.2, RFC 3311, RFC 6665 4.4.1, RFC 3515).
func refreshesTarget(method string) bool {
	switch method {
	case "INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER":
		return true
	}
	return false
}

func hasField(fields []sip.Field, id sip.ID) bool {
	for _, f := range fields {
		if f.ID == id {
			return true
		}
	}
	return false
}
