package pcscf

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

const elsewhere = "192.0.2.99:5070"

// inDialog are the headers of what alice sends in a dialog with the S-CSCF's tag, along the
// route that the request which made it has left.
func inDialog(made arrival) []string {
	route := values(made.Message, sip.HRecordRoute)
	slices.Reverse(route)
	return []string{"To: <sip:bob@" + domain + ">;tag=scscf", "Route: " + strings.Join(route, ", ")}
}

// Nobody of the core is in the route of the dialog that every phone has, its subscription
// to its registration. What it sends there goes to who is in it, all the same.
func TestNothingLeavesByADialogWithoutARoute(t *testing.T) {
	const contact = "sip:" + scscfAddr
	tests := []struct{ uri, want string }{
		{contact, contact},
		{"sip:reg@192.0.2.11:5060;x=y", "sip:reg@192.0.2.11:5060;x=y"}, // where it goes is what counts
		{"sip:x@" + elsewhere, contact},
		{"sip:x@" + elsewhere + ";transport=tcp", contact},
		{"sip:192.0.2.99", contact},
		{"sip:192.0.2.11:5070", contact},
		{"sips:192.0.2.11:5060", contact},
		{contact + ";transport=tcp", contact},
		{contact + ";maddr=192.0.2.99", contact},
		{"sip:alice@" + domain, contact}, // so do some phones refresh
		{"tel:+4912", contact},
	}
	run(t, func(w *world) {
		p, x := w.peer("alice", "198.51.100.1:5060"), w.peer("elsewhere", elsewhere)
		x.listen()
		token := p.register()
		p.send(gmAddr, p.text("SUBSCRIBE", "sip:alice@"+domain, "s1", "Event: reg"))
		a := w.scscf.request("SUBSCRIBE")
		w.scscf.answer(a, 200, "Contact: <"+contact+">")
		p.status(200)
		for _, tt := range tests {
			for _, method := range []string{"SUBSCRIBE", "MESSAGE"} {
				p.send(gmAddr, p.text(method, tt.uri, "s1", append(inDialog(a), "Event: reg")...))
				b := w.scscf.request(method)
				check(t, method+" for "+tt.uri, b.RequestURI(), tt.want)
				check(t, "Route", len(values(b.Message, sip.HRoute)), 0)
				w.scscf.answer(b, 200, "Contact: <"+contact+">")
				p.status(200)
			}
			p.send(gmAddr, p.text("ACK", tt.uri, "s1", inDialog(a)...))
			check(t, "ACK for "+tt.uri, w.scscf.request("ACK").RequestURI(), tt.want)
		}
		// As a strict router would have it (RFC 3261 16.4).
		p.send(gmAddr, p.text("MESSAGE", "sip:"+token+"@"+gmAddr+";lr", "s1", inDialog(a)[0], "Route: <sip:x@"+elsewhere+">"))
		check(t, "behind a strict router", w.scscf.request("MESSAGE").RequestURI(), contact)
		x.nothing(10 * time.Second)
	})
}

// A back-to-back user agent that is all of the core may move, by whatever tells so
// within a call: requests follow it.
func TestCallWithoutARouteFollowsItsFarSide(t *testing.T) {
	at := func(host string) string { return "Contact: <sip:b2bua@" + host + ":5060>" }
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		goes := func(a arrival, method, host string) arrival {
			t.Helper()
			target := "sip:b2bua@" + host + ":5060"
			p.send(gmAddr, p.text(method, target, "c1", inDialog(a)...))
			b := w.scscf.nextAt(host+":5060", method)
			check(t, method+": Request-URI", b.RequestURI(), target)
			return b
		}
		p.send(gmAddr, p.text("INVITE", "sip:bob@"+domain, "c1"))
		a := w.scscf.request("INVITE")
		w.scscf.answer(a, 183, at("192.0.2.11"), "Require: 100rel", "RSeq: 1")
		p.status(183)
		w.scscf.answer(goes(a, "PRACK", "192.0.2.11"), 200)
		p.status(200)
		w.scscf.answer(goes(a, "UPDATE", "192.0.2.11"), 200, at("192.0.2.12"))
		p.status(200)
		b := goes(a, "UPDATE", "192.0.2.12")
		w.peers[len(w.peers)-1].answer(b, 200, at("192.0.2.12"))
		p.status(200)
		w.scscf.answer(a, 200, at("192.0.2.11"))
		p.status(200)
		goes(a, "ACK", "192.0.2.11")

		c := &call{p: p, callID: "c1", far: "scscf", invite: a}
		c.fromFar("INVITE", at("192.0.2.12"))
		b = p.request("INVITE")
		p.answer(b, 180)
		w.scscf.status(180)
		p.answer(b, 488)
		w.scscf.status(488)
		goes(a, "INFO", "192.0.2.11") // it has not been let move
		c.fromFar("UPDATE", at("192.0.2.12"))
		p.answer(p.request("UPDATE"), 200)
		w.scscf.status(200)
		goes(a, "INFO", "192.0.2.12")
		c.fromFar("INVITE", at("192.0.2.11"))
		p.answer(p.request("INVITE"), 183, "Require: 100rel", "RSeq: 1")
		w.scscf.status(183)
		goes(a, "BYE", "192.0.2.11")
	})
}

// The called phone is bound to the caller, too.
func TestCalledPhoneWithoutARoute(t *testing.T) {
	run(t, func(w *world) {
		p, x := w.peer("alice", "198.51.100.1:5060"), w.peer("elsewhere", elsewhere)
		token := p.register()
		w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@198.51.100.1:5060", "c1", "Route: <sip:"+token+"@"+mwAddr+";lr>"))
		a := p.request("INVITE")
		p.answer(a, 200, "Contact: <sip:alice@198.51.100.1:5060>")
		w.scscf.status(200)
		route := "Route: " + strings.Join(values(a.Message, sip.HRecordRoute), ", ")
		for _, target := range []string{"sip:scscf@" + scscfAddr, "sip:x@" + elsewhere} {
			p.send(gmAddr, p.text("INFO", target, "c1", "To: "+a.Get(sip.HFrom), route))
			check(t, "INFO for "+target, w.scscf.request("INFO").RequestURI(), "sip:scscf@"+scscfAddr)
		}
		x.nothing(time.Second)
	})
}

// Where nobody has said where the far side is, the phone does not say it either.
func TestFarSideThatIsNowhere(t *testing.T) {
	run(t, func(w *world) {
		p, x := w.peer("alice", "198.51.100.1:5060"), w.peer("elsewhere", elsewhere)
		p.register()
		p.send(gmAddr, p.text("SUBSCRIBE", "sip:alice@"+domain, "s1", "Event: reg"))
		a := w.scscf.request("SUBSCRIBE")
		w.scscf.answer(a, 200)
		p.status(200)
		p.send(gmAddr, p.text("ACK", "sip:"+elsewhere, "s1", inDialog(a)...))
		p.send(gmAddr, p.text("MESSAGE", "sip:"+elsewhere, "s1", inDialog(a)...))
		p.refused(403, "neither a Record-Route nor a Contact")
		x.nothing(time.Second)

		// The next NOTIFY says it.
		notify(p, "s1", "scscf", "active", "Contact: <sip:"+scscfAddr+">")
		p.send(gmAddr, p.text("SUBSCRIBE", "sip:"+scscfAddr, "s1", inDialog(a)...))
		w.scscf.answer(w.scscf.request("SUBSCRIBE"), 200)
		p.status(200)
	})
}
