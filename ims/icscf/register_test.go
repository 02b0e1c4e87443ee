package icscf

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/testbed/conformance"
)

const private = "alice.private@" + domain

func TestRegisterAsksAndForwards(t *testing.T) {
	conformance.Shows(t, "IC-01", "IC-02", "IC-03", "IC-04")
	conformance.Partly(t, "HD-01")
	const digest = `Authorization: Digest username="` + private + `", nonce=""`
	tests := []struct {
		name          string
		lines         []string
		impi, visited string
		kind          cx.UserAuthorizationType
	}{
		{"first", nil, private, domain, cx.Registration},
		{"from a visited network, quoted", []string{`P-Visited-Network-ID: "visited network 1"`}, private, "visited network 1", cx.Registration},
		{"unquoted, the first of two", []string{"P-Visited-Network-ID: visited.org;x=y, other.org"}, private, "visited.org", cx.Registration},
		{"without Authorization", []string{"-Authorization"}, "alice@" + domain, domain, cx.Registration},
		{"Authorization without a username", []string{`Authorization: Digest realm="x"`}, "alice@" + domain, domain, cx.Registration},
		{"behind another scheme", []string{"Authorization: Basic x", "+" + digest}, private, domain, cx.Registration},
		{"To with parameters", []string{"-Authorization", `To: "A" <SIP:alice@IMS.example.org:5060;user=ip>;x=y`}, "alice@" + domain, domain, cx.Registration},
		{"Expires: 0", []string{"Expires: 0"}, private, domain, cx.Deregistration},
		{"Expires: 00", []string{"Expires: 00"}, private, domain, cx.Deregistration},
		{"expires of the contact", []string{"Contact: <sip:x@y>;expires=0", "Expires: 3600"}, private, domain, cx.Deregistration},
		{"the contact stays", []string{"Contact: <sip:x@y>;expires=60", "Expires: 0"}, private, domain, cx.Registration},
		{"one of two stays", []string{"Contact: <sip:x@y>;expires=0, <sip:z@y>;expires=60"}, private, domain, cx.Registration},
		{"both go", []string{"Contact: <sip:x@y>;expires=0, <sip:z@y>;expires=0"}, private, domain, cx.Deregistration},
		{"all go", []string{"Contact: *", "Expires: 0"}, private, domain, cx.Deregistration},
		{"a query", []string{"-Contact", "Expires: 0"}, private, domain, cx.Registration},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.register("r1", append(tt.lines, "Route: <sip:icscf."+domain+";lr>, <sip:elsewhere.org;lr>")...)
				q := w.uar(tt.kind)
				check(t, "identities", q.uar.UserName+" "+q.uar.PublicIdentity, tt.impi+" sip:alice@"+domain)
				check(t, "visited network", q.uar.VisitedNetworkID, tt.visited)
				q.named(t, s2)
				m := w.s2.request("REGISTER")
				check(t, "Request-URI", m.RequestURI(), s2)
				check(t, "Path", values(m, sip.HPath), []string{"<sip:token@" + pcscfAddr + ";lr>"})
				if m.Has(sip.HRoute) || m.Has(sip.HRecordRoute) {
					t.Errorf("forwarded:\n%s", m.Raw())
				}
				w.s2.answer(m, 200, "Service-Route: <sip:orig@"+s2Addr+";lr>")
				check(t, "Service-Route", w.p.status(200).Get(sip.HServiceRoute), "<sip:orig@"+s2Addr+";lr>")
				w.quiet()
			})
		})
	}
}

// The HSS is told of an emergency registration, by which it bars nobody (TS 29.229
// 6.3.44).
func TestEmergencyRegistration(t *testing.T) {
	conformance.Partly(t, "PE-03")
	for contact, flags := range map[string]uint32{
		"<sip:alice@198.51.100.1;sos>": cx.UAREmergencyRegistration, "<sip:alice@198.51.100.1>;sos": 0,
		"<sip:sos@198.51.100.1>, <sip:alice@198.51.100.1;SOS=x>;expires=600": cx.UAREmergencyRegistration,
	} {
		t.Run(contact, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.register("r1", "Contact: "+contact)
				q := w.uar(cx.Registration)
				check(t, "UAR-Flags", q.uar.Flags, flags)
				q.result(t, cx.FirstRegistration.Result())
				m := w.s1.request("REGISTER")
				w.s1.answer(m, 403)
				w.p.status(403)
			})
		})
	}
}

func TestRegistersThatAreRefused(t *testing.T) {
	conformance.Partly(t, "IC-18")
	tests := []struct {
		name   string
		lines  []string
		status int
		words  string
	}{
		{"not through a P-CSCF", []string{"-Path"}, 403, "did not come through a P-CSCF"},
		{"Authorization that cannot be read", []string{`Authorization: Digest username="a`}, 400, "Authorization header cannot be read"},
		{"no private identity to be had", []string{"-Authorization", "To: <tel:+4912345>"}, 403, "names no private identity"},
		{"To that is nobody", []string{"To: <urn:x:y>"}, 400, "To names no public identity"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.register("r1", tt.lines...)
				w.p.refused(tt.status, tt.words)
				w.quiet()
			})
		})
	}
}

// What HSSes answer to a UAR (TS 29.228 6.1.1, and what they really do).
func TestAnswersToUAR(t *testing.T) {
	conformance.Shows(t, "IC-05")
	success := cx.FirstRegistration.Result()
	tests := []struct {
		name   string
		answer func(t *testing.T, q question)
		to     string // the S-CSCF that gets the REGISTER, "" for none
	}{
		{"nothing but a result", func(t *testing.T, q question) { q.result(t, success) }, s1},
		{"the old SERVER_SELECTION", func(t *testing.T, q question) { q.result(t, cx.Experimental(2005).Result()) }, s1},
		{"DIAMETER_SUCCESS", func(t *testing.T, q question) { q.result(t, diameter.Base(diameter.Success)) }, s1},
		{"a name without scheme", func(t *testing.T, q question) { q.named(t, "s2.example.org:5060") }, s2},
		{"a name with success", func(t *testing.T, q question) {
			q.answer(t, &cx.UAA{AnswerHeader: cx.AnswerHeader{Result: diameter.Base(diameter.Success)}, ServerName: s2})
		}, s2},
		{"a name that is none", func(t *testing.T, q question) { q.named(t, "tel:+49") }, s1},
		{"a mandatory capability", func(t *testing.T, q question) { q.capable(t, &cx.ServerCapabilities{Mandatory: []uint32{2}}) }, s2},
		{"an optional one", func(t *testing.T, q question) { q.capable(t, &cx.ServerCapabilities{Optional: []uint32{3}}) }, s3},
		{"a preferred name", func(t *testing.T, q question) {
			q.capable(t, &cx.ServerCapabilities{Mandatory: []uint32{1}, ServerNames: []string{"not a name", "s3.invalid;;", s3}})
		}, s3},
		{"capabilities that nobody has", func(t *testing.T, q question) { q.capable(t, &cx.ServerCapabilities{Mandatory: []uint32{9}}) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.register("r1")
				tt.answer(t, w.uar(cx.Registration))
				for name, p := range map[string]*peer{s1: w.s1, s2: w.s2, s3: w.s3} {
					if cx.ServerURI(tt.to) == name {
						m := p.request("REGISTER")
						p.answer(m, 403)
						w.p.status(403)
					}
				}
				if tt.to == "" {
					w.p.refused(504, "No S-CSCF has the capabilities")
				}
			})
		})
	}
}

func TestHSSThatRefusesOrIsSilent(t *testing.T) {
	conformance.Partly(t, "IC-06")
	tests := []struct {
		name   string
		result diameter.Result // zero: no answer
		status int
		words  string
	}{
		{"unknown user", cx.ErrorUserUnknown.Result(), 403, "The HSS does not know " + private},
		{"identities that do not match", cx.ErrorIdentitiesDontMatch.Result(), 403, "is no public identity of " + private},
		{"not registered", cx.ErrorIdentityNotRegistered.Result(), 403, "nothing to de-register"},
		{"roaming", cx.ErrorRoamingNotAllowed.Result(), 403, "may not roam in " + domain},
		{"barred", diameter.Base(diameter.AuthorizationRejected), 403, "is barred"},
		{"a base code where others are meant", diameter.Base(5001), 480, "The HSS could not be asked"},
		{"some other failure", diameter.Base(diameter.UnableToComply), 480, "The HSS could not be asked"},
		{"no answer", diameter.Result{}, 480, "The HSS could not be asked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.register("r1")
				start := time.Now()
				q := w.uar(cx.Registration)
				if tt.result.Code != 0 {
					q.result(t, tt.result)
				}
				w.p.refused(tt.status, tt.words)
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("it took %v", took)
				}
				w.s1.nothing(time.Second)
			})
		})
	}
}

func TestNoHSSAtAll(t *testing.T) {
	run(t, func(w *world) {
		if err := w.hss.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if w.i.Ready() == nil {
			t.Error("ready without an HSS")
		}
		start := time.Now()
		w.p.register("r1")
		w.p.refused(480, "The HSS could not be asked")
		w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c1"))
		w.p.refused(480, "The HSS could not be asked")
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestNextSCSCF(t *testing.T) {
	conformance.Shows(t, "IC-07")
	conformance.Partly(t, "RS-02")
	tests := []struct {
		name   string
		status int // of the first; 0: silent, -1: not there
	}{{"silent", 0}, {"not there", -1}, {"redirects", 302}, {"not available", 480}}
	for _, tt := range tests {
		fails := func(w *world, p *peer) {
			if tt.status < 0 {
				return
			}
			m := p.request("REGISTER")
			if tt.status > 0 {
				p.answer(m, tt.status, "Contact: <sip:elsewhere.org>")
			}
		}
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				if tt.status < 0 {
					w.down(s1Addr)
				}
				w.p.register("r1")
				w.uar(cx.Registration).named(t, s1)
				fails(w, w.s1)
				q := w.uar(cx.RegistrationAndCapabilities)
				check(t, "asked again for", q.uar.UserName+" "+q.uar.PublicIdentity+" "+q.uar.VisitedNetworkID, private+" sip:alice@"+domain+" "+domain)
				q.capable(t, &cx.ServerCapabilities{Mandatory: []uint32{1}})
				m := w.s2.request("REGISTER") // s1 has been tried
				check(t, "Request-URI", m.RequestURI(), s2)
				w.s2.answer(m, 401, `WWW-Authenticate: Digest realm="x", nonce="y"`)
				w.p.status(401)
			})
			run(t, func(w *world) { // the HSS has given capabilities at once, and nobody serves
				if tt.status < 0 {
					w.down(s1Addr, s2Addr, s3Addr)
				}
				w.p.register("r1")
				w.uar(cx.Registration).capable(t, nil)
				for _, p := range []*peer{w.s1, w.s2, w.s3} {
					fails(w, p)
				}
				w.uar(cx.RegistrationAndCapabilities).capable(t, nil)
				w.p.refused(504, "No S-CSCF serves "+private+": tried "+strings.Join([]string{s1, s2, s3}, ", "))
			})
		})
	}
}

// There is no other S-CSCF for one who leaves, and none that the HSS names when it
// has been asked again.
func TestNoOtherSCSCF(t *testing.T) {
	conformance.Partly(t, "IC-06", "IC-07")
	t.Run("de-registration", func(t *testing.T) {
		run(t, func(w *world) {
			w.down(s1Addr)
			w.p.register("r1", "Expires: 0")
			w.uar(cx.Deregistration).named(t, s1)
			w.p.refused(504, "No S-CSCF serves "+private)
			w.quiet()
		})
	})
	for name, answer := range map[string]func(t *testing.T, q question){
		"the HSS refuses":      func(t *testing.T, q question) { q.result(t, diameter.Base(diameter.UnableToComply)) },
		"the HSS is silent":    func(*testing.T, question) {},
		"nobody is as capable": func(t *testing.T, q question) { q.capable(t, &cx.ServerCapabilities{Mandatory: []uint32{9}}) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world) {
				w.down(s1Addr)
				w.p.register("r1")
				w.uar(cx.Registration).named(t, s1)
				answer(t, w.uar(cx.RegistrationAndCapabilities))
				w.p.refused(504, "No S-CSCF serves "+private)
			})
		})
	}
	t.Run("a name that cannot be resolved", func(t *testing.T) {
		run(t, func(w *world) {
			w.p.register("r1")
			w.uar(cx.Registration).named(t, "sip:nowhere.example.org")
			w.uar(cx.RegistrationAndCapabilities).named(t, "sip:nowhere.example.org") // as Open5GS does
			m := w.s1.request("REGISTER")
			check(t, "Request-URI", m.RequestURI(), s1)
		})
	})
}

// An HSS may name another S-CSCF each time until the SAR: the one that has sent the
// challenge gets the answer, for as long as the challenge lives.
func TestAnswerGoesToTheChallenger(t *testing.T) {
	const answer = `Authorization: Digest username="` + private + `", nonce="n", response="%s"`
	tests := []struct {
		name     string
		callID   string
		auth     string
		after    time.Duration
		toSecond bool
	}{
		{"an answer", "r1", fmt.Sprintf(answer, "r"), time.Second, true},
		{"MAC failure: no response", "r1", fmt.Sprintf(answer, ""), time.Second, true},
		{"of a challenge that is still valid", "r1", fmt.Sprintf(answer, "r"), regAwaitAuth - time.Second, true},
		{"too late", "r1", fmt.Sprintf(answer, "r"), regAwaitAuth, false},
		{"of another Call-ID", "r2", fmt.Sprintf(answer, "r"), time.Second, false},
		{"no answer", "r1", `Authorization: Digest username="` + private + `", nonce=""`, time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.register("r1")
				w.uar(cx.Registration).named(t, s2)
				w.s2.answer(w.s2.request("REGISTER"), 401, `WWW-Authenticate: Digest realm="x", nonce="n"`)
				w.p.status(401)
				time.Sleep(tt.after)
				w.p.register(tt.callID, tt.auth)
				w.uar(cx.Registration).named(t, s3)
				to := w.s3
				if tt.toSecond {
					to = w.s2
				}
				to.answer(to.request("REGISTER"), 200)
				w.p.status(200)
				// Once: after that, the HSS knows.
				w.p.register(tt.callID, tt.auth)
				w.uar(cx.Registration).named(t, s3)
				w.s3.request("REGISTER")
			})
		})
	}
}

func TestChallengersAreBounded(t *testing.T) {
	r, now := newRecent(), time.Now()
	long := strings.Repeat("x", 1<<16)
	for i := range 3 * maxRecent {
		r.challenged("alice", fmt.Sprint(i), s1, now)
	}
	r.challenged(long, long, s2, now)
	if n := len(r.young) + len(r.old); n > 2*maxRecent {
		t.Errorf("%d are remembered", n)
	}
	check(t, "the newest", r.by(long, long, now), s2)
	check(t, "once", r.by(long, long, now), "")
	check(t, "the oldest", r.by("alice", "0", now), "")
}

// The datagram that carries the REGISTER to the S-CSCF is lost.
func TestRegisterIsRetransmitted(t *testing.T) {
	run(t, func(w *world) {
		lost := 0
		w.net.SetHook(func(k memnet.Packet) memnet.Verdict {
			if k.To.String() == s1Addr && lost < 2 {
				lost++
				return memnet.Drop
			}
			return memnet.Pass
		})
		w.p.register("r1")
		w.uar(cx.Registration).named(t, s1)
		w.s1.answer(w.s1.request("REGISTER"), 200)
		w.p.status(200)
		w.quiet()
	})
}
