package pcscf

import (
	"testing"
	"time"
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
