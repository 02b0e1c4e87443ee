package ue

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/trace"
)

// Phone is a VoLTE phone that is switched on. It is safe for use by many
// goroutines.
type Phone struct {
	cfg     Config
	profile Profile
	core    *proxy.Core
	agent   *dialog.Agent
	sockets *sockets
	guard   *guard // nil without IPsec
	reg     registrar
	current atomic.Pointer[Registration]
	addr    atomic.Pointer[netip.AddrPort] // where it listens in clear
	pcscf   atomic.Pointer[netip.AddrPort] // in clear
	way     atomic.Pointer[way]
	faults  atomic.Pointer[Faults]
	silent  atomic.Bool    // its radio is off
	tasks   sync.WaitGroup // what runs aside

	ready    atomic.Bool // New is done
	closing  sync.Once
	closed   chan struct{}
	messages chan Message
	calls    chan *Call

	mu     sync.Mutex // guards what follows
	answer Answer
	port   int // of the last media stream
}

// maxUnread bounds the messages, and the calls, that nobody has taken yet. There may
// be thousands of phones in a process.
const maxUnread = 16

// allow are the methods that a phone takes.
const allow = "INVITE, ACK, OPTIONS, BYE, CANCEL, UPDATE, INFO, PRACK, NOTIFY, MESSAGE"

// supported are the option tags that a phone understands.
var supported = []string{"100rel", "precondition", "path", "sec-agree", "replaces"}

// New switches a phone on: it opens its sockets. Close switches it off.
func New(cfg Config) (*Phone, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	usim, err := cfg.usim()
	if err != nil {
		return nil, fmt.Errorf("configuring phone %q: %w", cfg.Name, err)
	}
	if cfg.Net == nil {
		cfg.Net = transport.Kernel()
	}
	if !cfg.Local.IsValid() {
		if cfg.Local, err = towards(cfg.PCSCF); err != nil {
			return nil, err
		}
	}
	p := &Phone{
		cfg: cfg, profile: Profiles[cfg.profile()], closed: make(chan struct{}), sockets: &sockets{clear: cfg.Net},
		messages: make(chan Message, maxUnread), calls: make(chan *Call, maxUnread), answer: cfg.Answer, port: firstMedia,
	}
	p.pcscf.Store(&cfg.PCSCF)
	p.addr.Store(&netip.AddrPort{}) // known when it listens; a message may come sooner
	p.way.Store(&way{})
	p.faults.Store(&cfg.Faults)
	pc := proxy.Config{
		Net: p.sockets, Shards: 1, MaxTransactions: 1024, Shape: p.shape,
		// A callee may let it ring for as long as it likes.
		HandlerTimeout: 24 * time.Hour,
		PassOptions:    true,
	}
	node.Deps{Log: cfg.Log, Trace: cfg.Trace}.ObserveSIP(&pc)
	if cfg.protects() {
		if err := p.protect(&pc); err != nil {
			return nil, fmt.Errorf("switching phone %q on: %w", cfg.Name, err)
		}
	}
	p.agent = dialog.New(dialog.Config{
		Contact: p.contact, Hop: p.hop, Fields: p.fields, ViaParams: p.profile.ViaParams,
		Supported: supported, Allow: allow, Request: p.request, Observer: pc.Observer,
	})
	if p.core, err = proxy.New(pc, door{p}); err != nil {
		p.unprotect()
		return nil, fmt.Errorf("switching phone %q on: %w", cfg.Name, err)
	}
	p.agent.Bind(p.core)
	if err := p.listen(cfg.Local, cfg.Port); err != nil {
		p.core.Close()
		p.unprotect()
		return nil, fmt.Errorf("switching phone %q on: %w", cfg.Name, err)
	}
	p.reg.init(p, usim)
	p.ready.Store(true)
	return p, nil
}

// listen opens the port at which the phone is reached in clear.
func (p *Phone) listen(addr netip.Addr, port uint16) error {
	a, err := p.core.Listen(transport.Listen{Addr: netip.AddrPortFrom(addr, port), UDP: true, TCP: true, Role: sip.RoleGm})
	if err != nil {
		return fmt.Errorf("listening on %v port %d: %w; choose another port, or 0 for any", addr, port, err)
	}
	p.sockets.listening(a.Port())
	p.addr.Store(&a)
	p.setWay(nil, nil)
	return nil
}

// towards returns our address on the way to a remote one.
func towards(remote netip.AddrPort) (netip.Addr, error) {
	c, err := net.Dial("udp", remote.String()) // sends nothing
	if err != nil {
		return netip.Addr{}, fmt.Errorf("finding the local address that leads to the P-CSCF %v: %w", remote, err)
	}
	defer c.Close()
	a, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, fmt.Errorf("finding the local address that leads to the P-CSCF %v: got %v", remote, c.LocalAddr())
	}
	return a.AddrPort().Addr().Unmap(), nil
}

// Close switches the phone off, without deregistering. Calls and methods that wait
// end with ErrClosed.
func (p *Phone) Close() {
	p.closing.Do(func() {
		close(p.closed)
		p.core.Close()
		p.tasks.Wait()
		p.unprotect()
	})
}

// aside runs work off the shard, and then with its error on it, unless the phone is
// switched off meanwhile. It is called on the shard.
func (p *Phone) aside(work func() error, then func(error)) {
	p.tasks.Go(func() {
		err := work()
		p.shard().Post(func() { then(err) })
	})
}

// Addr returns where the phone listens in clear.
func (p *Phone) Addr() netip.AddrPort { return *p.addr.Load() }

// Name returns the phone's name.
func (p *Phone) Name() string { return p.cfg.Name }

// Registration returns the registration in force, nil when there is none.
func (p *Phone) Registration() *Registration {
	r := p.current.Load()
	if r == nil || !time.Now().Before(r.Until) {
		return nil
	}
	return r
}

// Stats returns the numbers of the phone's SIP engine.
func (p *Phone) Stats() proxy.Stats { return p.core.Stats() }

// Repeated is how many responses the phone has sent again because no ACK or PRACK came,
// beside the retransmissions that Stats counts.
func (p *Phone) Repeated() uint64 { return p.agent.Repeated() }

// contactURI is the URI at which the phone is reached.
func (p *Phone) contactURI() string { return p.contactAt(p.way.Load().contact) }

func (p *Phone) contactAt(a netip.AddrPort) string {
	u := "sip:" + userOf(p.cfg.IMPI) + "@" + a.String()
	if p.cfg.Transport == sip.TCP {
		u += ";transport=tcp"
	}
	return u
}

// mmtel is the ICSI of multimedia telephony, as a feature tag carries it.
const mmtel = "urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"

// contact is the Contact of everything but REGISTER.
func (p *Phone) contact() string {
	return "<" + p.contactURI() + `>;+g.3gpp.icsi-ref="` + mmtel + `";audio`
}

// hop is the P-CSCF: a phone sends everything there.
func (p *Phone) hop() proxy.Hop { return p.way.Load().hop }

// fields are what the phone puts into everything it sends (TS 24.229 5.1.2A.1).
func (p *Phone) fields(method string, status int) []sip.Field {
	if method == "ACK" || status == 100 {
		return nil
	}
	f := []sip.Field{{ID: sip.HPAccessNetworkInfo, Value: p.profile.AccessNetwork}}
	switch {
	case p.profile.UserAgent == "":
	case status == 0:
		f = append(f, sip.Field{ID: sip.HUserAgent, Value: p.profile.UserAgent})
	default:
		f = append(f, sip.Field{ID: sip.HServer, Value: p.profile.UserAgent})
	}
	if w := p.way.Load(); len(w.verify) > 0 && status == 0 && method != "REGISTER" {
		f = append(f, sip.Field{ID: sip.HRequire, Value: "sec-agree"}, sip.Field{ID: sip.HProxyRequire, Value: "sec-agree"})
		f = append(f, p.verifyFields(w.verify)...)
	}
	return f
}

// shard is where the phone's registration happens.
func (p *Phone) shard() *transaction.Shard { return p.core.Shard(p.reg.callID) }

// request takes a request outside dialogs.
func (p *Phone) request(in *dialog.Incoming) {
	if !p.ready.Load() {
		in.Reply(480, "Still Switching On", dialog.Part{})
		return
	}
	switch in.Req.Method() {
	case "INVITE":
		p.invited(in)
	case "MESSAGE":
		p.messaged(in)
	case "OPTIONS":
		in.Reply(200, "", dialog.Part{}, sip.Field{ID: sip.HAllow, Value: allow}, sip.Field{ID: sip.HAccept, Value: sdpType})
	default:
		in.Reply(405, "", dialog.Part{}, sip.Field{ID: sip.HAllow, Value: allow})
	}
}

// wait returns what a callback delivers through c, unless ctx or the phone ends
// first.
func wait[T any](ctx context.Context, p *Phone, c <-chan T) (T, error) {
	select {
	case v := <-c:
		return v, nil
	default:
	}
	var zero T
	select {
	case v := <-c:
		return v, nil
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	case <-p.closed:
		return zero, ErrClosed
	}
}

// state tells trace and log of a change.
func (p *Phone) state(callID, text, clause string) {
	p.cfg.Log.Info(text, zap.String("ue", p.cfg.Name), zap.String("impi", p.cfg.IMPI), zap.String("call_id", callID))
	if p.cfg.Trace.On() {
		p.cfg.Trace.Emit(trace.Event{Kind: trace.State, CallID: callID, IMPI: p.cfg.IMPI, Text: text, Clause: clause})
	}
}

// failed tells the trace of a failure; whoever called gets the error itself.
func (p *Phone) failed(callID string, err *Error, clause string) {
	p.cfg.Log.Warn("failed", zap.String("ue", p.cfg.Name), zap.String("impi", p.cfg.IMPI), zap.String("call_id", callID), zap.Error(err))
	if p.cfg.Trace.On() {
		text := *err
		text.Next = ""
		p.cfg.Trace.Emit(trace.Event{Kind: trace.Failure, CallID: callID, IMPI: p.cfg.IMPI, Text: text.Error(), Clause: clause, Next: err.Next})
	}
}
