package ue

import (
	"context"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// Message is an instant message that has come (RFC 3428).
type Message struct {
	From        string // the asserted identity, else the From URI
	CallID      string
	ContentType string
	Body        string
}

// Message sends text in a MESSAGE and waits until it has been accepted. An error
// is an *Error.
func (p *Phone) Message(ctx context.Context, to, text string) error {
	doing := "sending a message to " + to
	g := p.Registration()
	if g == nil {
		return &Error{Doing: doing, Err: ErrNotRegistered, Next: "call Register first"}
	}
	ruri, err := target(to, p.cfg.Domain, Tel)
	if err != nil {
		return &Error{Doing: doing, Err: err}
	}
	req := p.newRequest("MESSAGE", ruri, g)
	req.CallID = sip.NewCallID()
	req.Body = dialog.Part{Type: "text/plain;charset=UTF-8", Body: text}
	c := make(chan dialog.Outcome, 1)
	p.agent.Do(req, func(o dialog.Outcome) {
		p.restoration(o)
		c <- o
	})
	o, err := wait(ctx, p, c)
	if err != nil {
		return &Error{Doing: doing, Err: err}
	}
	if !o.OK() {
		e := seen(doing, o)
		p.failed(req.CallID, e, "RFC 3428 4")
		return e
	}
	return nil
}

// Messages gives the messages that come. Beyond 16 that nobody takes, further ones
// are refused with 480.
func (p *Phone) Messages() <-chan Message { return p.messages }

func (p *Phone) messaged(in *dialog.Incoming) {
	m := Message{
		From: peerOf(in.Req), CallID: strings.Clone(in.Req.CallID()),
		ContentType: strings.Clone(in.Req.Get(sip.HContentType)), Body: strings.Clone(in.Req.Body()),
	}
	select {
	case p.messages <- m:
		in.Reply(200, "", dialog.Part{})
	default:
		in.Reply(480, "Too Many Messages Unread", dialog.Part{})
	}
}

// peerOf is who a request is from: whom the network asserts, else From.
func peerOf(m *sip.Message) string {
	for _, id := range [...]sip.ID{sip.HPAssertedIdentity, sip.HFrom} {
		if a, err := sip.ParseNameAddr(m.First(id)); err == nil {
			return strings.Clone(a.URI)
		}
	}
	return ""
}
