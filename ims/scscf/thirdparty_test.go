package scscf

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// onREGISTER is a criterion for REGISTERs of some kinds, all when there are none.
func onREGISTER(priority int32, server string, handling profile.DefaultHandling, kinds ...profile.RegistrationType) profile.InitialFilterCriteria {
	return to(priority, server, handling, profile.SPT{Kind: profile.MethodSPT, Text: "REGISTER", RegistrationTypes: kinds})
}

// served is Alice's phone, whose default identity has these criteria.
func (h *homeNet) served(criteria ...profile.InitialFilterCriteria) *phone {
	h.hss.user("alice@"+home, user(criteria, barred("sip:imsi@home.test"), id(aliceTel), id(aliceSIP), id(aliceNumber)))
	return h.phone("alice")
}

func TestThirdPartyRegistration(t *testing.T) {
	conformance.Shows(t, "TP-02", "TP-04", "TP-06", "TP-08")
	atHome(t, nil, func(h *homeNet) {
		h.hss.charge = &cx.ChargingInformation{PrimaryCollection: "aaa://ccf1"}
		p := h.served(onREGISTER(0, "sip:as1.home.test;x=y", continued), onREGISTER(1, "sip:as1.home.test;x=y", continued))
		var first *sip.Message
		next := func(cseq int, expires string) {
			t.Helper()
			m := h.as1.want("REGISTER")
			h.as1.reply(m, 200)
			h.ruri(m, "sip:as1.home.test;x=y")
			h.header(m, sip.HTo, "<"+aliceSIP+">")
			h.header(m, sip.HContact, "<sip:"+scscfAddr+">")
			h.header(m, sip.HExpires, expires)
			h.header(m, sip.HPAccessNetworkInfo, "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001")
			h.header(m, sip.HPVisitedNetworkID, `"visited.test"`)
			h.header(m, sip.HPChargingFunctionAddresses, `ccf="aaa://ccf1"`)
			if !strings.HasPrefix(m.Get(sip.HFrom), "<sip:"+scscfAddr+">;tag=") || m.ToTag() != "" || m.Has(sip.HAuthorization) {
				t.Errorf("the server gets\n%s", m.Raw())
			}
			if first == nil {
				first = m
				h.header(m, sip.HPChargingVector, `icid-value="ic-alice@home.test";orig-ioi="Type 3home.test"`)
			}
			if m.CallID() != first.CallID() || m.FromTag() != first.FromTag() {
				t.Error("the server cannot tell that it is the same registration")
			}
			h.header(m, sip.HCSeq, fmt.Sprintf("%d REGISTER", cseq))
		}
		p.register("Expires: 1800") // the 200 is there before want returns
		next(1, "1800")
		p.again(200)
		next(2, "3600")
		h.as1.nothing() // one a server and set, not one an identity or criterion
		p.again(200, "Expires: 0")
		next(3, "0")
		h.as1.nothing()

		// The next registration is another one; a pushed profile makes none.
		first = nil
		p.register()
		next(1, "3600")
		h.hss.ppr(&cx.PPR{UserName: p.impi, UserData: string(h.hss.users[p.impi].Marshal())})
		h.as1.nothing()
		p.again(200)
		next(2, "3600")
	})
}

// Criteria that come with a pushed profile, go and come back: for the server it is one
// registration.
func TestThirdPartyRegistrationByPushedCriteria(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.served()
		push := func(criteria ...profile.InitialFilterCriteria) {
			h.served(criteria...)
			h.hss.ppr(&cx.PPR{UserName: p.impi, UserData: string(h.hss.users[p.impi].Marshal())})
		}
		callID := ""
		told := func(cseq int, expires string) {
			t.Helper()
			m := h.as1.want("REGISTER")
			h.as1.reply(m, 200)
			h.header(m, sip.HExpires, expires)
			h.header(m, sip.HCSeq, fmt.Sprintf("%d REGISTER", cseq))
			if callID == "" {
				callID = m.CallID()
			}
			if m.CallID() != callID {
				t.Error("the server cannot tell that it is the same registration")
			}
		}
		p.register()
		if h.has(p.impu).State != nil {
			t.Error("there is a memory of whom nobody is told")
		}
		push(onREGISTER(0, "sip:as1.home.test", continued))
		p.again(200, "Expires: 0")
		told(1, "0")

		push()
		callID = ""
		p.register()
		h.as1.nothing()
		push(onREGISTER(0, "sip:as1.home.test", continued))
		p.again(200)
		told(1, "3600")
		push()
		p.again(200)
		h.as1.nothing()
		push(onREGISTER(0, "sip:as1.home.test", continued))
		p.again(200)
		told(2, "3600")
		p.again(200, "Expires: 0")
		told(3, "0")
	})
}

func TestThirdPartyRegistrationByCriteria(t *testing.T) {
	conformance.Shows(t, "TP-01")
	const first, again, leaving = profile.InitialRegistration, profile.ReRegistration, profile.DeRegistration
	sms := profile.SPT{Kind: profile.SIPHeaderSPT, Text: "Contact", Content: `\+g\.3gpp\.smsip`, HasContent: true}
	method := func(name string) profile.SPT { return profile.SPT{Kind: profile.MethodSPT, Text: name} }
	tests := []struct {
		name      string
		criterion profile.InitialFilterCriteria
		want      string // Expires of the REGISTERs to the server, of a registration, a refresh, a de-registration
	}{
		{"every REGISTER", onREGISTER(0, "sip:as1.home.test", continued), "3600 3600 0"},
		{"the first", onREGISTER(0, "sip:as1.home.test", continued, first), "3600"},
		{"refreshes", onREGISTER(0, "sip:as1.home.test", continued, again), "3600"},
		{"the last", onREGISTER(0, "sip:as1.home.test", continued, leaving), "0"},
		{"the first and the last", onREGISTER(0, "sip:as1.home.test", continued, first, leaving), "3600 0"},
		{"of phones for short messages", to(0, "sip:as1.home.test", continued, method("REGISTER"), sms), "3600 3600 0"},
		{"other requests", to(0, "sip:as1.home.test", continued, method("INVITE")), ""},
		{"other phones", to(0, "sip:as1.home.test", continued, method("REGISTER"), profile.SPT{Kind: profile.SIPHeaderSPT, Text: "Contact", Content: "mcptt", HasContent: true}), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, network := range []bool{false, true} {
				atHome(t, nil, func(h *homeNet) {
					p := h.served(tt.criterion, onREGISTER(9, "sip:as2.home.test", continued))
					p.contact += ";+g.3gpp.smsip"
					p.register()
					p.again(200)
					if network {
						h.hss.rtr(&cx.RTR{UserName: p.impi, Reason: cx.DeregistrationReason{Code: cx.ServerChange}})
					} else {
						p.again(200, "Expires: 0")
					}
					for range 3 {
						h.as2.want("REGISTER") // every server whose criterion matches
					}
					time.Sleep(time.Second)
					var got []string
					for len(h.as1.box) > 0 {
						got = append(got, (<-h.as1.box).Get(sip.HExpires))
					}
					if s := strings.Join(got, " "); s != tt.want {
						t.Errorf("the server is told %q, want %q", s, tt.want)
					}
				})
			}
		})
	}
	t.Run("of a user who has moved to another S-CSCF: nothing", func(t *testing.T) {
		atHome(t, nil, func(h *homeNet) {
			p := h.served(onREGISTER(0, "sip:as1.home.test", continued))
			p.register()
			h.as1.want("REGISTER")
			h.hss.rtr(&cx.RTR{UserName: p.impi, PublicIdentities: []string{aliceSIP}, Reason: cx.DeregistrationReason{Code: cx.NewServerAssigned}})
			h.as1.nothing()
		})
	})
	t.Run("without a refresh", func(t *testing.T) {
		atHome(t, nil, func(h *homeNet) {
			p := h.served(onREGISTER(0, "sip:as1.home.test", continued))
			p.register()
			h.as1.reply(h.as1.want("REGISTER"), 200)
			time.Sleep(time.Hour + time.Second)
			h.header(h.as1.want("REGISTER"), sip.HExpires, "0")
		})
	})
}

func TestBodyOfThirdPartyREGISTER(t *testing.T) {
	conformance.Shows(t, "TP-03", "IF-22")
	const info = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<ims-3gpp version="1"><service-info>gold &lt;&amp;&gt;</service-info></ims-3gpp>`
	tests := []struct {
		name              string
		info              string
		request, response bool
		wantType          string
		want              []string // the parts
	}{
		{"nothing", "", false, false, "", nil},
		{"service information", "gold <&>", false, false, "application/3gpp-ims+xml", []string{info}},
		{"the REGISTER", "", true, false, "message/sip", []string{"REGISTER"}},
		{"its answer", "", false, true, "message/sip", []string{"SIP/2.0 200"}},
		{"all of it", "gold <&>", true, true, "multipart/mixed", []string{info, "REGISTER", "SIP/2.0 200"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				c := onREGISTER(0, "sip:as1.home.test", continued)
				c.ApplicationServer.ServiceInfo, c.ApplicationServer.IncludeRegisterRequest, c.ApplicationServer.IncludeRegisterResponse = tt.info, tt.request, tt.response
				p := h.served(c)
				ok := p.register()
				m := h.as1.want("REGISTER")
				if tt.want == nil {
					if m.Body() != "" || m.Has(sip.HContentType) {
						t.Errorf("a body:\n%s", m.Raw())
					}
					return
				}
				ct, err := sip.ParseContentType(m.Get(sip.HContentType))
				if err != nil || !ct.Is(tt.wantType) {
					t.Fatalf("Content-Type is %q", m.Get(sip.HContentType))
				}
				got := []string{m.Body()}
				if boundary, _ := ct.Params.Get("boundary"); boundary != "" {
					got = nil
					for part := range parts(m.Body(), boundary) {
						_, body, _ := strings.Cut(part, "\r\n\r\n")
						got = append(got, strings.TrimSuffix(body, "\r"))
					}
				}
				if len(got) != len(tt.want) {
					t.Fatalf("%d parts in\n%s", len(got), m.Body())
				}
				for i, part := range got {
					switch want := tt.want[i]; want {
					case info:
						if part != want {
							t.Errorf("service information is\n%s", part)
						}
					case "REGISTER":
						if in, err := sip.Parse(part); err != nil || in.CallID() != p.callID || in.Get(sip.HPath) != p.path || !in.Has(sip.HAuthorization) {
							t.Errorf("the REGISTER is\n%s", part)
						}
					default:
						if part != ok.Raw() {
							t.Errorf("the answer is\n%s, and the phone got\n%s", part, ok.Raw())
						}
					}
				}
			})
		})
	}
}

func TestServerThatDoesNotTakeARegistration(t *testing.T) {
	conformance.Shows(t, "TP-05")
	tests := []struct {
		name     string
		handling profile.DefaultHandling
		status   int // 0 is none
		ends     bool
	}{
		{"silent, the session goes on", continued, 0, false},
		{"silent, the session ends", terminated, 0, true},
		{"fails, the session goes on", continued, 500, false},
		{"fails, the session ends", terminated, 503, true},
		{"does not want it", terminated, 403, false},
		{"takes it", terminated, 200, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.served(onREGISTER(0, "sip:as1.home.test", tt.handling), onREGISTER(1, "sip:as2.home.test", continued))
				p.register()
				h.as2.reply(h.as2.want("REGISTER"), 200)
				sub := h.watch(h.p2, aliceSIP, aliceSIP)
				sub.notify()
				h.hss.asked()
				m := h.as1.want("REGISTER")
				if tt.status != 0 {
					h.as1.reply(m, tt.status)
				}
				time.Sleep(10 * time.Second)
				if !tt.ends {
					h.wantAsked("")
					h.wantBindings(aliceSIP, aliceAt+" 3590")
					h.p2.nothing()
				} else {
					contact := "=terminated[deactivated " + aliceAt + "]"
					sub.wantNotify(state("terminated deactivated v1", contact, contact))
					h.wantAsked("SAR alice@home.test sip:alice@home.test ADMINISTRATIVE_DEREGISTRATION")
					h.wantBindings(aliceSIP, "")
					h.header(h.as2.want("REGISTER"), sip.HExpires, "0")
					h.told(trace.Failure, "The application server sip:as1.home.test does not take the registration of "+aliceSIP)
				}
			})
		})
	}
	// A phone that leaves has left, whatever a server says.
	atHome(t, nil, func(h *homeNet) {
		p := h.served(onREGISTER(0, "sip:as1.home.test", terminated, profile.DeRegistration))
		p.register()
		p.again(200, "Expires: 0")
		h.as1.reply(h.as1.want("REGISTER"), 500)
		time.Sleep(time.Second)
		h.told(trace.Failure, "does not take the registration of "+aliceSIP+": 500 Server Internal Error.")
		if h.logs.FilterMessageSnippet("the registration ends").Len() != 0 {
			t.Error("a registration that has ended ends")
		}
	})
	// What a server said of a registration that is over does not touch the next one.
	atHome(t, nil, func(h *homeNet) {
		p := h.served(onREGISTER(0, "sip:as1.home.test", terminated))
		p.register()
		m := h.as1.want("REGISTER")
		p.again(200, "Expires: 0")
		p.register()
		h.as1.reply(m, 500)
		synctest.Wait()
		time.Sleep(time.Second)
		h.wantBindings(aliceSIP, aliceAt+" 3599")
	})
}

// A registration that has no contacts is none to tell of.
func TestNobodyIsToldOfARegistrationWithoutContacts(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.served(onREGISTER(0, "sip:as1.home.test", continued))
		p.register()
		h.as1.reply(h.as1.want("REGISTER"), 200)
		tp := thirdParty{s: h.s, reg: h.has(aliceSIP).With(nil), kind: profile.ReRegistration}
		tp.tell()
		h.as1.nothing()
	})
}
