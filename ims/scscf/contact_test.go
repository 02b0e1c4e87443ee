package scscf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestASetOfBarredIdentities(t *testing.T) {
	conformance.Shows(t, "SR-05")
	atHome(t, nil, func(h *homeNet) {
		h.hss.user("alice@home.test", user(nil, barred("sip:alice@home.test"), barred("tel:+4911")))
		p := h.phone("alice")
		h.why(p.registerTo(403), "Every public identity of alice@home.test is barred")
		h.wantAsked("SAR alice@home.test sip:alice@home.test REGISTRATION, SAR alice@home.test sip:alice@home.test ADMINISTRATIVE_DEREGISTRATION")
		h.wantBindings("sip:alice@home.test", "")

		h.hss.user("alice@home.test", user(nil, barred("sip:alice@home.test"), id("sip:a.smith@home.test"), barred("tel:+4911")))
		h.header(p.register(), sip.HPAssociatedURI, "<sip:a.smith@home.test>")
		h.wantBindings("sip:a.smith@home.test", "sip:alice@10.0.0.1:5060 3600")
	})
	// HSSes that leave out what registers: it may, and is not shown.
	atHome(t, nil, func(h *homeNet) {
		h.hss.user("imsi@home.test", user(nil, id("sip:alice@home.test")))
		p := h.phone("imsi")
		h.header(p.register(), sip.HPAssociatedURI, "<sip:alice@home.test>")
		h.wantBindings("sip:imsi@home.test", "sip:imsi@10.0.0.1:5060 3600")
	})
}

func TestOutOfOrder(t *testing.T) {
	conformance.Shows(t, "SR-08")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		taken := p.cseq
		for _, older := range []int{taken - 1, taken - 2} {
			p.cseq = older
			h.why(p.again(500, "Expires: 120"), fmt.Sprintf("has CSeq %d, and %d was taken before", older+1, taken))
		}
		p.cseq = taken - 1
		p.again(500, "Contact: *", "Expires: 0")
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600")
		p.cseq = taken
		p.again(200)
		p.callID, p.cseq = sip.NewCallID(), 0 // another call counts anew
		p.again(200)
	})
}

// The phone's answers from the HSS cross: the older REGISTER comes last.
func TestOlderREGISTERIsOvertaken(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		release := h.hss.holdBack()
		p.protected = "yes"
		p.cseq += 10
		p.write(p.answer(), "Expires: 600")
		time.Sleep(100 * time.Millisecond)
		p.cseq -= 5
		p.write(p.answer(), "Expires: 1200") // waits for its turn
		time.Sleep(100 * time.Millisecond)
		release()
		h.p.want("200")
		h.why(h.p.want("500"), "was taken before")
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 600")
	})
}

const imei1, imei2 = `+sip.instance="<urn:gsma:imei:90420156-025763-0>"`, `+sip.instance="<urn:gsma:imei:90420156-025763-1>"`

func TestContactsAreKeptAsTheyCame(t *testing.T) {
	conformance.Shows(t, "SR-03", "SR-07")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		tags := `;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel";+g.3gpp.smsip;video;` + imei1 + `;q=0.5;+g.3gpp.iari-ref="a,b;c"`
		h.header(p.register(`Contact: "Alice" <sip:alice@10.0.0.1:5060;ob=x>`+tags+";expires=1000", "Expires: 10000"), sip.HContact,
			"<sip:alice@10.0.0.1:5060;ob=x>"+tags+";expires=1000")
		b := h.has("tel:+4911").Bindings[0]
		if b.InstanceID != "<urn:gsma:imei:90420156-025763-0>" || b.Params != tags {
			t.Errorf("kept: %+v", b)
		}
		h.hss.user("desk@home.test", user(nil, barred("sip:imsi@home.test"), id("tel:+4911"), id("sip:alice@home.test"), id("sip:+4911@home.test")))
		desk := h.phone("desk") // a second phone of the same public identities
		desk.impu = p.impu
		h.header(desk.register(), sip.HContact, "<sip:alice@10.0.0.1:5060;ob=x>"+tags+";expires=1000 | <sip:desk@10.0.0.1:5060>;expires=3600")
	})
	// A flow is accepted where phone and P-CSCF both keep it.
	for path, accepted := range map[string]bool{"<sip:t@192.0.2.1;lr;ob>": true, "<sip:edge@192.0.2.9;lr;ob>, <sip:t@192.0.2.1;lr>": false} {
		atHome(t, nil, func(h *homeNet) {
			p := h.alicePhone()
			p.path = path
			m := p.register("Contact: <sip:alice@10.0.0.1:5060>;reg-id=1;"+imei1, "Supported: outbound")
			if m.HasOption(sip.HRequire, "outbound") != accepted || m.HasOption(sip.HSupported, "outbound") != accepted {
				t.Errorf("with Path %s, outbound is accepted: want %t\n%s", path, accepted, m.Raw())
			}
		})
	}
}

func TestAContactThatTakesAnothersPlace(t *testing.T) {
	conformance.Shows(t, "SR-09", "SR-20")
	flows := []string{"Supported: outbound", "Path: <sip:t@192.0.2.1;lr;ob>"}
	tests := []struct {
		name          string
		lines         []string // of both REGISTERs
		first, second string
		left          string
	}{
		{"the same URI", nil, "<sip:a@10.0.0.1>", "<sip:a@10.0.0.1>;+g.3gpp.smsip", "sip:a@10.0.0.1"},
		{"the same instance elsewhere", nil, "<sip:a@10.0.0.1>;" + imei1, "<sip:a@10.0.0.2>;" + imei1, "sip:a@10.0.0.2"},
		{"another instance elsewhere", nil, "<sip:a@10.0.0.1>;" + imei1, "<sip:a@10.0.0.2>;" + imei2, "sip:a@10.0.0.1, sip:a@10.0.0.2"},
		{"the SIM in another phone with the same address", nil, "<sip:a@10.0.0.1>;" + imei1, "<sip:a@10.0.0.1>;" + imei2, "sip:a@10.0.0.1"},
		{"no instance, another address", nil, "<sip:a@10.0.0.1>", "<sip:a@10.0.0.2>", "sip:a@10.0.0.1, sip:a@10.0.0.2"},
		{"an emergency registration beside it", nil, "<sip:a@10.0.0.1>;" + imei1, "<sip:a@10.0.0.1;sos>;" + imei1, "sip:a@10.0.0.1, sip:a@10.0.0.1;sos"},
		{"another flow", flows, "<sip:a@10.0.0.1>;reg-id=1;" + imei1, "<sip:a@10.0.0.2>;reg-id=2;" + imei1, "sip:a@10.0.0.1, sip:a@10.0.0.2"},
		{"another flow to the same URI", flows, "<sip:a@10.0.0.1>;reg-id=1;" + imei1, "<sip:a@10.0.0.1>;reg-id=2;" + imei1, "sip:a@10.0.0.1, sip:a@10.0.0.1"},
		{"the same flow", flows, "<sip:a@10.0.0.1>;reg-id=1;" + imei1, "<sip:a@10.0.0.2>;reg-id=1;" + imei1, "sip:a@10.0.0.2"},
		{"a flow of another instance", flows, "<sip:a@10.0.0.1>;reg-id=1;" + imei1, "<sip:a@10.0.0.2>;reg-id=1;" + imei2, "sip:a@10.0.0.1, sip:a@10.0.0.2"},
		{"no flow instead of one", flows, "<sip:a@10.0.0.1>;reg-id=1;" + imei1, "<sip:a@10.0.0.2>;" + imei1, "sip:a@10.0.0.2"},
		{"reg-id without outbound", flows[1:], "<sip:a@10.0.0.1>;reg-id=1;" + imei1, "<sip:a@10.0.0.2>;reg-id=2;" + imei1, "sip:a@10.0.0.2"},
		{"reg-id, and a P-CSCF that keeps no flows", flows[:1], "<sip:a@10.0.0.1>;reg-id=1;" + imei1, "<sip:a@10.0.0.2>;reg-id=2;" + imei1, "sip:a@10.0.0.2"},
		{"reg-id without instance", flows, "<sip:a@10.0.0.1>;reg-id=1", "<sip:a@10.0.0.1>;reg-id=2", "sip:a@10.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.register(append(slices.Clone(tt.lines), "Contact: "+tt.first)...)
				p.register(append(slices.Clone(tt.lines), "Contact: "+tt.second)...)
				var got []string
				for _, b := range h.has(p.impu).Bindings {
					got = append(got, b.Contact)
				}
				if s := strings.Join(got, ", "); s != tt.left {
					t.Errorf("left: %s, want %s", s, tt.left)
				}
			})
		})
	}
	t.Run("of many addresses the oldest goes", func(t *testing.T) {
		atHome(t, nil, func(h *homeNet) {
			p := h.alicePhone()
			for i := range maxBindings + 2 {
				p.register(fmt.Sprintf("Contact: <sip:a@10.0.1.%d>", i))
				time.Sleep(time.Second)
			}
			if b := h.has(p.impu).Bindings; len(b) != maxBindings || b[0].Contact != "sip:a@10.0.1.2" {
				t.Errorf("%d contacts, the first is %s", len(b), b[0].Contact)
			}
		})
	})
}

func TestQuery(t *testing.T) {
	conformance.Shows(t, "SR-10")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		m := p.register("Contact:") // nothing to tell, and nothing stays behind
		if m.Has(sip.HContact) || m.Has(sip.HPAssociatedURI) || m.Has(sip.HServiceRoute) {
			t.Errorf("a query of a user who is not registered got\n%s", m.Raw())
		}
		h.wantAsked("SAR alice@home.test sip:alice@home.test USER_DEREGISTRATION")
		p.register()
		h.hss.asked()
		time.Sleep(time.Minute)
		h.header(p.register("Contact:"), sip.HContact, "<sip:alice@10.0.0.1:5060>;expires=3540")
		h.header(p.again(200, "Contact:"), sip.HContact, "<sip:alice@10.0.0.1:5060>;expires=3540")
		h.wantAsked("")
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3540")
	})
}

func TestRegisteringAnewWhileRegistered(t *testing.T) {
	conformance.Shows(t, "SR-15")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register("Contact: <sip:alice@10.0.0.1:5060>;" + imei1)
		p.callID, p.cseq = sip.NewCallID(), 0
		p.contact = "<sip:alice@10.0.0.2:5060>;" + imei1
		p.challenge()
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600")
		p.send(403, p.digest("0", nil))
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600")
		p.register()
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.2:5060 3600")
	})
}

// Contacts of one REGISTER are dealt with in turn: what is left in the end decides what
// the HSS and the application servers are told.
func TestContactThatComesAndGoes(t *testing.T) {
	tests := []struct{ name, contacts, left string }{
		{"the same URI", "<sip:a@10.0.0.1>;expires=3600, <sip:a@10.0.0.1>;expires=0", ""},
		{"the same instance", "<sip:a@10.0.0.1>;" + imei1 + ", <sip:b@10.0.0.1>;expires=0;" + imei1, ""},
		{"with another that has taken its place", "<sip:a@10.0.0.1>;" + imei1 + ", <sip:b@10.0.0.1>;" + imei1 + ", <sip:b@10.0.0.1>;expires=0", ""},
		{"it goes and comes", "<sip:a@10.0.0.1>;expires=0, <sip:a@10.0.0.1>", "sip:a@10.0.0.1"},
		{"it has given way before", "<sip:a@10.0.0.1>;" + imei1 + ", <sip:b@10.0.0.1>;" + imei1 + ", <sip:a@10.0.0.1>;expires=0", "sip:b@10.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.served(onREGISTER(0, "sip:as1.home.test", continued))
				told := func(expires string) {
					t.Helper()
					m := h.as1.want("REGISTER")
					h.as1.reply(m, 200)
					h.header(m, sip.HExpires, expires)
				}
				listed := func(m *sip.Message, want string) {
					t.Helper()
					var got []string
					for v := range m.Values(sip.HContact) {
						a, _ := sip.ParseNameAddr(v)
						got = append(got, a.URI)
					}
					if s := strings.Join(got, ", "); s != want {
						t.Errorf("the 200 lists %q, want %q", s, want)
					}
				}
				listed(p.register("Contact: "+tt.contacts), tt.left)
				if tt.left == "" {
					h.wantAsked("SAR alice@home.test sip:alice@home.test USER_DEREGISTRATION")
					h.as1.nothing()
				} else {
					h.wantAsked("SAR alice@home.test sip:alice@home.test REGISTRATION")
					told("3600")
					p.again(200, "Contact: *", "Expires: 0")
					told("0")
				}

				// Beside one that stays, and over the security association.
				p.register()
				told("3600")
				h.hss.asked()
				beside := aliceAt
				if tt.left != "" {
					beside += ", " + tt.left
				}
				listed(p.register("Contact: "+tt.contacts), beside)
				told("3600")
				listed(p.again(200, "Contact: <"+aliceAt+">, <"+aliceAt+">;expires=0"), tt.left)
			})
		})
	}
}
