package ue

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/uri"
	"github.com/gocscf/gocscf/ipsec"
)

// Registration is what the network has granted.
type Registration struct {
	Contact string // our contact URI
	Expires time.Duration
	Until   time.Time
	// ServiceRoute are the values of Service-Route, in order (RFC 3608).
	ServiceRoute []string
	// Identities are the URIs of P-Associated-URI; Default is the one to call by:
	// the first sip URI of them, else the IMPU that was registered.
	Identities []string
	Default    string
	PCSCF      netip.AddrPort
	// Challenges is how many 401s came before the 200; 0 for a re-registration
	// that was not challenged.
	Challenges int
	// Resynchronised tells that the SIM's sequence number was sent (AUTS).
	Resynchronised bool
	Algorithm      string // of the last challenge
	CallID         string
	// Protection is what protects it, nil when nothing does.
	Protection *Protection
}

// Protection is a set of security associations in use, seen from the phone.
type Protection struct {
	Backend       string // "user" or "kernel"
	Pair          ipsec.Pair
	Mode          ipsec.Mode
	Local, Remote ipsec.End
	// Verify is the Security-Server that Security-Verify repeats.
	Verify []string
}

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

	sub *dialog.Subscription
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
	case len(r.waiting) >= 8:
		r.fail(op, &Error{Doing: r.what(op), Err: ErrBusy})
	default:
		r.waiting = append(r.waiting, op)
	}
}

// abandon forgets a procedure that nobody waits for.
func (r *registrar) abandon(op *procedure) {
	r.waiting = slices.DeleteFunc(r.waiting, func(w *procedure) bool { return w == op })
	op.done = func(*Registration, error) {}
	if r.doing == op {
		r.last = nil // the answer to a challenge that nobody has taken
		r.disarm()
	}
	r.finish(op, nil, context.Canceled)
}

// send sends a REGISTER (TS 24.229 5.1.1.2.1, 5.1.1.4.1): the answer to a challenge
// over the set that came with it, others over the current set if there is one.
func (r *registrar) send(op *procedure) {
	p := r.phone
	op.over = op.answer
	if g := p.guard; g != nil && op.over == nil {
		if !op.initial {
			op.over = g.current
		}
		if !op.offered || g.offered == nil {
			if err := g.newOffer(); err != nil {
				r.fail(op, &Error{Doing: r.what(op), Err: err, Next: "look at what else listens at the phone's address"})
				return
			}
			op.offered = true
		}
	}
	ruri := "sip:" + p.cfg.Domain
	auth := sip.Credentials{Scheme: "Digest", Username: p.cfg.IMPI, Realm: p.cfg.Domain, URI: ruri}
	if r.last != nil {
		auth = *r.last
	}
	r.cseq++
	req := &dialog.Request{
		Method: "REGISTER", URI: ruri, From: "<" + p.cfg.IMPU + ">", To: "<" + p.cfg.IMPU + ">",
		CallID: r.callID, CSeq: r.cseq, Fields: []sip.Field{{ID: sip.HAuthorization, Value: string(auth.AppendTo(nil))}},
		Body: p.profile.Body,
	}
	req.Hop, op.contact = r.to(op.over)
	if !op.fetch {
		req.Contact = r.contact(op.contact)
		req.Fields = append(req.Fields, sip.Field{ID: sip.HExpires, Value: strconv.FormatUint(uint64(op.expires), 10)})
	}
	req.Fields = append(req.Fields, sip.Field{ID: sip.HSupported, Value: p.profile.Supported}, sip.Field{ID: sip.HAllow, Value: allow})
	req.Fields = append(req.Fields, p.profile.Fields...)
	if p.cfg.offers() && !r.plain {
		req.Fields = append(req.Fields, r.securityFields(op)...)
	}
	p.agent.Do(req, func(o dialog.Outcome) {
		if r.doing == op && !p.silent.Load() {
			r.answered(op, o)
		}
	})
}

// to is where a REGISTER over a set goes, and the contact that it registers: port_us
// once the phone has one that is protected (TS 24.229 5.1.1.2.2).
func (r *registrar) to(over *association) (proxy.Hop, string) {
	p := r.phone
	hop := proxy.Hop{Addr: *p.pcscf.Load(), Proto: p.cfg.Transport, Role: sip.RoleGm}
	if over == nil {
		return hop, p.contactAt(p.Addr())
	}
	proto := p.cfg.Transport
	if p.profile.RegisterTCP {
		proto = sip.TCP
	}
	contact := p.contactAt(over.set.Local.Server())
	if p.faults.Load().ClearRegister && over == p.guard.current {
		hop.Addr = over.set.Remote.Server()
		return hop, contact
	}
	return over.hop(proto), contact
}

// contact is the Contact of a REGISTER (TS 24.229 5.1.1.2.1 d, IR.92 2.2.1).
func (r *registrar) contact(uri string) string {
	p := r.phone
	return "<" + uri + ">" + p.profile.ContactParams + `;+sip.instance="` + p.cfg.Instance +
		`";+g.3gpp.icsi-ref="` + mmtel + `";+g.3gpp.smsip;audio`
}

// securityFields offer IPsec, and repeat what the P-CSCF has offered (RFC 3329 2.3.1,
// TS 33.203 7.2).
func (r *registrar) securityFields(op *procedure) []sip.Field {
	p := r.phone
	f := []sip.Field{{ID: sip.HRequire, Value: "sec-agree"}, {ID: sip.HProxyRequire, Value: "sec-agree"}}
	var lines []string
	switch g := p.guard; {
	case g == nil: // nothing but talk
		e := ipsec.End{PortC: p.Addr().Port() ^ 1, PortS: p.Addr().Port()}
		e.SPIC, e.SPIS = freshSPIs(p.profile.Security.MinSPI)
		lines = p.profile.Security.lines(p.cfg.Offer, []ipsec.Mode{ipsec.Transport}, e)
	case op.answer != nil: // the offer that was challenged
		lines = op.answer.offer.lines
	default:
		lines = g.offered.lines
	}
	for _, v := range lines {
		f = append(f, sip.Field{ID: sip.HSecurityClient, Value: v})
	}
	if op.over != nil {
		return append(f, p.verifyFields(op.over.server)...)
	}
	return append(f, p.verifyFields(r.verify)...)
}

// answered takes the outcome of a REGISTER (TS 24.229 5.1.1.2.1, 5.1.1.5).
func (r *registrar) answered(op *procedure, o dialog.Outcome) {
	p := r.phone
	switch {
	case o.OK():
		r.granted(op, o.Msg)
	case o.Status == 401 && o.Msg != nil:
		r.challenged(op, o)
	case o.Status == 423 && o.Msg != nil && !op.raised && op.expires != 0:
		least, ok := sip.ParseDelta(o.Msg.Get(sip.HMinExpires))
		if !ok || least <= op.expires {
			r.fail(op, r.refused(op, o))
			return
		}
		op.raised, op.expires = true, least
		r.send(op)
	case o.Status == 420 && o.Msg != nil && p.cfg.IPsec == ipsecAuto && !r.plain && op.over == nil:
		p.state(r.callID, "The P-CSCF does not know sec-agree: going on in clear.", "RFC 3329 2.3.1")
		r.plain = true
		r.send(op)
	case o.Msg == nil && op.over != nil && op.over == p.guard.current && op.expires != 0 && !op.fetch && !p.faults.Load().ClearRegister:
		// A P-CSCF that was restarted knows nothing of our associations.
		p.state(r.callID, fmt.Sprintf("%v: registering anew in clear.", r.refused(op, o)), "TS 24.229 5.1.1.4.1")
		r.inClear(op)
		r.send(op)
	case o.Status >= 300 && o.Status < 400, o.Status == 408, o.Status >= 500 && o.Status < 600:
		// TS 24.229 5.1.1.2.1: another P-CSCF, where there is one.
		if op.next < len(p.cfg.Alternates) {
			next := p.cfg.Alternates[op.next]
			op.next++
			p.state(r.callID, fmt.Sprintf("%v: trying the P-CSCF %v.", r.refused(op, o), next), "TS 24.229 5.1.1.2.1")
			p.pcscf.Store(&next)
			r.inClear(op)
			r.send(op)
			return
		}
		r.fail(op, r.refused(op, o))
	default:
		r.fail(op, r.refused(op, o))
	}
}

// inClear has a procedure begin again as if there had been no registration: the
// P-CSCF that it goes to has no association with the phone.
func (r *registrar) inClear(op *procedure) {
	r.last, r.verify = nil, nil
	op.initial, op.answer, op.offered = true, nil, false
	if g := r.phone.guard; g != nil {
		g.leave(true)
	}
	r.phone.setWay(nil, nil)
}

// challenged takes a 401.
func (r *registrar) challenged(op *procedure, o dialog.Outcome) {
	if op.challenges++; op.challenges > maxChallenges {
		r.fail(op, r.refused(op, o))
		return
	}
	answer, err := r.authenticate(o.Msg, "sip:"+r.phone.cfg.Domain)
	if err != nil {
		e := r.refused(op, o)
		e.Err = err
		e.Next = "look at the WWW-Authenticate of the 401: want Digest with an AKA algorithm and a nonce of RAND and AUTN"
		r.fail(op, e)
		return
	}
	op.algorithm, op.cause = answer.algorithm, answer.cause
	var sync *aka.SyncFailureError
	if errors.As(answer.cause, &sync) {
		op.resync = true
	}
	if answer.cause != nil {
		r.phone.state(r.callID, fmt.Sprintf("The SIM refuses the challenge: %v.", answer.cause), "TS 24.229 5.1.1.5.3")
	}
	r.last = &answer.credentials
	g := r.phone.guard
	if g == nil || r.plain {
		r.verify = nil
		for v := range o.Msg.Values(sip.HSecurityServer) {
			r.verify = append(r.verify, strings.Clone(v))
		}
		r.send(op)
		return
	}
	// The set of a challenge that was answered before, and is repeated, goes; what
	// the SIM refuses gets no set, and its answer the way of the REGISTER before, with
	// a new offer (TS 24.229 5.1.1.5.3).
	base := op.over
	if base != nil && base == op.answer {
		base = base.base
	}
	op.answer = nil
	if answer.cause != nil {
		g.retire(&g.temp)
		op.offered = false
		r.send(op)
		return
	}
	g.challenged(o.Msg, answer.keys, base, func(a *association, err error) {
		switch {
		case r.doing != op:
			if a != nil {
				g.over(a)
			}
		case errors.Is(err, errNoServer) && r.phone.cfg.IPsec == ipsecAuto && base == nil:
			r.phone.state(r.callID, "The P-CSCF agrees to no IPsec: going on in clear.", "RFC 3329 2.3.1")
			r.send(op)
		case err != nil:
			e := r.refused(op, o)
			e.Err, e.Next = err, r.disagreement(err)
			r.fail(op, e)
		default:
			op.answer = a
			r.send(op)
		}
	})
}

// disagreement is what to do about a failed security agreement.
func (r *registrar) disagreement(err error) string {
	switch {
	case errors.Is(err, errNoServer):
		return "the P-CSCF has no IPsec, or not for this phone: set its policy to required, or have the phone go without (IPsec none)"
	case errors.Is(err, ErrNoAgreement):
		return "compare the algorithms of the P-CSCF with those that the phone offers; if it was not the P-CSCF that wrote this, somebody changes messages on the way"
	}
	return "look at the phone's stack: " + r.phone.guard.stack.Name() + " space protects, and needs what its error says"
}

// granted takes the 200.
func (r *registrar) granted(op *procedure, m *sip.Message) {
	p := r.phone
	switch {
	case op.fetch:
		for v := range m.Values(sip.HContact) {
			if a, err := sip.ParseNameAddr(v); err == nil {
				op.bindings = append(op.bindings, strings.Clone(a.URI))
			}
		}
		r.finish(op, p.Registration(), nil)
		return
	case op.expires == 0:
		r.lost()
		p.state(r.callID, p.cfg.IMPU+" is not registered any more.", "TS 24.229 5.1.1.6")
		r.finish(op, nil, nil)
		return
	}
	g := &Registration{
		Contact: op.contact, PCSCF: *p.pcscf.Load(), Default: p.cfg.IMPU, CallID: r.callID,
		Challenges: op.challenges, Resynchronised: op.resync, Algorithm: op.algorithm,
	}
	seconds, ok := grantedExpires(m, g.Contact, op.expires)
	if !ok {
		e := &Error{Doing: r.what(op), Status: m.Status(), Reason: strings.Clone(m.Reason()), Err: errors.New("the 200 does not list our contact"),
			Next: "look at what the registrar has stored: the Contact of the 200 must hold " + g.Contact + " (RFC 3261 10.3)"}
		r.fail(op, e)
		return
	}
	g.Expires = time.Duration(seconds) * time.Second
	g.Until = time.Now().Add(g.Expires)
	for v := range m.Values(sip.HServiceRoute) {
		g.ServiceRoute = append(g.ServiceRoute, strings.Clone(v))
	}
	for v := range m.Values(sip.HPAssociatedURI) {
		if a, err := sip.ParseNameAddr(v); err == nil {
			g.Identities = append(g.Identities, strings.Clone(a.URI))
		}
	}
	if i := slices.IndexFunc(g.Identities, func(u string) bool { return strings.HasPrefix(strings.ToLower(u), "sip:") }); i >= 0 {
		g.Default = g.Identities[i]
	}
	r.secured(op, g)
	p.current.Store(g)
	r.schedule(dialog.RefreshAfter(g.Expires))
	p.state(r.callID, fmt.Sprintf("%s is registered for %v; challenges: %d.", p.cfg.IMPU, g.Expires, op.challenges), "TS 24.229 5.1.1.2.1")
	if r.sub == nil && !p.cfg.NoSubscribe {
		r.subscribe(g)
	}
	r.finish(op, g, nil)
}

// secured makes the set that the REGISTER went over the current one.
func (r *registrar) secured(op *procedure, reg *Registration) {
	p, a := r.phone, op.over
	g := p.guard
	switch {
	case g == nil, a == nil:
		p.setWay(nil, r.verify)
		return
	case a != g.temp && a != g.current: // its time was up meanwhile
		return
	}
	g.established(a, reg.Expires)
	s := a.set
	reg.Protection = &Protection{Backend: g.stack.Name(), Pair: s.Pair, Mode: s.Mode, Local: s.Local, Remote: s.Remote, Verify: a.server}
	p.setWay(a, nil)
}

// grantedExpires returns for how many seconds the 200 has registered our contact.
func grantedExpires(m *sip.Message, contact string, asked uint32) (uint32, bool) {
	ours, err := uri.Parse(contact)
	if err != nil {
		return 0, false
	}
	seconds, ok := m.Expires()
	if !ok {
		seconds = asked
	}
	for v := range m.Values(sip.HContact) {
		c, err := sip.ParseNameAddr(v)
		if err != nil {
			continue
		}
		u, err := uri.Parse(c.URI)
		if err != nil || !uri.Equal(u, ours) {
			continue
		}
		if own, ok := c.Expires(); ok {
			seconds = own
		}
		return seconds, seconds > 0
	}
	return 0, false
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

// lost forgets the registration, and the subscription with it (TS 24.229 5.1.1.6.1).
func (r *registrar) lost() {
	r.forget()
	if g := r.phone.guard; g != nil {
		g.leave(false)
	}
	r.phone.setWay(nil, nil)
}

// forget is lost, but for the security associations.
func (r *registrar) forget() {
	r.timer.Stop()
	r.phone.current.Store(nil)
	r.last, r.verify = nil, nil
	r.lapse()
}

// unprotected hears that the current set's time is up: the registration's was before.
func (r *registrar) unprotected() {
	r.forget()
	r.phone.setWay(nil, nil)
}

// gone forgets everything, as a phone does whose battery was taken out; the network
// is not told.
func (r *registrar) gone() {
	r.forget()
	r.plain = false
	if g := r.phone.guard; g != nil {
		g.leave(true)
		g.ports = 0
		g.closeAll()
	}
	r.phone.setWay(nil, nil)
}

// cut is gone for Faults.Cut.
func (r *registrar) cut() {
	r.gone()
	if op := r.doing; op != nil {
		r.fail(op, &Error{Doing: r.what(op), Err: ErrCut})
	}
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
		g.retire(&g.temp)
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

// silence is what to do when nothing is answered.
func (r *registrar) silence(op *procedure) string {
	switch {
	case op.over == nil:
		return fmt.Sprintf("check that a P-CSCF listens at %v over %v and that nothing between drops it", *r.phone.pcscf.Load(), r.phone.cfg.Transport)
	case op.over == op.answer:
		return fmt.Sprintf("the 401 came in clear, but nothing over %v: look whether ESP reaches the P-CSCF, and what that says of this phone (pcscf --explain %s)", op.over.set, r.phone.cfg.IMPI)
	}
	return fmt.Sprintf("nothing comes over %v, which was in use: look whether the P-CSCF has been restarted (pcscf --explain %s); Reset has the phone come in clear", op.over.set, r.phone.cfg.IMPI)
}

// listed are the algorithms of the Security-Server in a 494 (RFC 3329 2.3.1).
func listed(m *sip.Message) string {
	var pairs []string
	for v := range m.Values(sip.HSecurityServer) {
		if s, err := sip.ParseSecMechanism(v); err == nil && s.IsIPsec() {
			pairs = append(pairs, strings.Clone(s.Alg+"/"+s.Encryption()))
		}
		if len(pairs) == maxServer {
			break
		}
	}
	if pairs == nil {
		return "no Security-Server with IPsec"
	}
	return strings.Join(pairs, ", ")
}

// refused makes the error for a REGISTER that was not accepted.
func (r *registrar) refused(op *procedure, o dialog.Outcome) *Error {
	e := seen(r.what(op), o)
	if op.cause != nil {
		e.Err = op.cause
	}
	cfg := &r.phone.cfg
	switch {
	case errors.Is(op.cause, aka.ErrMACFailure):
		e.Next = "compare K and OPc of " + cfg.IMPI + " between the phone and the HSS"
	case op.resync && e.Status != 0:
		e.Next = "the SIM asked for resynchronisation and was refused: look at the HSS, K and OPc agree but it does not take SQN_MS over"
	case e.Status == 401:
		e.Next = fmt.Sprintf("the network challenged %d times: look at the S-CSCF, which takes no answer", op.challenges)
	case e.Status == 403 && op.challenges > 0:
		e.Next = "the answer to the challenge was refused: compare K, OPc and the algorithm of " + cfg.IMPI + " with the HSS, and look at the S-CSCF's log"
	case e.Status == 403 || e.Status == 404:
		e.Next = "check at the HSS that " + cfg.IMPI + " exists, owns " + cfg.IMPU + " and may register in this network"
	case e.Status == 421:
		e.Next = "the P-CSCF insists on IPsec: use a phone that has it (IPsec user or kernel), or set the P-CSCF's policy to none"
	case e.Status == 420:
		e.Next = "the P-CSCF does not know " + strings.Clone(o.Msg.Get(sip.HUnsupported)) + ": give it a policy of IPsec, or use a phone without (IPsec none)"
	case e.Status == 494:
		e.Next = "the P-CSCF does not accept the security agreement: it has " + listed(o.Msg) + "; compare its Security-Server with the phone's Security-Client and Security-Verify"
	case e.Status == 0:
		e.Next = r.silence(op)
	case e.Status >= 500 || e.Status == 480 || e.Status == 408:
		e.Next = "a node behind the P-CSCF did not answer: look at the logs of I-CSCF, S-CSCF and HSS for this Call-ID " + r.callID
	}
	return e
}
