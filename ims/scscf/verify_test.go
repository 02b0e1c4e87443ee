package scscf

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// A challenge belongs to a private identity and a Call-ID.
func TestChallengeIsForOneUserAndCall(t *testing.T) {
	conformance.Shows(t, "SA-06", "SA-16")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.challenge()

		// Somebody else's REGISTER with the same username takes nothing away.
		stranger := h.phone("alice")
		for range maxChallengesPerIMPI - 1 {
			stranger.callID = sip.NewCallID()
			stranger.challenge()
		}
		// The right answer in another call is challenged anew, and is not used up.
		other := *p
		other.callID = sip.NewCallID()
		other.send(401, p.answer())
		if h.s.challenges.len() != maxChallengesPerIMPI {
			t.Errorf("%d challenges are kept", h.s.challenges.len())
		}
		p.callID = stranger.callID
		p.nonce = stranger.nonce
		h.hss.user("bob@home.test", user(nil, id("sip:bob@home.test")))
		bob := h.phone("bob")
		bob.nonce, bob.callID = stranger.nonce, stranger.callID
		m := bob.send(403, bob.answer())
		h.why(m, "bob@home.test answers a challenge that was made for alice@home.test")
		p.cseq = 10
		p.send(200, p.answer()) // the challenge is there still
		h.wantBindings("sip:alice@home.test", "sip:alice@10.0.0.1:5060 3600")
	})
}

// A Call-ID may be as long as a message: a challenge keeps a hash of it, and no more of its
// text than a log line needs. All of it counts.
func TestLongCallIDOfAChallenge(t *testing.T) {
	set := newChallenges()
	callID := strings.Repeat("c", 22<<10)
	c := &challenge{impi: "alice@home.test", callID: callID, impu: "sip:alice@home.test", nonce: "n"}
	set.put(c)
	kept := len(c.impi) + len(c.callID) + len(c.impu)
	if kept > maxCallIDKept+64 || !strings.HasPrefix(callID, c.callID) || unsafe.StringData(c.callID) == unsafe.StringData(callID) {
		t.Errorf("the challenge keeps %d octets, or those of the message", kept)
	}
	if set.of(c.impi, callID) != c || set.of(c.impi, c.callID) != nil || set.of(c.impi, callID[1:]+"d") != nil {
		t.Error("it is not of that Call-ID alone")
	}
	if set.put(&challenge{impi: c.impi, callID: callID[1:] + "d", nonce: "m"}) != nil || set.len() != 2 || set.of(c.impi, callID) != c {
		t.Error("one whose Call-ID begins alike has taken its place")
	}
}

// A binding keeps the Call-ID of its REGISTER, and documents tell it.
func TestLongCallIDOfAREGISTER(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.callID = strings.Repeat("c", maxCallID+1)
		h.why(p.send(400, p.digest("", nil)), "has 513 octets, more than 512")
		if n := len(h.hss.mars); n != 0 {
			t.Errorf("the HSS was asked for %d vectors", n)
		}
		p.callID = p.callID[1:]
		p.register()
		if b := h.has(aliceSIP).Bindings[0]; b.CallID != p.callID {
			t.Errorf("the binding has a Call-ID of %d octets", len(b.CallID))
		}
	})
}

func TestAnAnswerIsVerifiedOnce(t *testing.T) {
	conformance.Shows(t, "SA-15")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		first := p.nonce
		// In clear the same answer again is challenged, with a new nonce.
		if c := p.challenged(p.send(401, p.answer())); c.Nonce == first {
			t.Error("the nonce comes again")
		}
		p.send(200, p.answer())
		// Protected, the last answer is repeated as often as it likes.
		for range 3 {
			p.again(200)
		}
		// An older one, with an nc that has been, too: the association proves who it is.
		p.nonce = first
		p.again(200)
	})
}

func TestAChallengeThatIsNotAnswered(t *testing.T) {
	conformance.Shows(t, "SA-14")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.challenge()
		time.Sleep(4*time.Minute - time.Second)
		h.wantAsked("")
		time.Sleep(2 * time.Second)
		h.wantAsked("SAR alice@home.test sip:alice@home.test AUTHENTICATION_TIMEOUT")
		if h.s.challenges.len() != 0 {
			t.Error("the challenge is kept")
		}
		p.challenged(p.send(401, p.answer())) // too late: challenged anew
		p.send(200, p.answer())
		h.wantAsked("SAR alice@home.test sip:alice@home.test REGISTRATION")

		// A registered user stays registered, and the HSS hears nothing.
		p.challenge()
		time.Sleep(5 * time.Minute)
		h.wantAsked("")
		h.wantBindings("sip:alice@home.test", "sip:alice@10.0.0.1:5060 3300")
	})
}

// Challenges end each at its own time, whichever of those before or behind them have been
// answered.
func TestChallengesEndOneByOne(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		var phones []*phone
		var ends []time.Time
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			h.hss.user(name+"@"+home, user(nil, id("sip:"+name+"@home.test")))
			p := h.phone(name)
			p.challenge()
			phones, ends = append(phones, p), append(ends, time.Now().Add(4*time.Minute))
			time.Sleep(10 * time.Second)
		}
		for _, i := range []int{2, 0, 4} { // one from the middle, the first, the last
			phones[i].send(200, phones[i].answer())
		}
		h.wantAsked("SAR c@home.test sip:c@home.test REGISTRATION, SAR a@home.test sip:a@home.test REGISTRATION, SAR e@home.test sip:e@home.test REGISTRATION")
		last := h.alicePhone()
		last.challenge()
		for _, i := range []int{1, 3} {
			time.Sleep(time.Until(ends[i]) - time.Second)
			h.wantAsked("")
			time.Sleep(2 * time.Second)
			h.wantAsked("SAR " + phones[i].impi + " " + phones[i].impu + " AUTHENTICATION_TIMEOUT")
		}
		last.send(200, last.answer())
		h.wantAsked("SAR alice@home.test sip:alice@home.test REGISTRATION")
		if n := h.s.challenges.len(); n != 0 {
			t.Errorf("%d challenges are left", n)
		}
		last.challenge()
		time.Sleep(4*time.Minute + time.Second)
		if n := h.s.challenges.len(); n != 0 {
			t.Errorf("%d challenges are left of one after a rest", n)
		}
	})
}

func TestWrongAnswers(t *testing.T) {
	tests := []struct {
		name  string
		edit  func(c *sip.Credentials)
		words string
	}{
		{"response", func(c *sip.Credentials) { c.Response = strings.Repeat("0", 32) }, "is wrong"},
		{"uri of elsewhere", func(c *sip.Credentials) { c.URI = "sip:elsewhere.test" }, "its uri is not of home.test"},
		{"realm", func(c *sip.Credentials) { c.Realm = "elsewhere.test" }, "its realm is not home.test"},
		{"qop", func(c *sip.Credentials) { c.QOP = "auth-int" }, "is wrong"},
		{"nc", func(c *sip.Credentials) { c.NC = "00000002" }, "is wrong"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.challenge()
				c, _ := sip.ParseCredentials(p.answer())
				tt.edit(&c)
				h.why(p.send(403, string(c.AppendTo(nil))), tt.words)
				h.wantAsked("SAR alice@home.test sip:alice@home.test AUTHENTICATION_FAILURE")
			})
		})
	}
	t.Run("as often as max_challenges says", func(t *testing.T) {
		atHome(t, func(c *Config) { c.MaxChallenges = 3 }, func(h *homeNet) {
			p := h.alicePhone()
			p.challenge()
			wrong := func() string {
				return p.digest("0", func(c *sip.Credentials) { c.QOP, c.NC, c.CNonce = "auth", "00000001", "x" })
			}
			p.challenged(p.send(401, wrong()))
			p.challenged(p.send(401, wrong()))
			h.wantAsked("")
			p.send(403, wrong())
			h.wantAsked("SAR alice@home.test sip:alice@home.test AUTHENTICATION_FAILURE")
			p.challenge()
			p.challenged(p.send(401, wrong()))
			p.send(200, p.answer())
		})
	})
	t.Run("of a registered user", func(t *testing.T) {
		atHome(t, nil, func(h *homeNet) {
			p := h.alicePhone()
			p.register()
			h.hss.asked()
			p.challenge()
			p.send(403, p.digest("0", nil))
			h.wantAsked("")
			h.wantBindings("sip:alice@home.test", "sip:alice@10.0.0.1:5060 3600")
		})
	})
}

func TestAlgorithms(t *testing.T) {
	conformance.Shows(t, "SA-20")
	for _, a := range []aka.DigestAlgorithm{aka.AKAv1MD5, aka.AKAv2MD5, aka.AKAv2SHA256} {
		t.Run(a.String(), func(t *testing.T) {
			atHome(t, func(c *Config) { c.Algorithm = a.String() }, func(h *homeNet) {
				p := h.alicePhone()
				p.algorithm = a
				if c := p.challenge(); c.Algorithm != a.String() {
					t.Errorf("algorithm is %s", c.Algorithm)
				}
				p.send(200, p.answer())
				if q := h.hss.mars[0]; q.Item.Scheme != "Digest-"+a.String() {
					t.Errorf("the HSS is asked for %s", q.Item.Scheme)
				}
			})
		})
	}
}

func TestProtectedREGISTERs(t *testing.T) {
	conformance.Shows(t, "SA-08")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.contact = `<sip:alice@10.0.0.1:5060>;+sip.instance="<urn:gsma:imei:1>"`
		p.register()
		m := p.again(403, `Contact: <sip:alice@10.0.0.9:5060>;+sip.instance="<urn:gsma:imei:1>"`)
		h.why(m, "the contact sip:alice@10.0.0.9:5060, which is not registered")
		p.again(401, `Contact: <sip:alice@10.0.0.9:5060>;+sip.instance="<urn:gsma:imei:1>";reg-id=2`)
		h.wantBindings("sip:alice@home.test", "sip:alice@10.0.0.1:5060 3600")

		// Another phone of the same public identity is not registered by that.
		h.hss.user("desk@home.test", user(nil, barred("sip:imsi@home.test"), id("tel:+4911"), id("sip:alice@home.test"), id("sip:+4911@home.test")))
		desk := h.phone("desk")
		desk.impu = p.impu
		desk.protected, desk.nonce = "yes", p.nonce
		desk.send(401, desk.answer())
	})
}
