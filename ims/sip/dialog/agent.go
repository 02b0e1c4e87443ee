package dialog

import (
	"errors"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// Errors that an Outcome or a method reports.
var (
	// ErrUnbound: the Agent has no Core yet.
	ErrUnbound = errors.New("dialog: the agent is not bound to a core: call Bind first")
	// ErrTooMany: Config.MaxDialogs are open.
	ErrTooMany = errors.New("dialog: too many dialogs are open; raise MaxDialogs, or find out who does not end them")
	// ErrPending: an INVITE or an offer is on its way already (RFC 3261 14.1,
	// RFC 3311 5.1). Try again when it has been answered.
	ErrPending = errors.New("dialog: another INVITE or UPDATE of this session is not answered yet")
	// ErrState: the method does not fit the state of the session or subscription.
	ErrState = errors.New("dialog: not possible in this state")
	// ErrEnded: the dialog has ended.
	ErrEnded = errors.New("dialog: the dialog has ended")
	// ErrCancelled: the INVITE was cancelled, whatever was answered.
	ErrCancelled = errors.New("dialog: cancelled")
	// ErrNoAck: a 2xx was not acknowledged in 64·T1; the session was released.
	ErrNoAck = errors.New("dialog: the 2xx was not acknowledged in time")
	// ErrNoPrack: a reliable provisional was not acknowledged in 64·T1.
	ErrNoPrack = errors.New("dialog: the reliable provisional response was not acknowledged in time")
	// ErrNoNotify: a SUBSCRIBE was accepted but no NOTIFY came in 64·T1 (timer N).
	ErrNoNotify = errors.New("dialog: the subscription was accepted, but no NOTIFY came in time")
	// ErrExpired: the subscription ran out.
	ErrExpired = errors.New("dialog: the subscription has expired")
	// ErrBusy: too many NOTIFYs wait for the one before to be answered.
	ErrBusy = errors.New("dialog: the subscriber does not answer: too many NOTIFYs wait")
)

// Config configures an Agent. All of it may be left zero.
type Config struct {
	// Contact gives the value of our Contact, "<sip:me@192.0.2.1:5060>", where the
	// request or reply does not bring its own.
	Contact func() string
	// Hop says where requests go that do not bring a Hop of their own, and from
	// which socket: a phone's P-CSCF. It is asked for each request, so that it may
	// change during a dialog. A zero Hop follows the route set.
	Hop func() proxy.Hop
	// ViaParams are further parameters of our Via, as in ";rport".
	ViaParams string
	// Fields gives header lines for everything we send: requests (status 0) and
	// responses of a method. An ACK is a request too.
	Fields func(method string, status int) []sip.Field
	// Supported are the option tags that requests to us may Require; others get
	// 420 (RFC 3261 8.2.2.3).
	Supported []string
	// Allow is the value of Allow in a 405.
	Allow string
	// Request gets the requests outside dialogs when the Agent is the Core's
	// handler. nil: they get 405.
	Request func(in *Incoming)
	// TimersFor gives T1 and T2 for what the dialog layer retransmits. nil means
	// RFC 3261's values, and those of TS 24.229 7.7 on flows of a role towards
	// phones.
	TimersFor func(sip.Flow) transaction.Timers
	// MaxDialogs bounds dialogs and pending subscriptions; 0 means 1<<20.
	MaxDialogs int
	// Observer is told why something was refused or dropped; nil is off.
	Observer proxy.Observer
}

// Agent originates requests and owns the dialogs that come of it.
type Agent struct {
	cfg  Config
	core atomic.Pointer[proxy.Core]

	repeated atomic.Uint64

	// The dialogs themselves belong to their shards; the mutex guards the maps. They are
	// filed under a hash of their IDs: a map takes twice the room for as many once some
	// ten times as many have come and gone.
	seed    maphash.Seed
	mu      sync.Mutex
	dialogs map[uint64]*Dialog
	awaited map[half]*Subscription // subscriptions whose NOTIFY may come before the 2xx
	ongoing map[half]ongoing       // INVITEs of others that have no final response yet
}

// Repeated is how many responses to INVITEs were sent again because no ACK or PRACK came
// (RFC 3261 13.3.1.4, RFC 3262 3): those are no retransmissions of a transaction.
func (a *Agent) Repeated() uint64 { return a.repeated.Load() }

// repeats returns what sends a response again.
func (a *Agent) repeats(server *transaction.Server, status int, data []byte) func() {
	return func() {
		a.repeated.Add(1)
		server.Respond(status, data)
	}
}

// key is a dialog ID (RFC 3261 12).
type key struct{ callID, local, remote string }

// half is a dialog ID before one of the tags is known.
type half struct{ callID, tag string }

type ongoing struct {
	cseq uint32
	s    *Session
}

// New returns an Agent, to be bound to a Core before it can send. It is a
// proxy.Handler and proxy.AckHandler for an element that is nothing but a user
// agent; others call Deliver and DeliverAck from their own handler.
//
// A Core whose Agent answers calls needs a HandlerTimeout longer than a phone may
// ring.
func New(cfg Config) *Agent {
	if cfg.TimersFor == nil {
		cfg.TimersFor = defaultTimers
	}
	if cfg.MaxDialogs == 0 {
		cfg.MaxDialogs = 1 << 20
	}
	return &Agent{cfg: cfg, seed: maphash.MakeSeed(), dialogs: map[uint64]*Dialog{}, awaited: map[half]*Subscription{}, ongoing: map[half]ongoing{}}
}

func defaultTimers(f sip.Flow) transaction.Timers {
	switch f.Role {
	case sip.RoleGm, sip.RoleProtectedServer, sip.RoleProtectedClient:
		return transaction.GmTimers()
	}
	return transaction.DefaultTimers()
}

// Bind gives the Agent the Core that it sends with.
func (a *Agent) Bind(c *proxy.Core) { a.core.Store(c) }

// Dialogs returns how many dialogs are open.
func (a *Agent) Dialogs() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.dialogs) + len(a.awaited)
}

// full reports whether no further dialog may be made.
func (a *Agent) full() bool { return a.Dialogs() >= a.cfg.MaxDialogs }

func (a *Agent) find(k key) *Dialog {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d := a.dialogs[a.hash(k)]; d != nil && d.key() == k {
		return d
	}
	return nil
}

func (a *Agent) hash(k key) uint64 { return maphash.Comparable(a.seed, k) }

func (a *Agent) add(d *Dialog) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dialogs[a.hash(d.key())] = d
}

func (a *Agent) remove(d *Dialog) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.hash(d.key()); a.dialogs[h] == d {
		delete(a.dialogs, h)
	}
}

// Request takes a request as a user agent does: inside a dialog it must be one of
// ours (else 481), outside one it goes to Config.Request.
func (a *Agent) Request(x *proxy.Exchange) {
	if a.Deliver(x) {
		return
	}
	m := x.Req
	in := &Incoming{Req: m, Flow: x.Flow, agent: a, x: x}
	switch {
	case m.ToTag() != "":
		in.Reply(481, "", Part{})
	case a.refuseRequire(in):
	case m.Method() == "INVITE" && a.merged(m):
		in.Reply(482, "Merged Request", Part{})
	case a.cfg.Request == nil:
		in.notAllowed()
	default:
		a.cfg.Request(in)
	}
}

// Ack takes an ACK to a 2xx as a user agent does.
func (a *Agent) Ack(x *proxy.Exchange) {
	if !a.DeliverAck(x) {
		a.note(x.Req.CallID(), "an ACK that belongs to no dialog is dropped")
	}
}

// Deliver hands a request to the dialog of ours that it belongs to, and reports
// whether there is one. It does not touch the request otherwise.
func (a *Agent) Deliver(x *proxy.Exchange) bool {
	m := x.Req
	to := m.ToTag()
	if to == "" {
		return false
	}
	if d := a.find(key{m.CallID(), to, m.FromTag()}); d != nil {
		d.receive(x)
		return true
	}
	if m.Method() != "NOTIFY" {
		return false
	}
	a.mu.Lock()
	sub := a.awaited[half{m.CallID(), to}]
	a.mu.Unlock()
	return sub != nil && sub.adopt(x)
}

// DeliverAck is Deliver for an ACK.
func (a *Agent) DeliverAck(x *proxy.Exchange) bool {
	m := x.Req
	d := a.find(key{m.CallID(), m.ToTag(), m.FromTag()})
	if d == nil {
		return false
	}
	if s, ok := d.usage.(*Session); ok {
		s.acked(m)
	}
	return true
}

// merged reports whether m is an INVITE that has reached us by another way
// already and is still being answered (RFC 3261 8.2.2.2).
func (a *Agent) merged(m *sip.Message) bool {
	cseq, _ := m.CSeq()
	a.mu.Lock()
	defer a.mu.Unlock()
	o, ok := a.ongoing[half{m.CallID(), m.FromTag()}]
	return ok && o.cseq == cseq.Seq
}

// refuseRequire answers 420 when the request needs an extension that we do not
// have.
func (a *Agent) refuseRequire(in *Incoming) bool {
	if !in.Req.Has(sip.HRequire) {
		return false
	}
	var missing []string
	for tag := range in.Req.Values(sip.HRequire) {
		if !a.supports(tag) {
			missing = append(missing, tag)
		}
	}
	if missing == nil {
		return false
	}
	in.Reply(420, "", Part{}, sip.Field{ID: sip.HUnsupported, Value: strings.Join(missing, ", ")})
	return true
}

func (a *Agent) supports(tag string) bool {
	for _, s := range a.cfg.Supported {
		if strings.EqualFold(s, tag) {
			return true
		}
	}
	return false
}

func (a *Agent) fields(method string, status int) []sip.Field {
	if a.cfg.Fields == nil {
		return nil
	}
	return a.cfg.Fields(method, status)
}

func (a *Agent) contact() string {
	if a.cfg.Contact == nil {
		return ""
	}
	return a.cfg.Contact()
}

// hop is where a request goes: own if it is set.
func (a *Agent) hop(own proxy.Hop) proxy.Hop {
	if own != (proxy.Hop{}) || a.cfg.Hop == nil {
		return own
	}
	return a.cfg.Hop()
}

// timers are those for a request that goes to hop.
func (a *Agent) timers(hop proxy.Hop) transaction.Timers {
	f := hop.Flow
	if !f.Remote.IsValid() {
		f = sip.Flow{Proto: hop.Proto, Role: hop.Role, Remote: hop.Addr}
	}
	return a.cfg.TimersFor(f)
}

func (a *Agent) note(callID, text string) {
	if a.cfg.Observer != nil {
		a.cfg.Observer.Decision(callID, text)
	}
}
