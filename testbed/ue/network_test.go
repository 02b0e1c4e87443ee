package ue

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	goleak.VerifyTestMain(m)
}

const domain = "ims.mnc001.mcc001.3gppnetwork.org"

var (
	testK   = must(aka.ParseSecret("465b5ce8b199b49faa5f0a2ee238a6bc"))
	testOPc = must(aka.ParseSecret("cd63cb71954a9f4e48a5994e37a02baf"))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// network is a P-CSCF, registrar and notifier in one, scripted by the test.
type network struct {
	t     *testing.T
	core  *proxy.Core
	agent *dialog.Agent
	addr  netip.AddrPort

	mu         sync.Mutex
	alg        aka.Algorithm
	sqn        aka.SQNState
	qop        string
	expires    uint32                       // granted at most
	beyond     string                       // further entries of Service-Route
	intercept  func(x *proxy.Exchange) bool // true: answered
	refuse     atomic.Int32                 // what every SUBSCRIBE is answered, 0 for nothing
	registers  []*sip.Message               // as they came
	last       []*sip.Message               // other requests from phones
	nonces     map[string]challenge         // by IMPI
	contacts   map[string]netip.AddrPort    // by user part
	uris       map[string]string            // by user part
	granted    map[string]bool              // nonces that may be repeated
	notifiers  map[string]*dialog.Notifier  // by user part
	versions   map[*dialog.Notifier]uint32
	flows      []sip.Flow                  // of registers
	ended      chan dialog.SubscriptionEnd // of subscriptions, some
	akav2      bool                        // challenges are AKAv2-SHA-256
	noServer   bool                        // no Security-Server
	auts       int                         // resynchronisations
	gate       *gate                       // nil: without IPsec
	subscriber string                      // who has subscribed last
}

type challenge struct {
	vector aka.Vector
	nonce  string
}

// newNetwork starts it at 192.0.2.100, phones being 192.0.2.1 and 192.0.2.2.
func newNetwork(t *testing.T, n transport.Net, addr netip.AddrPort) *network {
	return newGatedNetwork(t, n, addr, nil)
}

// newGatedNetwork is newNetwork with IPsec.
func newGatedNetwork(t *testing.T, n transport.Net, addr netip.AddrPort, g *gate) *network {
	w := &network{
		t: t, alg: must(aka.NewMilenage(testK, testOPc)), sqn: aka.SQNState{SQN: 0x1000}, qop: "auth,auth-int", expires: 3600,
		nonces: map[string]challenge{}, contacts: map[string]netip.AddrPort{}, uris: map[string]string{},
		ended: make(chan dialog.SubscriptionEnd, 8), granted: map[string]bool{}, notifiers: map[string]*dialog.Notifier{}, versions: map[*dialog.Notifier]uint32{},
	}
	w.agent = dialog.New(dialog.Config{Contact: func() string { return "<sip:" + w.addr.String() + ">" },
		Hop: func() proxy.Hop {
			if g != nil {
				return g.hop(w.subscriber, sip.UDP)
			}
			return proxy.Hop{Role: sip.RoleGm}
		}})
	pc := proxy.Config{Net: n, HandlerTimeout: time.Hour, Supported: []string{"sec-agree"}}
	if g != nil {
		pc.Net, pc.SentBy, pc.ReturnFlow = g.sockets, g.sentBy, g.returnFlow
	}
	core, err := proxy.New(pc, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(core.Close)
	w.core, w.gate = core, g
	if g != nil {
		g.core = core
		g.listen(g.portS, sip.RoleProtectedServer)
	}
	w.agent.Bind(core)
	w.mu.Lock() // requests may come before it is known
	defer w.mu.Unlock()
	if w.addr, err = core.Listen(transport.Listen{Addr: addr, UDP: true, TCP: true, Role: sip.RoleGm}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *network) Ack(x *proxy.Exchange) {
	if !w.agent.DeliverAck(x) {
		x.Forward(proxy.Target{Hop: w.within(x)})
	}
}

// within is the way of a request within a dialog.
func (w *network) within(x *proxy.Exchange) proxy.Hop {
	if w.gate == nil {
		return proxy.Hop{Role: sip.RoleGm}
	}
	user, _, _ := strings.Cut(strings.TrimPrefix(x.RequestURI(), "sip:"), "@")
	return w.gate.hop(user, sip.UDP)
}

func (w *network) Request(x *proxy.Exchange) {
	if n := w.refuse.Load(); n != 0 && x.Req.Method() == "SUBSCRIBE" {
		x.Reply(int(n), "")
		return
	}
	if w.agent.Deliver(x) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.Req.Method() == "REGISTER" {
		w.registers = append(w.registers, x.Req)
		w.flows = append(w.flows, x.Flow)
	} else {
		w.last = append(w.last, x.Req)
	}
	if w.intercept != nil && w.intercept(x) {
		return
	}
	if w.gate != nil && w.gate.check(x) {
		return
	}
	if x.Req.Has(sip.HSecurityVerify) { // the callee must not see it (RFC 3329 2.3)
		for _, id := range []sip.ID{sip.HRequire, sip.HProxyRequire, sip.HSecurityVerify} {
			x.Edits.Remove(id)
		}
	}
	switch {
	case x.Req.Method() == "REGISTER":
		w.register(x)
	case x.Req.ToTag() != "":
		x.Forward(proxy.Target{Hop: w.within(x)})
	case x.Req.Method() == "SUBSCRIBE":
		w.subscribed(x)
	default:
		w.route(x)
	}
}

// route sends a request to the phone that it is for.
func (w *network) route(x *proxy.Exchange) {
	user := strings.NewReplacer("sip:", "", "tel:", "").Replace(x.RequestURI())
	user, _, _ = strings.Cut(user, "@")
	user, _, _ = strings.Cut(user, ";")
	addr, ok := w.contacts[user]
	if !ok {
		x.Reply(404, "", sip.Field{ID: sip.HWarning, Value: `399 net "nobody is called ` + user + `"`})
		return
	}
	x.Edits.Remove(sip.HPPreferredIdentity)
	x.Edits.Add(sip.HPAssertedIdentity, x.Req.Get(sip.HPPreferredIdentity))
	hop := proxy.Hop{Addr: addr, Role: sip.RoleGm}
	if w.gate != nil {
		hop = w.gate.hop(user, sip.UDP)
	}
	x.Forward(proxy.Target{URI: w.uris[user], Hop: hop, RecordRoute: &proxy.Own{User: "dlg"}})
}

// register is the registrar (TS 24.229 5.4.1.2), strict about the digest.
func (w *network) register(x *proxy.Exchange) {
	m := x.Req
	cred, err := sip.ParseCredentials(m.Get(sip.HAuthorization))
	if err != nil {
		x.Reply(400, "No Authorization")
		return
	}
	c, challenged := w.nonces[cred.Username]
	switch {
	case cred.AUTS != "":
		sqnMS, err := aka.VerifyAUTS(w.alg, c.vector.RAND, must(aka.ParseAUTS(cred.AUTS)))
		if err != nil || w.verify(m, cred, aka.Secret{}) != nil {
			x.Reply(403, "Bad AUTS")
			return
		}
		w.auts++
		must(aka.SQNProfile{}.Resynchronise(&w.sqn, sqnMS, time.Now()))
		w.challenge(x, cred.Username)
	case cred.Nonce == "" || !challenged || cred.Nonce != c.nonce:
		w.challenge(x, cred.Username)
	case cred.Response == "":
		x.Reply(403, "MAC Failure Reported", sip.Field{ID: sip.HWarning, Value: `399 net "the phone reports MAC failure"`})
	case w.verify(m, cred, w.digest().Password(c.vector.XRES, c.vector.CK, c.vector.IK)) != nil:
		x.Reply(403, "Wrong RES")
	default:
		w.grant(x)
	}
}

// digest is the algorithm of the challenges.
func (w *network) digest() aka.DigestAlgorithm {
	if w.akav2 {
		return aka.AKAv2SHA256
	}
	return aka.AKAv1MD5
}

const securityServer = "ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;ealg=null;mod=trans;prot=esp;spi-c=4096;spi-s=4097;port-c=5100;port-s=6100"

func (w *network) challenge(x *proxy.Exchange, impi string) {
	sqn := must(aka.SQNProfile{}.Next(&w.sqn, time.Now()))
	v := must(aka.NewVector(w.alg, aka.NewRAND(), sqn, aka.AMFSeparation))
	nonce := v.Nonce(nil).String()
	w.nonces[impi] = challenge{v, nonce}
	ch := sip.Challenge{Scheme: "Digest", Realm: domain, Nonce: nonce, Algorithm: w.digest().String(), QOP: w.qop}
	f := []sip.Field{{ID: sip.HWWWAuthenticate, Value: string(ch.AppendTo(nil))}}
	switch {
	case w.gate != nil:
		server, err := w.gate.challenge(x, impi, v)
		if err != nil {
			x.Reply(488, "Unacceptable Proposal", sip.Field{ID: sip.HWarning, Value: `399 net "` + err.Error() + `"`})
			return
		}
		f = append(f, server...)
	case x.Req.Has(sip.HSecurityClient) && !w.noServer:
		f = append(f, sip.Field{ID: sip.HSecurityServer, Value: securityServer})
	}
	x.Reply(401, "", f...)
}

func (w *network) verify(m *sip.Message, c sip.Credentials, password aka.Secret) error {
	d := aka.Digest{Algorithm: w.digest(), Method: m.Method(), Username: c.Username, Realm: c.Realm, Nonce: c.Nonce, URI: c.URI,
		QOP: c.QOP, NC: c.NC, CNonce: c.CNonce, Body: []byte(m.Body())}
	return d.Verify(password, c.Response)
}

func (w *network) grant(x *proxy.Exchange) {
	m := x.Req
	if !m.Has(sip.HContact) { // what is bound (RFC 3261 10.2.3)
		x.Reply(200, "", sip.Field{ID: sip.HContact, Value: "<" + w.uris["alice"] + ">;expires=100, <sip:other@192.0.2.77>;expires=50"})
		return
	}
	contact := must(sip.ParseNameAddr(m.First(sip.HContact)))
	to := must(sip.ParseNameAddr(m.Get(sip.HTo)))
	user := userOf(strings.TrimPrefix(to.URI, "sip:"))
	asked, _ := m.Expires()
	if w.gate != nil {
		w.gate.granted(x.Flow, user)
	}
	if asked == 0 {
		delete(w.contacts, user)
		x.Reply(200, "")
		return
	}
	w.contacts[user] = x.Flow.Remote
	w.uris[user] = contact.URI
	x.Reply(200, "",
		sip.Field{ID: sip.HContact, Value: fmt.Sprintf("<sip:other@192.0.2.77>;expires=50, <%s>;expires=%d", contact.URI, min(asked, w.expires))},
		sip.Field{ID: sip.HServiceRoute, Value: "<sip:orig@" + w.addr.String() + ";lr>" + w.beyond},
		sip.Field{ID: sip.HPAssociatedURI, Value: "<tel:+49123>, <sip:" + user + "@" + domain + ">"})
}

func (w *network) subscribed(x *proxy.Exchange) {
	in := w.agent.Wrap(x)
	to := must(sip.ParseNameAddr(x.Req.Get(sip.HTo)))
	user := userOf(strings.TrimPrefix(to.URI, "sip:"))
	w.subscriber = user
	n, err := w.agent.AcceptSubscription(in, 3600, dialog.NotifierEvents{
		Refreshed: func(n *dialog.Notifier) { w.notify(n, user, reginfo.Registered, 3600) },
		Ended: func(_ *dialog.Notifier, e dialog.SubscriptionEnd) {
			select {
			case w.ended <- e:
			default:
			}
		},
	})
	if err != nil {
		w.t.Error(err)
		return
	}
	w.notifiers[user] = n
	w.notify(n, user, reginfo.Registered, 3600)
}

// notify tells the subscriber what happened to its contact.
func (w *network) notify(n *dialog.Notifier, user string, e reginfo.Event, expires uint32) {
	doc := reginfo.Document{Version: w.versions[n], Registrations: []reginfo.Registration{{
		AOR: "sip:" + user + "@" + domain, ID: "a", State: e.State(),
		Contacts: []reginfo.Contact{{ID: "c", State: e.State(), Event: e, URI: w.uris[user], Expires: expires}},
	}}}
	w.versions[n]++
	body := dialog.Part{Type: reginfo.ContentType, Body: string(doc.Append(nil))}
	if e.State() == reginfo.Terminated {
		n.Terminate(e.String(), 0, body)
		return
	}
	if err := n.Notify(body); err != nil {
		w.t.Error(err)
	}
}

// tell sends the phone of a user such a NOTIFY.
func (w *network) tell(user string, e reginfo.Event, expires uint32) {
	w.mu.Lock()
	n := w.notifiers[user]
	w.mu.Unlock()
	if n == nil {
		w.t.Fatalf("%s has not subscribed", user)
	}
	n.Post(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notify(n, user, e, expires)
	})
}

// set changes the network's behaviour.
func (w *network) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// register returns the REGISTERs since the last call.
func (w *network) registered() []*sip.Message {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.registers
	w.registers, w.flows = nil, nil
	return m
}

// registeredOver is registered with the flows.
func (w *network) registeredOver() ([]*sip.Message, []sip.Flow) {
	synctest.Wait()
	w.mu.Lock()
	f := w.flows
	w.mu.Unlock()
	return w.registered(), f
}

// requests returns the other requests since the last call.
func (w *network) requests() []*sip.Message {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.last
	w.last = nil
	return m
}

// world is a network in memory with two phones.
type world struct {
	*network
	mem    *memnet.Network
	hosts  [2]*memnet.Host
	stacks [2]*sealed // of the phones, with IPsec
}

var netAddr = netip.MustParseAddrPort("192.0.2.100:5060")

func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		mem := memnet.New(1)
		mem.SetDefault(memnet.Link{Delay: 10 * time.Millisecond})
		w := &world{mem: mem, hosts: [2]*memnet.Host{mem.Host("192.0.2.1"), mem.Host("192.0.2.2")}}
		w.network = newNetwork(t, mem.Host("192.0.2.100"), netAddr)
		f(t, w)
	})
}

// gated is bubble with IPsec.
func gated(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		mem := memnet.New(1)
		mem.SetDefault(memnet.Link{Delay: 10 * time.Millisecond})
		w := &world{mem: mem, hosts: [2]*memnet.Host{mem.Host("192.0.2.1", "192.0.2.3"), mem.Host("192.0.2.2")}}
		for i := range w.stacks {
			w.stacks[i] = newSealed(w.hosts[i])
		}
		h := mem.Host("192.0.2.100")
		w.network = newGatedNetwork(t, h, netAddr, newGate(newSealed(h), h, netAddr.Addr()))
		f(t, w)
	})
}

// secure makes a phone one with IPsec.
func secure(c Config) Config {
	c.IPsec = "user"
	return c
}

func aliceConfig() Config {
	return Config{
		Local: netip.MustParseAddr("192.0.2.1"), PCSCF: netAddr, Domain: domain, Port: 5066,
		IMPI: "alice@" + domain, IMPU: "sip:alice@" + domain, K: testK, OPc: testOPc,
	}
}

func bobConfig() Config {
	c := aliceConfig()
	c.Local = netip.MustParseAddr("192.0.2.2")
	c.IMPI, c.IMPU = "bob@"+domain, "sip:bob@"+domain
	return c
}

// phone switches a phone on.
func (w *world) phone(c Config) *Phone {
	w.t.Helper()
	c.Net = w.hosts[c.Local.As4()[3]-1]
	if c.IPsec != "" && c.Stack == nil {
		c.Stack = w.stacks[c.Local.As4()[3]-1]
	}
	p, err := New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	return p
}

// registeredPhone switches a phone on and registers it.
func (w *world) registeredPhone(c Config) *Phone {
	w.t.Helper()
	p := w.phone(c)
	if _, err := p.Register(w.ctx()); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(time.Second)
	w.registered()
	w.requests()
	return p
}

// ctx is for what should take no longer than two minutes.
func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}
