package dialog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// State is what a dialog consists of (RFC 3261 12).
type State struct {
	CallID string
	// Local and Remote are the values of From and To of our requests, with tags.
	Local, Remote       string
	LocalTag, RemoteTag string
	Target              string   // URI of the remote target
	Routes              []string // values of Route, topmost first
	LocalCSeq           uint32   // of our last request; 0 when there was none
	RemoteCSeq          uint32   // of the peer's last request; 0 when there was none
	Secure              bool     // begun with a sips URI over TLS
}

// maxRoutes bounds a route set.
const maxRoutes = 32

// Dialog is one dialog of ours.
type Dialog struct {
	// Data is the user's.
	Data any

	State
	contact string    // value of our Contact; "": Config.Contact
	hop     proxy.Hop // zero: Config.Hop
	early   bool
	ended   bool
	agent   *Agent
	shard   *transaction.Shard
	usage   usage
}

// usage is what a dialog is for: a session or one side of a subscription.
type usage interface {
	// receive gets a request whose CSeq is in order.
	receive(in *Incoming)
}

// Detached makes a dialog of a state that somebody else keeps: a proxy that
// releases a call sends BYE both ways with it. Requests to us in that dialog are
// not delivered to it. hop says where its requests go, zero along the routes.
func (a *Agent) Detached(st State, hop proxy.Hop) (*Dialog, error) {
	core := a.core.Load()
	if core == nil {
		return nil, ErrUnbound
	}
	return &Dialog{State: st, hop: hop, agent: a, shard: core.Shard(st.CallID)}, nil
}

// Post runs f on the dialog's shard. It may be called from any goroutine.
func (d *Dialog) Post(f func()) { d.shard.Post(f) }

// Early reports whether the dialog is not confirmed yet.
func (d *Dialog) Early() bool { return d.early }

// Ended reports whether the dialog is over.
func (d *Dialog) Ended() bool { return d.ended }

func (d *Dialog) key() key { return key{d.CallID, d.LocalTag, d.RemoteTag} }

// newUAC makes the dialog that a response to r creates (RFC 3261 12.1.2), or,
// with a NOTIFY that overtook the response, that request (RFC 6665 4.4.1).
func (a *Agent) newUAC(sh *transaction.Shard, r *Request, m *sip.Message) *Dialog {
	d := &Dialog{agent: a, shard: sh, contact: r.Contact, hop: r.Hop}
	d.CallID, d.LocalTag, d.LocalCSeq = r.CallID, r.FromTag, r.CSeq
	d.Local = r.from()
	remote := m.Get(sip.HTo)
	if m.IsRequest() {
		remote = m.Get(sip.HFrom)
		d.RemoteTag = strings.Clone(m.FromTag())
		d.Routes = recorded(m, false)
	} else {
		d.RemoteTag = strings.Clone(m.ToTag())
		d.Routes = recorded(m, true)
	}
	d.Remote = strings.Clone(remote)
	d.Secure = strings.HasPrefix(strings.ToLower(r.URI), "sips:")
	d.Target = r.URI
	d.retarget(m)
	return d
}

// newUAS makes the dialog that our response to a request creates (12.1.1).
func (a *Agent) newUAS(in *Incoming) *Dialog {
	m := in.Req
	d := &Dialog{agent: a, shard: in.x.Shard}
	d.CallID = strings.Clone(m.CallID())
	d.LocalTag, d.RemoteTag = in.x.ToTag(), strings.Clone(m.FromTag())
	d.Local = sip.Tagged(m.Get(sip.HTo), d.LocalTag)
	d.Remote = strings.Clone(m.Get(sip.HFrom))
	d.Routes = recorded(m, false)
	if cseq, err := m.CSeq(); err == nil {
		d.RemoteCSeq = cseq.Seq
	}
	d.Secure = in.Flow.Proto == sip.TLS && strings.HasPrefix(strings.ToLower(m.RequestURI()), "sips:")
	if from, err := sip.ParseNameAddr(m.Get(sip.HFrom)); err == nil {
		d.Target = strings.Clone(from.URI) // until a Contact says better
	}
	d.retarget(m)
	return d
}

// recorded returns the route set that Record-Route makes: in order for a UAS,
// the other way round for a UAC.
func recorded(m *sip.Message, reverse bool) []string {
	var routes []string
	for v := range m.Values(sip.HRecordRoute) {
		if len(routes) == maxRoutes {
			break
		}
		routes = append(routes, strings.Clone(v))
	}
	if reverse {
		slices.Reverse(routes)
	}
	return routes
}

// retarget takes the remote target from a Contact.
func (d *Dialog) retarget(m *sip.Message) {
	v := m.First(sip.HContact)
	if v == "" {
		return
	}
	if c, err := sip.ParseNameAddr(v); err == nil && c.URI != "*" && c.URI != "" {
		d.Target = strings.Clone(c.URI)
	}
}

// build begins a request inside the dialog. method ACK needs cseq, that of its
// INVITE; others get the next.
func (d *Dialog) build(method string, cseq uint32, body Part, fields []sip.Field) *sip.Builder {
	if cseq == 0 {
		d.LocalCSeq++
		cseq = d.LocalCSeq
	}
	b := sip.NewRequest(method, d.Target)
	for _, r := range d.Routes {
		b.Add(sip.HRoute, r)
	}
	b.Add(sip.HMaxForwards, "70")
	b.Add(sip.HFrom, d.Local)
	b.Add(sip.HTo, d.Remote)
	b.Add(sip.HCallID, d.CallID)
	b.Add(sip.HCSeq, sip.CSeq{Seq: cseq, Method: method}.String())
	if refreshesTarget(method) && !hasField(fields, sip.HContact) {
		contact := d.contact
		if contact == "" {
			contact = d.agent.contact()
		}
		if contact != "" {
			b.Add(sip.HContact, contact)
		}
	}
	return b.AddFields(d.agent.fields(method, 0)...).AddFields(fields...).Body(body.Type, body.Body)
}

func (d *Dialog) target() proxy.Target {
	return proxy.Target{Hop: d.agent.hop(d.hop), ViaParams: d.agent.cfg.ViaParams}
}

// Do sends a request inside the dialog: any method but INVITE, ACK and CANCEL,
// which are the session's. done, which may be nil, gets the outcome once. A 2xx
// to a target refresh has been applied by then.
func (d *Dialog) Do(method string, body Part, fields []sip.Field, done func(Outcome)) error {
	switch {
	case d.ended:
		return ErrEnded
	case method == "INVITE" || method == "ACK" || method == "CANCEL":
		return fmt.Errorf("%w: %s is sent by the session", ErrState, method)
	}
	_, err := d.send(method, body, fields, nil, done)
	return err
}

func (d *Dialog) send(method string, body Part, fields []sip.Field, each func(*sip.Message), done func(Outcome)) (*proxy.Exchange, error) {
	core := d.agent.core.Load()
	if core == nil {
		return nil, ErrUnbound
	}
	if d.LocalCSeq >= 1<<31-1 {
		return nil, fmt.Errorf("%w: CSeq is used up", ErrState)
	}
	return d.agent.originate(core, d.build(method, 0, body, fields), d.target(), each, func(o Outcome) {
		if o.OK() && refreshesTarget(method) {
			d.retarget(o.Msg)
		}
		if done != nil {
			done(o)
		}
	})
}

// receive takes a request inside the dialog (12.2.2).
func (d *Dialog) receive(x *proxy.Exchange) {
	m := x.Req
	in := &Incoming{Req: m, Flow: x.Flow, Dialog: d, agent: d.agent, x: x}
	cseq, err := m.CSeq()
	switch {
	case err != nil:
		in.Reply(400, "Bad CSeq", Part{})
		return
	case d.RemoteCSeq != 0 && cseq.Seq <= d.RemoteCSeq:
		// The transaction layer has taken out retransmissions: this one is late,
		// or has come by two ways.
		d.agent.note(d.CallID, fmt.Sprintf("%s with CSeq %d after %d: out of order, 500", m.Method(), cseq.Seq, d.RemoteCSeq))
		in.Reply(500, "CSeq Out of Order", Part{})
		return
	}
	d.RemoteCSeq = cseq.Seq
	if d.agent.refuseRequire(in) {
		return
	}
	if refreshesTarget(m.Method()) {
		in.after = append(in.after, func(status int, _ *sip.Builder) {
			if status < 300 {
				d.retarget(m)
			}
		})
	}
	if d.usage == nil {
		in.Reply(481, "", Part{})
		return
	}
	d.usage.receive(in)
}

// end takes the dialog out of the table.
func (d *Dialog) end() {
	if !d.ended {
		d.ended = true
		d.agent.remove(d)
	}
}
