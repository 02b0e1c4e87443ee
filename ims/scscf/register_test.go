package scscf

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestChallenge(t *testing.T) {
	conformance.Shows(t, "SA-04", "SA-05")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		c := p.challenge()
		if len(h.hss.mars) != 1 {
			t.Fatalf("%d MARs", len(h.hss.mars))
		}
		q := h.hss.mars[0]
		if q.UserName != "alice@home.test" || q.PublicIdentity != "sip:alice@home.test" || q.NumberAuthItems != 1 ||
			q.Item.Scheme != "Digest-AKAv1-MD5" || q.ServerName != "sip:"+scscfAddr || q.Item.Authorization != nil {
			t.Errorf("MAR %+v", q)
		}
		n, err := aka.ParseNonce(c.Nonce)
		if err != nil || h.hss.vectors[n.String()] == nil {
			t.Errorf("nonce %q is not RAND and AUTN: %v", c.Nonce, err)
		}
		if c.Realm != home || c.Algorithm != "AKAv1-MD5" || !c.OffersQOP("auth") || !c.OffersQOP("auth-int") ||
			c.CK != hex.EncodeToString(h.hss.ck(c.Nonce)) || c.IK != hex.EncodeToString(h.hss.ik(c.Nonce)) {
			t.Errorf("challenge %v", c)
		}
	})
}

// Whatever is not protected is challenged, registered or not, also with the answer
// of another challenge.
func TestWhatIsNotProtectedIsChallenged(t *testing.T) {
	conformance.Shows(t, "SA-02")
	conformance.Partly(t, "SA-01")
	for _, integrity := range []string{"", "no", "tls-yes", "ip-assoc-pending"} {
		t.Run(integrity, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.protected = integrity
				p.challenge()
				p.send(200, p.answer())
				p.challenged(p.send(401, p.answer())) // the same answer again
				p.send(200, p.answer())
				p.contact = ""
				p.challenge() // not even a query
				p.challenged(p.send(401, ""))
			})
		})
	}
}

func TestUserIsNamedByToAndUsername(t *testing.T) {
	conformance.Shows(t, "SA-03")
	tests := []struct {
		name          string
		to, username  string
		status        int
		user, impu    string // that the HSS is asked for
		result        cx.Experimental
		authorization bool
	}{
		{name: "both", to: "sip:alice@home.test", username: "4711@home.test", status: 401, user: "4711@home.test", impu: "sip:alice@home.test", authorization: true},
		{name: "canonical forms", to: "sip:alice@HOME.test;x=y", username: "4711@Home.Test", status: 401, user: "4711@home.test", impu: "sip:alice@home.test", authorization: true},
		{name: "a number", to: "tel:+49-11", username: "4711@home.test", status: 401, user: "4711@home.test", impu: "tel:+4911", authorization: true},
		{name: "the identity names both", to: "sip:4711@home.test", status: 401, user: "4711@home.test", impu: "sip:4711@home.test"},
		{name: "a number alone", to: "tel:+4911", status: 403},
		{name: "no realm", to: "sip:alice@home.test", username: "4711", status: 403, authorization: true},
		{name: "they do not match", to: "sip:alice@home.test", username: "4711@home.test", status: 403, user: "4711@home.test", impu: "sip:alice@home.test", result: cx.ErrorIdentitiesDontMatch, authorization: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				h.hss.user("4711@home.test", user(nil, id("sip:alice@home.test")))
				if tt.result != 0 {
					h.hss.answering("MAR", tt.result.Result())
				}
				p := h.phone("alice")
				p.impi = tt.username
				authorization := ""
				if tt.authorization {
					authorization = p.digest("", nil)
				}
				p.send(tt.status, authorization, "To: <"+tt.to+">")
				if tt.user == "" {
					if len(h.hss.mars) != 0 {
						t.Errorf("the HSS is asked: %+v", h.hss.mars[0])
					}
				} else if q := h.hss.mars[0]; q.UserName != tt.user || q.PublicIdentity != tt.impu {
					t.Errorf("the HSS is asked for %s, %s", q.UserName, q.PublicIdentity)
				}
			})
		})
	}
}

func TestRegistration(t *testing.T) {
	conformance.Shows(t, "SR-01", "SR-02", "SR-04", "SR-06", "SR-22", "SA-07")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		h.hss.charge = &cx.ChargingInformation{PrimaryCollection: "aaa://ccf1", PrimaryEvent: "aaa://ecf1"}
		p.path = "<sip:token-alice@192.0.2.1:5060;lr>, <sip:edge@192.0.2.99;lr>"
		check := func(m *sip.Message) {
			t.Helper()
			h.header(m, sip.HPath, "<sip:token-alice@192.0.2.1:5060;lr> | <sip:edge@192.0.2.99;lr>")
			h.header(m, sip.HServiceRoute, "<sip:orig@"+scscfAddr+";lr>")
			h.header(m, sip.HPAssociatedURI, "<sip:alice@home.test> | <tel:+4911> | <sip:+4911@home.test>")
			h.header(m, sip.HContact, "<sip:alice@10.0.0.1:5060>;expires=3600")
			h.header(m, sip.HPChargingVector, `icid-value="ic-alice@home.test";orig-ioi="Type 1visited.test";term-ioi="Type 1home.test"`)
			h.header(m, sip.HPChargingFunctionAddresses, `ccf="aaa://ccf1";ecf="aaa://ecf1"`)
		}
		check(p.register())
		if q := h.hss.sars[0]; q.UserDataAlreadyAvailable != cx.UserDataNotAvailable || q.ServerName != "sip:"+scscfAddr {
			t.Errorf("SAR %+v", q)
		}
		h.wantAsked("SAR alice@home.test sip:alice@home.test REGISTRATION")
		for _, impu := range []string{"sip:alice@home.test", "tel:+4911", "sip:+4911@home.test", "sip:imsi@home.test"} {
			h.wantBindings(impu, "sip:alice@10.0.0.1:5060 3600")
		}
		b := h.has("tel:+4911").Bindings[0]
		if b.VisitedNetwork != `"visited.test"` || !strings.HasPrefix(b.AccessNetwork, "3GPP-E-UTRAN-FDD;") {
			t.Errorf("kept for application servers: %q, %q", b.VisitedNetwork, b.AccessNetwork)
		}

		time.Sleep(30 * time.Minute)
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 1800")
		check(p.again(200)) // inside the security association: no challenge
		if q := h.hss.sars[1]; q.UserDataAlreadyAvailable != cx.UserDataAvailable {
			t.Errorf("SAR %+v", q)
		}
		h.wantAsked("SAR alice@home.test sip:alice@home.test RE_REGISTRATION")
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600")
		if len(h.hss.mars) != 1 {
			t.Errorf("%d MARs", len(h.hss.mars))
		}
		h.told(trace.State, "registration refreshed: sip:alice@home.test of alice@home.test, 1 contact(s)")
	})
}

// TestReauthentication: where the configuration asks for it, who re-registers is
// challenged, over its security association too; who leaves is not.
func TestReauthentication(t *testing.T) {
	conformance.Partly(t, "SA-07")
	atHome(t, func(c *Config) { c.Reauthenticate = true }, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		for n := 2; n < 4; n++ {
			p.challenged(p.again(401))
			h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600") // it stays registered
			p.again(200)
			if len(h.hss.mars) != n {
				t.Errorf("%d MARs, want %d", len(h.hss.mars), n)
			}
		}
		p.again(200, "Expires: 0")
		h.wantBindings("tel:+4911", "")
	})
}

func TestWhatIsWrongWithAREGISTER(t *testing.T) {
	conformance.Shows(t, "SA-17", "SA-19", "SR-11")
	path := make([]string, maxPath+1)
	for i := range path {
		path[i] = fmt.Sprintf("Path: <sip:p%d@192.0.2.1;lr>", i)
	}
	many := "Contact: <sip:a@10.0.0.1>" + strings.Repeat(", <sip:a@10.0.0.1>", maxContacts)
	tests := []struct {
		name   string
		change func(raw string) string
		lines  []string
		status int
		why    string
	}{
		{"less than the least", nil, []string{"Expires: 59"}, 423, "asks for 59s, less than 1m0s"},
		{"less for one contact", nil, []string{"Expires: 3600", "Contact: <sip:a@10.0.0.1>, <sip:b@10.0.0.1>;expires=5"}, 423, "asks for 5s"},
		{"for another S-CSCF", func(raw string) string {
			return strings.Replace(raw, "REGISTER sip:"+scscfAddr, "REGISTER sip:scscf2.home.test", 1)
		}, nil, 403, "is for sip:scscf2.home.test"},
		{"without Path", nil, []string{"Path:"}, 403, "has no Path"},
		{"with a Path without end", nil, path, 400, "more than 16 Path entries"},
		{"more contacts than there may be", nil, []string{many}, 400, "more than 8 contacts"},
		{"star with another contact", nil, []string{"Contact: *, <sip:a@10.0.0.1>", "Expires: 0"}, 400, "stands alone"},
		{"star that does not remove", nil, []string{"Contact: *", "Expires: 60"}, 400, "with Expires: 0"},
		{"star without Expires", nil, []string{"Contact: *"}, 400, "with Expires: 0"},
		{"a contact that is none", nil, []string{"Contact: <sip:>"}, 400, "cannot be read"},
		{"a contact that SIP does not reach", nil, []string{"Contact: <tel:+4911>"}, 400, "no SIP URI"},
		{"an unknown extension", nil, []string{"Require: path, sec-agree, gruu"}, 420, "requires sec-agree, gruu"},
		{"no To that can be read", nil, []string{"To: <sip:home.test>"}, 400, "To names no public identity"},
		{"an Authorization that cannot be read", func(raw string) string {
			return strings.Replace(raw, "Authorization: Digest", `Authorization: Digest "`, 1)
		}, nil, 400, "Authorization"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				raw := p.request(p.digest("", nil), tt.lines...)
				if tt.change != nil {
					raw = tt.change(raw)
				}
				h.p.write([]byte(raw))
				m := h.p.want(fmt.Sprint(tt.status))
				h.why(m, tt.why)
				switch tt.status {
				case 423:
					h.header(m, sip.HMinExpires, "60")
				case 420:
					h.header(m, sip.HUnsupported, "sec-agree | gruu")
				}
				if len(h.hss.mars) != 0 {
					t.Error("the HSS is asked all the same")
				}
			})
		})
	}
	t.Run("more than the most is shortened, nothing gets the default", func(t *testing.T) {
		atHome(t, func(c *Config) { c.Expires.Default = node.Duration(30 * time.Minute) }, func(h *homeNet) {
			p := h.alicePhone()
			h.header(p.register("Expires: 600000"), sip.HContact, "<sip:alice@10.0.0.1:5060>;expires=3600")
			h.header(p.register("Expires: 600000", "Contact: <sip:alice@10.0.0.1:5060>;expires=120"), sip.HContact, "<sip:alice@10.0.0.1:5060>;expires=120")
			h.header(p.register(), sip.HContact, "<sip:alice@10.0.0.1:5060>;expires=1800")
			h.header(p.register("Expires: soon", "Contact: <sip:alice@10.0.0.1:5060>;expires=\"x\""), sip.HContact, "<sip:alice@10.0.0.1:5060>;expires=1800")
		})
	})
}
