package scscf

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ims/trace"
)

// home network of the registration tests: an S-CSCF between a scripted P-CSCF,
// watchers and an HSS that keeps the vectors it has given away.
type homeNet struct {
	*world
	hss  *homeHSS
	cfg  Config
	host *memnet.Host
	stop func() // ends the S-CSCF
}

// atHome runs f in a bubble. change may be nil.
func atHome(t *testing.T, change func(*Config), f func(h *homeNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: memnet.New(1)}
		w.net.SetDefault(memnet.Link{Delay: 5 * time.Millisecond})
		h := &homeNet{world: w, host: w.net.Host("192.0.2.10"), hss: newHomeHSS(t, w.net.Host("192.0.2.5"))}
		defer h.hss.close()
		h.cfg = DefaultConfig()
		h.cfg.Domain, h.cfg.Listen, h.cfg.ICSCF = home, netip.MustParseAddrPort(scscfAddr), netip.MustParseAddrPort("192.0.2.2:5060")
		h.cfg.Diameter.Peers = []node.DiameterPeer{{Address: hssAddr}}
		h.cfg.Hosts = map[string]string{"as1.home.test": "192.0.2.21:5060", "as2.home.test": "192.0.2.22:5060"}
		h.cfg.AKAWithoutIPsec = true
		if change != nil {
			change(&h.cfg)
		}
		core, logs := observer.New(zap.InfoLevel)
		w.logs = logs
		stream := &trace.Stream{}
		w.trace = stream.Subscribe(10_000)
		defer w.trace.Close()
		h.start(node.Deps{Log: zap.New(core), Trace: trace.Node{Stream: stream, Name: "scscf"}})
		for _, p := range []struct {
			at *(*peer)
			ip string
		}{{&w.p, "192.0.2.1"}, {&w.p2, "192.0.2.3"}, {&w.i, "192.0.2.2"}, {&w.as1, "192.0.2.21"}, {&w.as2, "192.0.2.22"}, {&w.other, "192.0.2.30"}} {
			*p.at = w.peer(p.ip)
			defer (*p.at).close()
		}
		defer func() { h.stop() }() // also when f gives up
		f(h)
	})
}

// start runs an S-CSCF, which has no memory of one before.
func (h *homeNet) start(deps node.Deps) {
	h.t.Helper()
	s, err := New(h.cfg, Deps{Deps: deps, Net: h.host, Dialer: memDialer{h.host}})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	h.s = s
	h.stop = func() { cancel(); <-done }
	time.Sleep(time.Second) // the HSS is connected
}

// phone registers through the P-CSCF of the world.
type phone struct {
	h          *homeNet
	via        *peer
	impi, impu string
	contact    string // value of Contact
	callID     string
	cseq       int
	path       string
	protected  string // integrity-protected, empty for none
	nonce      string // of the last challenge
	algorithm  aka.DigestAlgorithm
}

func (h *homeNet) phone(name string) *phone {
	return &phone{h: h, via: h.p, impi: name + "@" + home, impu: "sip:" + name + "@" + home, contact: "<sip:" + name + "@10.0.0.1:5060>",
		callID: sip.NewCallID(), path: "<sip:token-" + name + "@192.0.2.1:5060;lr>"}
}

// alicePhone is a phone of a subscriber with three identities.
func (h *homeNet) alicePhone() *phone {
	h.hss.user("alice@"+home, user(nil, barred("sip:imsi@home.test"), id("tel:+4911"), id("sip:alice@home.test"), id("sip:+4911@home.test")))
	return h.phone("alice")
}

// request writes a REGISTER; lines are further ones, "Contact: …" in place of the
// phone's, "Path:" and "To: …" likewise.
func (p *phone) request(authorization string, lines ...string) string {
	p.cseq++
	has := func(name string) bool {
		return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
	}
	out := []string{
		"REGISTER sip:" + scscfAddr + " SIP/2.0", "Via: " + p.via.via(), "Max-Forwards: 68",
		"From: <" + p.impu + ">;tag=" + sip.NewTag(), "Call-ID: " + p.callID, fmt.Sprintf("CSeq: %d REGISTER", p.cseq),
		`P-Charging-Vector: icid-value="ic-` + p.impi + `";orig-ioi="Type 1visited.test"`, `P-Visited-Network-ID: "visited.test"`,
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001", "Require: path",
	}
	if !has("To") {
		out = append(out, "To: <"+p.impu+">")
	}
	if !has("Path") && p.path != "" {
		out = append(out, "Path: "+p.path)
	}
	if !has("Contact") && p.contact != "" {
		out = append(out, "Contact: "+p.contact)
	}
	if authorization != "" {
		out = append(out, "Authorization: "+authorization)
	}
	for _, l := range lines {
		if l != "Contact:" && l != "Path:" {
			out = append(out, l)
		}
	}
	return strings.Join(append(out, "Content-Length: 0", "", ""), "\r\n")
}

func (p *phone) write(authorization string, lines ...string) {
	p.h.t.Helper()
	p.via.write([]byte(p.request(authorization, lines...)))
}

// send sends a REGISTER and returns the answer, which must have that status.
func (p *phone) send(status int, authorization string, lines ...string) *sip.Message {
	p.h.t.Helper()
	p.write(authorization, lines...)
	return p.via.want(fmt.Sprint(status))
}

// digest is an Authorization; edit may change its parts.
func (p *phone) digest(response string, edit func(c *sip.Credentials)) string {
	c := sip.Credentials{Scheme: "Digest", Username: p.impi, Realm: home, Nonce: p.nonce, URI: "sip:" + home, Response: response, IntegrityProtected: p.protected}
	if p.nonce != "" {
		c.Algorithm = p.algorithm.String()
	}
	if edit != nil {
		edit(&c)
	}
	return string(c.AppendTo(nil))
}

// challenged takes the challenge of a 401.
func (p *phone) challenged(m *sip.Message) sip.Challenge {
	p.h.t.Helper()
	c, err := sip.ParseChallenge(m.Get(sip.HWWWAuthenticate))
	if err != nil || m.Status() != 401 {
		p.h.t.Fatalf("no challenge: %v\n%s", err, m.Raw())
	}
	p.nonce = c.Nonce
	return c
}

// answer is the right answer to the last challenge.
func (p *phone) answer() string {
	p.h.t.Helper()
	p.h.hss.mu.Lock()
	xres := p.h.hss.vectors[p.nonce]
	p.h.hss.mu.Unlock()
	if xres == nil {
		p.h.t.Fatalf("the nonce %s is no vector of the HSS", p.nonce)
	}
	d := aka.Digest{Algorithm: p.algorithm, Method: "REGISTER", Username: p.impi, Realm: home, Nonce: p.nonce, URI: "sip:" + home,
		QOP: "auth", NC: "00000001", CNonce: "c0ffee"}
	return p.digest("", func(c *sip.Credentials) {
		password := aka.NewSecret(xres)
		if p.algorithm != aka.AKAv1MD5 {
			password = p.algorithm.Password(aka.NewSecret(xres), aka.NewSecret(p.h.hss.ck(p.nonce)), aka.NewSecret(p.h.hss.ik(p.nonce)))
		}
		response, err := d.Response(password)
		if err != nil {
			p.h.t.Fatal(err)
		}
		c.Response, c.QOP, c.NC, c.CNonce = response, "auth", d.NC, d.CNonce
	})
}

func (h *homeHSS) keys(nonce string) [32]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sha256.Sum256([]byte{h.vectors[nonce][1], 1})
}

func (h *homeHSS) ck(nonce string) []byte { k := h.keys(nonce); return k[:16] }
func (h *homeHSS) ik(nonce string) []byte { k := h.keys(nonce); return k[16:] }

// challenge sends a REGISTER without an answer and takes the challenge.
func (p *phone) challenge(lines ...string) sip.Challenge {
	p.h.t.Helper()
	return p.challenged(p.send(401, p.digest("", func(c *sip.Credentials) { c.Nonce = "" }), lines...))
}

// register registers with challenge and answer, and returns the 200.
func (p *phone) register(lines ...string) *sip.Message {
	p.h.t.Helper()
	return p.registerTo(200, lines...)
}

// registerTo is register for a REGISTER whose answer has another status.
func (p *phone) registerTo(status int, lines ...string) *sip.Message {
	p.h.t.Helper()
	p.challenge(lines...)
	return p.send(status, p.answer(), lines...)
}

// again is a REGISTER in the security association of the last, with its answer.
func (p *phone) again(status int, lines ...string) *sip.Message {
	p.h.t.Helper()
	p.protected = "yes"
	defer func() { p.protected = "" }()
	return p.send(status, p.answer(), lines...)
}

// bindings is what the store has for an identity: contacts and their seconds.
func (h *homeNet) bindings(impu string) string {
	synctest.Wait()
	var out []string
	if r := h.s.store.Get(impu); r != nil {
		for _, b := range r.Bindings {
			out = append(out, fmt.Sprintf("%s %.0f", b.Contact, time.Until(b.Expires).Seconds()))
		}
	}
	return strings.Join(out, ", ")
}

func (h *homeNet) wantBindings(impu, want string) {
	h.t.Helper()
	if got := h.bindings(impu); got != want {
		h.t.Errorf("%s is bound to %q, want %q", impu, got, want)
	}
}
