package icscf

import (
	"testing"
	"time"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestCalledUserIsLocated(t *testing.T) {
	conformance.Shows(t, "IC-08", "IC-09", "IC-15")
	tests := []struct {
		name, uri string
		identity  string // that the HSS is asked about
		out       string // Request-URI as forwarded
	}{
		{"sip", "sip:alice@" + domain, "sip:alice@" + domain, "sip:alice@" + domain},
		{"sip with everything", "SIP:alice@IMS.Example.org:5060;transport=udp", "sip:alice@" + domain, "SIP:alice@IMS.Example.org:5060;transport=udp"},
		{"tel", "tel:+49-30-123;isub=1", "tel:+4930123", "tel:+49-30-123;isub=1"},
		{"a number as sip", "sip:+49-30-123@" + domain + ";user=phone", "tel:+4930123", "tel:+4930123"},
		{"a local number", "sip:123;phone-context=" + domain + "@" + domain + ";user=phone", "tel:123", "tel:123"},
		{"a local number as tel", "tel:123;phone-context=" + domain, "tel:123", "tel:123;phone-context=" + domain},
		{"a number without user=phone", "sip:+4930123@" + domain, "sip:+4930123@" + domain, "sip:+4930123@" + domain},
	}
	for _, tt := range tests {
		for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE", "FOO"} {
			t.Run(tt.name+" "+method, func(t *testing.T) {
				run(t, func(w *world) {
					w.p.send(w.p.text(method, tt.uri, "c1", "Route: <sip:"+icscfAddr+";lr>, <sip:elsewhere.org;lr>"))
					q := w.lir(tt.identity)
					if q.lir.Originating || q.lir.Type != nil {
						t.Errorf("asked: %+v", q.lir)
					}
					q.named(t, s1)
					m := w.s1.request(method)
					check(t, "Request-URI", m.RequestURI(), tt.out)
					check(t, "Route", values(m, sip.HRoute), []string{"<" + s1 + ";lr>"})
					if m.Has(sip.HRecordRoute) {
						t.Error("an I-CSCF stays out of the way")
					}
					w.s1.answer(m, 486)
					w.p.status(486)
				})
			})
		}
	}
}

// Where there are several HSSes, the S-CSCF hears which one has the user.
func TestUserDatabase(t *testing.T) {
	conformance.Partly(t, "HD-08")
	for peers, want := range map[int]string{1: "", 2: "<aaa://hss." + domain + ">"} {
		run(t, func(w *world) {
			w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c1"))
			w.lir("sip:alice@"+domain).named(t, s1)
			check(t, "P-User-Database", w.s1.request("INVITE").Get(sip.HPUserDatabase), want)
			w.p.register("r1")
			w.uar(cx.Registration).named(t, s2)
			check(t, "P-User-Database", w.s2.request("REGISTER").Get(sip.HPUserDatabase), want)
		}, func(c *Config) {
			for len(c.Diameter.Peers) < peers {
				c.Diameter.Peers = append(c.Diameter.Peers, node.DiameterPeer{Address: "192.0.2.21:3868"})
			}
		})
	}
}

// A number becomes its tel form: another target of the same user.
func TestHistoryOfANumber(t *testing.T) {
	conformance.Partly(t, "HD-09")
	const number = "sip:+4930123@" + domain + ";user=phone"
	for history, want := range map[string][]string{
		"X: y":                                   nil,
		"History-Info: <" + number + ">;index=1": {"<" + number + ">;index=1", "<tel:+4930123>;index=1.1"},
		"History-Info: <sip:eve@x.org>;index=1":  {"<sip:eve@x.org>;index=1", "<" + number + ">;index=1.0", "<tel:+4930123>;index=1.0.1"},
	} {
		run(t, func(w *world) {
			w.p.send(w.p.text("INVITE", number, "c1", history))
			w.lir("tel:+4930123").named(t, s1)
			check(t, "History-Info", values(w.s1.request("INVITE"), sip.HHistoryInfo), want)
		})
	}
}

func TestTargetsThatAreNotOurs(t *testing.T) {
	conformance.Partly(t, "IC-11")
	tests := []struct {
		name, uri string
		lines     []string
		status    int
		words     string
	}{
		{"another domain", "sip:alice@other.org", nil, 404, "is not of " + domain},
		{"a number of another plan", "tel:123;phone-context=other.org", nil, 404, "is not of " + domain},
		{"a service", "urn:service:sos", []string{"To: <sip:x@y>"}, 416, "names nobody here"},
		{"within a dialog that ends here", "sip:alice@" + domain, []string{"To: <sip:x@y>;tag=z"}, 481, "an I-CSCF is in no dialog"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.send(w.p.text("INVITE", tt.uri, "c1", tt.lines...))
				w.p.refused(tt.status, tt.words)
				w.quiet()
			})
		})
	}
}

// What comes along a route all the same goes on along it; nothing else does, or we
// would carry anybody's requests anywhere.
func TestWithinADialog(t *testing.T) {
	run(t, func(w *world) {
		to := "To: <sip:x@y>;tag=z"
		w.p.send(w.p.text("BYE", "sip:alice@198.51.100.1", "c1", to, "Route: <sip:"+icscfAddr+";lr>, <sip:"+s1Addr+";lr>"))
		m := w.s1.request("BYE")
		check(t, "Route", values(m, sip.HRoute), []string{"<sip:" + s1Addr + ";lr>"})
		w.s1.answer(m, 200)
		w.p.status(200)
		w.p.send(w.p.text("ACK", "sip:alice@"+s1Addr, "c1", to))
		w.s1.nothing(time.Second)
		w.p.send(w.p.text("ACK", "sip:alice@198.51.100.1", "c1", to, "Route: <sip:"+s1Addr+";lr>"))
		time.Sleep(time.Second)
		if len(w.s1.box) == 0 {
			t.Error("an ACK with a route is lost")
		}
		for len(w.s1.box) > 0 {
			<-w.s1.box
		}
		w.quiet()
	})
}

func TestOriginatingRequest(t *testing.T) {
	conformance.Shows(t, "IC-13")
	tests := []struct {
		name     string
		lines    []string
		identity string // "" for a refusal
	}{
		{"P-Served-User", []string{"P-Served-User: <sip:alice@" + domain + ">;sescase=orig;regstate=unreg", "P-Asserted-Identity: <sip:bob@" + domain + ">"}, "sip:alice@" + domain},
		{"P-Asserted-Identity", []string{"P-Asserted-Identity: \"B\" <sip:bob@" + domain + ">, <tel:+49>"}, "sip:bob@" + domain},
		{"none", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.send(w.p.text("INVITE", "sip:somebody@other.org", "c1", append(tt.lines, "Route: <sip:icscf."+domain+";lr;orig>")...))
				if tt.identity == "" {
					w.p.refused(403, "names no served user")
					return
				}
				q := w.lir(tt.identity)
				if !q.lir.Originating {
					t.Error("Originating-Request is missing")
				}
				q.named(t, s1)
				m := w.s1.request("INVITE")
				check(t, "Route", values(m, sip.HRoute), []string{"<" + s1 + ";lr;orig>"})
				check(t, "Request-URI", m.RequestURI(), "sip:somebody@other.org")
			})
		})
	}
}

func TestAnswersToLIR(t *testing.T) {
	conformance.Shows(t, "IC-10", "IC-12", "IC-14", "IC-16")
	conformance.Partly(t, "HD-08")
	tests := []struct {
		name   string
		answer func(t *testing.T, q question)
		route  string // of the request; "" for a refusal
		key    string // P-Profile-Key
		status int
		words  string
	}{
		{"the S-CSCF's name", func(t *testing.T, q question) { q.named(t, s3) }, s3 + ";lr", "", 0, ""},
		{"a name without scheme", func(t *testing.T, q question) { q.named(t, s3Addr) }, s3 + ";lr", "", 0, ""},
		{"unregistered service, capabilities", func(t *testing.T, q question) { q.capable(t, &cx.ServerCapabilities{Mandatory: []uint32{3}}) }, s3 + ";lr", "", 0, ""},
		{"unregistered service, nothing", func(t *testing.T, q question) { q.result(t, cx.UnregisteredService.Result()) }, s1 + ";lr", "", 0, ""},
		{"no name stored", func(t *testing.T, q question) { q.result(t, cx.SuccessServerNameNotStored.Result()) }, s1 + ";lr", "", 0, ""},
		{"a service at an application server", func(t *testing.T, q question) {
			q.answer(t, &cx.LIA{AnswerHeader: cx.AnswerHeader{Result: diameter.Base(diameter.Success)}, ServerName: "sip:as.example.org;x=y", Flags: cx.LIAPSIDirectRouting})
		}, "sip:as.example.org;x=y;lr", "", 0, ""},
		{"a wildcarded identity", func(t *testing.T, q question) {
			q.answer(t, &cx.LIA{AnswerHeader: cx.AnswerHeader{Result: diameter.Base(diameter.Success)}, ServerName: s3, WildcardedPublicIdentity: "sip:ali!.*!@" + domain})
		}, s3 + ";lr", "<sip:ali!.*!@" + domain + ">", 0, ""},
		{"unknown", func(t *testing.T, q question) { q.result(t, cx.ErrorUserUnknown.Result()) }, "", "", 404, "The HSS does not know sip:alice@" + domain},
		{"not registered", func(t *testing.T, q question) { q.result(t, cx.ErrorIdentityNotRegistered.Result()) }, "", "", 480, "is not registered, and has no services"},
		{"some other failure", func(t *testing.T, q question) { q.result(t, diameter.Base(diameter.UnableToComply)) }, "", "", 480, "could not be asked"},
		{"nothing", func(*testing.T, question) {}, "", "", 480, "could not be asked"},
		{"capabilities that nobody has", func(t *testing.T, q question) { q.capable(t, &cx.ServerCapabilities{Mandatory: []uint32{9}}) }, "", "", 504, "No S-CSCF has the capabilities"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c1"))
				tt.answer(t, w.lir("sip:alice@"+domain))
				if tt.route == "" {
					w.p.refused(tt.status, tt.words)
					return
				}
				to := w.s3
				if tt.route == s1+";lr" {
					to = w.s1
				}
				m := to.request("INVITE")
				check(t, "Route", values(m, sip.HRoute), []string{"<" + tt.route + ">"})
				check(t, "P-Profile-Key", m.Get(sip.HPProfileKey), tt.key)
			})
		})
	}
}

func TestSCSCFOfTheCalledUserIsGone(t *testing.T) {
	conformance.Shows(t, "IC-20")
	t.Run("another one takes the call", func(t *testing.T) {
		run(t, func(w *world) {
			start := time.Now()
			w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c1"))
			w.lir("sip:alice@"+domain).named(t, s1)
			w.s1.request("INVITE") // and nothing
			q := w.lir("sip:alice@" + domain)
			if q.lir.Type == nil || *q.lir.Type != cx.RegistrationAndCapabilities {
				t.Errorf("asked: %+v", q.lir)
			}
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("noticed after %v", took)
			}
			q.named(t, s1) // some HSSes do not care what they are asked
			m := w.s2.request("INVITE")
			check(t, "Route", values(m, sip.HRoute), []string{"<" + s2 + ";lr>"})
			w.s2.answer(m, 486)
			w.p.status(486)
		})
	})
	t.Run("another one of those that the HSS leaves to us", func(t *testing.T) {
		run(t, func(w *world) {
			w.down(s1Addr)
			w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c1"))
			w.lir("sip:alice@"+domain).capable(t, nil)
			w.s2.answer(w.s2.request("INVITE"), 486)
			w.p.status(486)
			w.quiet()
		})
	})
	t.Run("nobody does", func(t *testing.T) {
		run(t, func(w *world) {
			w.down(s1Addr, s2Addr, s3Addr)
			w.p.send(w.p.text("MESSAGE", "sip:alice@"+domain, "c1"))
			w.lir("sip:alice@"+domain).named(t, s1)
			w.lir("sip:alice@"+domain).capable(t, nil)
			w.p.refused(504, "tried "+s1+", "+s2+", "+s3)
		})
	})
	t.Run("the HSS has no other", func(t *testing.T) {
		run(t, func(w *world) {
			w.down(s1Addr)
			w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c1"))
			w.lir("sip:alice@"+domain).named(t, s1)
			w.lir("sip:alice@"+domain).result(t, cx.ErrorUserUnknown.Result())
			w.p.refused(504, "No S-CSCF serves sip:alice@"+domain)
		})
	})
	t.Run("it is only slow", func(t *testing.T) {
		run(t, func(w *world) {
			w.p.send(w.p.text("MESSAGE", "sip:alice@"+domain, "c1"))
			w.lir("sip:alice@"+domain).named(t, s1)
			m := w.s1.request("MESSAGE")
			w.s1.answer(m, 100)
			time.Sleep(20 * time.Second)
			w.s1.answer(m, 202)
			w.p.status(202)
			w.quiet()
		})
	})
	t.Run("the call is not answered", func(t *testing.T) {
		run(t, func(w *world) {
			w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c1"))
			w.lir("sip:alice@"+domain).named(t, s1)
			m := w.s1.request("INVITE")
			w.s1.answer(m, 180)
			w.p.status(180)
			w.s1.answer(w.s1.request("CANCEL"), 200) // Timer C
			w.s1.answer(m, 487)
			w.p.status(408)
			w.quiet()
		})
	})
}

// The caller hangs up while the HSS is asked.
func TestCancelWhileTheHSSIsAsked(t *testing.T) {
	run(t, func(w *world) {
		invite := w.p.text("INVITE", "sip:alice@"+domain, "c1")
		w.p.send(invite)
		q := w.lir("sip:alice@" + domain)
		m, err := sip.Parse(invite)
		if err != nil {
			t.Fatal(err)
		}
		w.p.send(w.p.text("CANCEL", "sip:alice@"+domain, "c1", "Via: "+m.Get(sip.HVia), "CSeq: 1 CANCEL", "-Contact"))
		w.p.status(200)
		w.p.status(487)
		q.named(t, s1)
		w.s1.nothing(time.Second)
	})
}
