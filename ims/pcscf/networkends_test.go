package pcscf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// regInfo says that the registration of alice's contact is in that state.
func regInfo(contact, state string) string {
	return `<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="1" state="full">` +
		`<registration aor="sip:alice@` + domain + `" id="r1" state="` + state + `"><contact id="c1" state="` + state + `" event="deactivated"><uri>` + contact + `</uri></contact></registration></reginfo>`
}

// subscribeTo has a phone subscribe; the S-CSCF answers it itself, and stays in no route.
// accept answers the SUBSCRIBE.
func subscribeTo(p *peer, uri, event string) (accept func()) {
	w := p.w
	w.t.Helper()
	p.send(gmAddr, p.text("SUBSCRIBE", uri, "s1", "Event: "+event, "Expires: 600000"))
	a := w.scscf.request("SUBSCRIBE")
	return func() {
		w.t.Helper()
		w.scscf.answer(a, 200, "Contact: <sip:"+scscfAddr+">", "Expires: 600000")
		p.status(200)
	}
}

// Whoever talks to a phone can send a NOTIFY in that dialog. Only what comes in its
// subscription to its own registration ends that.
func TestWhoEndsARegistration(t *testing.T) {
	subscribed := func(uri, event string) func(*peer) (string, string) {
		return func(p *peer) (string, string) {
			subscribeTo(p, uri, event)()
			return "s1", "scscf"
		}
	}
	tests := []struct {
		name  string
		begin func(p *peer) (callID, far string)
		ends  bool
	}{
		{"a call that she makes", func(p *peer) (string, string) {
			newCall(p, "c1")
			return "c1", "far"
		}, false},
		{"a call that she gets", func(p *peer) (string, string) {
			w := p.w
			w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@"+p.addr.String(), "c1", toAlice(w.token("alice"))...))
			p.answer(p.request("INVITE"), 200, "Contact: <sip:alice@"+p.addr.String()+">")
			w.scscf.status(200)
			return "c1", "scscf"
		}, false},
		{"nothing that anybody knows", func(*peer) (string, string) { return "x", "x" }, false},
		{"her subscription to another's", subscribed("sip:bob@"+domain, "reg"), false},
		{"her subscription to something else", subscribed("sip:alice@"+domain, "presence"), false},
		{"a tag that is not the S-CSCF's", func(p *peer) (string, string) {
			subscribeTo(p, "sip:alice@"+domain, "reg")()
			return "s1", "other"
		}, false},
		{"the Call-ID of a SUBSCRIBE that was refused", func(p *peer) (string, string) {
			p.send(gmAddr, p.text("SUBSCRIBE", "sip:alice@"+domain, "s1", "Event: reg"))
			p.w.scscf.answer(p.w.scscf.request("SUBSCRIBE"), 480)
			p.status(480)
			return "s1", "scscf"
		}, false},

		{"hers", subscribed("sip:alice@"+domain, "reg"), true},
		{"hers, otherwise written", subscribed("sip:alice@IMS.example.ORG:5060;x=y", "Reg;id=1"), true},
		{"hers, by her number", subscribed("tel:+49"+number("alice"), "reg"), true},
		{"hers, by her number as SIP has it", subscribed("sip:+49"+number("alice")+"@"+domain+";user=phone", "reg"), true},
		{"hers, before the 200", func(p *peer) (string, string) {
			subscribeTo(p, "sip:alice@"+domain, "reg")
			return "s1", "any"
		}, true},
		{"hers, which a NOTIFY has made", func(p *peer) (string, string) {
			accept := subscribeTo(p, "sip:alice@"+domain, "reg")
			notify(p, "s1", "scscf", "active", "Record-Route: "+farRoute[0])
			accept()
			time.Sleep(10 * time.Minute)
			return "s1", "scscf"
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				p.register()
				callID, far := tt.begin(p)
				notify(p, callID, far, "terminated")
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m1"))
				if tt.ends {
					p.refused(403, "No phone is registered from")
				} else {
					w.scscf.answer(w.scscf.request("MESSAGE"), 200)
					p.status(200)
				}
				time.Sleep(2 * time.Minute)
				w.p.dialogs.mu.Lock()
				check(t, "SUBSCRIBEs under way", len(w.p.dialogs.asking), 0)
				w.p.dialogs.mu.Unlock()
			})
		})
	}
}

// regInfoOf says in what state a contact is at each of several identities: pairs of both.
func regInfoOf(document, contact string, states ...string) string {
	doc := `body:<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="1" state="` + document + `">`
	for i := 0; i < len(states); i += 2 {
		id, state, event := states[i], states[i+1], "registered"
		if state == "terminated" {
			event = "deactivated"
		}
		doc += `<registration aor="` + id + `" id="r` + id + `" state="` + state + `"><contact id="c1" state="` + state + `" event="` + event + `"><uri>` + contact + `</uri></contact></registration>`
	}
	return doc + `</reginfo>`
}

// The network takes one identity of a set away, or bars it: the phone stays registered as
// the others, and only with the last one it is not.
func TestOneIdentityEnds(t *testing.T) {
	const name, second, gone, on = "sip:alice@" + domain, "sip:b@" + domain, "terminated", "active"
	tel := "tel:+49" + number("alice")
	as := func(identities string) []string {
		return []string{"Contact: <sip:alice@198.51.100.1:5060>;expires=3600", "Service-Route: " + route, "P-Associated-URI: " + identities}
	}
	tests := []struct {
		name    string
		granted []string
		notify  [][]string // what each says: the document's state, and pairs of identity and state
		left    string     // what may be asserted, the default one first
	}{
		{"the other one", nil, [][]string{{"full", name, on, tel, gone}}, name},
		{"the default one", nil, [][]string{{"full", name, gone, tel, on}}, tel},
		{"the default one, before another SIP URI", as("<" + name + ">, <" + tel + ">, <" + second + ">"), [][]string{{"full", name, gone, tel, on, second, on}}, second + " " + tel},
		{"all", nil, [][]string{{"full", name, gone, tel, gone}}, ""},
		{"all that a full document names", nil, [][]string{{"full", name, gone}}, ""},
		{"all that a partial document names", nil, [][]string{{"partial", name, gone}}, tel},
		{"one after the other", nil, [][]string{{"full", name, gone, tel, on}, {"full", tel, gone}}, ""},
		{"one after the other, in parts", nil, [][]string{{"partial", name, gone}, {"partial", tel, gone}}, ""},
		{"that of To, which may not be asserted", as("<" + tel + ">, <" + second + ">"), [][]string{{"full", name, gone, tel, on, second, on}}, second + " " + tel},
		{"another's", nil, [][]string{{"full", name, on, tel, on, "sip:bob@" + domain, gone}}, name + " " + tel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				p.register(tt.granted...)
				subscribeTo(p, "sip:alice@"+domain, "reg")()
				before := w.p.bindings.of("alice@" + domain)[0]
				was := before.sets[0].identities[0]
				for _, n := range tt.notify {
					notify(p, "s1", "scscf", gone, regInfoOf(n[0], "sip:alice@"+p.addr.String(), n[1:]...))
				}
				check(t, "the binding of before has", before.sets[0].identities[0], was)
				if !before.registered(time.Now()) {
					t.Error("who holds the binding of before sees it change")
				}
				left := strings.Fields(tt.left)
				for i, preferred := range []string{name, tel} {
					p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, fmt.Sprint("m", i), "P-Preferred-Identity: <"+preferred+">"))
					if len(left) == 0 {
						p.refused(403, "No phone is registered from")
						continue
					}
					want := left[0]
					if slices.Contains(left, preferred) {
						want = preferred
					}
					m := w.scscf.request("MESSAGE")
					check(t, "asserted where "+preferred+" is asked for", m.Get(sip.HPAssertedIdentity), "<"+want+">")
					w.scscf.answer(m, 200)
					p.status(200)
				}
			})
		})
	}
}

// Two NOTIFYs under way at once take an identity each, and what the phone has registered
// since then, or another phone from its address, is not meant.
func TestWhatANotifyEnds(t *testing.T) {
	const key, tel = "alice", "tel:+4912"
	one, other, both := ending{gone: []string{key}, active: []string{tel}}, ending{gone: []string{tel}, active: []string{key}}, ending{gone: []string{key, tel}}
	tests := []struct {
		name  string
		since func(s *Server, b *binding)
		ends  ending
		want  string // the identities that are left
	}{
		{"one", func(*Server, *binding) {}, one, tel},
		{"both", func(*Server, *binding) {}, both, ""},
		{"the other one in the meantime", func(s *Server, b *binding) { s.ended(b, other) }, one, ""},
		{"registered again", func(s *Server, b *binding) {
			again := *b
			again.hold([]set{b.sets[0]})
			again.sets[0].expires = b.sets[0].expires.Add(time.Hour)
			s.bindings.put(&again)
		}, both, key + " " + tel},
		{"another phone is there", func(s *Server, _ *binding) { s.bindings.put(bound("bob", sip.UDP, "198.51.100.1:5060", "")) }, both, "gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				now, list := time.Now(), []string{key, tel}
				b := bound("alice", sip.UDP, "198.51.100.1:5060", "")
				b.hold([]set{{identities: list, keys: list, names: list, expires: now.Add(time.Hour)}})
				w.p.bindings.put(b)
				tt.since(w.p, b)
				w.p.ended(b, tt.ends)
				got := "gone"
				if o := w.p.bindings.ofToken(b.token, now); o != nil {
					got = ""
					for _, k := range []string{key, tel} {
						if _, of := o.asserted(k, now); of != nil {
							got += " " + k
						}
					}
				}
				check(t, "left", strings.TrimPrefix(got, " "), tt.want)
				if o := w.p.bindings.ofFlow(b.flow, now); o == nil || tt.want != "" && !o.registered(now) {
					t.Error("who is there now is not registered")
				}
			})
		})
	}
}

// A phone's SA sets stand until its last identity has ended.
func TestSetsStandUntilTheLastIdentityEnds(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		name, tel := "sip:alice@"+domain, "tel:+49"+number("alice")
		ended := func(e ending) {
			w.p.ended(w.p.bindings.of("alice@" + domain)[0], e)
			time.Sleep(3 * time.Minute)
		}
		ended(ending{gone: []string{name}, active: []string{tel}})
		check(t, "sets", w.sets("alice"), "in use 6100/5100")
		u.message(w.token("alice"), "m1")
		ended(ending{gone: []string{tel}})
		synctest.Wait()
		w.leaks()
	})
}

// notify sends a NOTIFY of alice's registration to her, who accepts it.
func notify(p *peer, callID, far, state string, more ...string) {
	w := p.w
	w.t.Helper()
	w.scscf.send(mwAddr, w.scscf.text("NOTIFY", "sip:alice@"+p.addr.String(), callID, append([]string{
		"Route: <sip:" + w.token("alice") + "@" + mwAddr + ";lr>", "From: <sip:alice@" + domain + ">;tag=" + far, "To: <sip:alice@" + domain + ">;tag=alice",
		"Event: reg", "Subscription-State: active", "Content-Type: application/reginfo+xml", "body:" + regInfo("sip:alice@"+p.addr.String(), state),
	}, more...)...))
	p.answer(p.request("NOTIFY"), 200)
	w.scscf.status(200)
}
