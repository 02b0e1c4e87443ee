package pcscf

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// call is a dialog that a phone has made with somebody behind the S-CSCF.
type call struct {
	p      *peer
	callID string
	target string // the far side's contact
	far    string // its tag
	route  []string
	invite arrival // as the S-CSCF has seen it
}

// farRoute is the S-CSCF's own Record-Route entry, and one behind it.
var farRoute = []string{"<sip:mo@" + scscfAddr + ";lr>", "<sip:mt@192.0.2.77;lr>"}

// newCall has a registered phone call somebody who answers.
func newCall(p *peer, callID string) *call {
	c := inviteFrom(p, callID)
	c.ring(200, "far")
	c.send("ACK")
	p.w.scscf.request("ACK")
	return c
}

func inviteFrom(p *peer, callID string) *call {
	p.w.t.Helper()
	p.send(gmAddr, p.text("INVITE", "sip:bob@"+domain, callID))
	return &call{p: p, callID: callID, target: "sip:bob@192.0.2.88", invite: p.w.scscf.request("INVITE")}
}

// ring answers the INVITE from a far side with that tag, and reads the route set as
// the phone does.
func (c *call) ring(status int, tag string) arrival {
	w := c.p.w
	w.t.Helper()
	recorded := slices.Concat([]string{farRoute[1], farRoute[0]}, values(c.invite.Message, sip.HRecordRoute))
	w.scscf.reply(c.invite, responseText(c.invite, status, tag, recorded, "Contact: <"+c.target+">"))
	m := c.p.status(status)
	c.far = tag
	c.route = values(m.Message, sip.HRecordRoute)
	slices.Reverse(c.route)
	return m
}

// responseText writes a response with a Record-Route of its own.
func responseText(a arrival, status int, tag string, recordRoute []string, more ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d X\r\n", status)
	for v := range a.Lines(sip.HVia) {
		fmt.Fprintf(&b, "Via: %s\r\n", v)
	}
	for _, r := range recordRoute {
		fmt.Fprintf(&b, "Record-Route: %s\r\n", r)
	}
	to := a.Get(sip.HTo)
	if a.ToTag() == "" && tag != "" {
		to += ";tag=" + tag
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\n", a.Get(sip.HFrom), to, a.CallID(), a.Get(sip.HCSeq))
	for _, m := range more {
		fmt.Fprintf(&b, "%s\r\n", m)
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
}

// lines are the headers of a request of the phone's within the dialog.
func (c *call) lines() []string {
	return []string{"To: <sip:bob@" + domain + ">;tag=" + c.far, "Route: " + strings.Join(c.route, ", ")}
}

// send sends a request of the phone's within the dialog.
func (c *call) send(method string, more ...string) {
	c.p.send(gmAddr, c.p.text(method, c.target, c.callID, append(c.lines(), more...)...))
}

// fromFar sends a request of the far side's within the dialog.
func (c *call) fromFar(method string, more ...string) {
	w := c.p.w
	lines := []string{
		"From: <sip:bob@" + domain + ">;tag=" + c.far, "To: <sip:" + c.p.name + "@" + domain + ">;tag=" + c.p.name,
		"Route: " + strings.Join(values(c.invite.Message, sip.HRecordRoute), ", "),
	}
	w.scscf.send(mwAddr, w.scscf.text(method, "sip:"+c.p.name+"@"+c.p.addr.String(), c.callID, append(lines, more...)...))
}

func TestRequestsWithinADialog(t *testing.T) {
	conformance.Shows(t, "PO-06", "PO-08", "PO-11")
	conformance.Partly(t, "PO-07")
	run(t, func(w *world) {
		p, q := w.peer("alice", "198.51.100.1:5060"), w.peer("mallory", "198.51.100.2:5060")
		p.register()
		q.register()
		c := newCall(p, "c1")
		icid := c.invite.Get(sip.HPChargingVector)
		for _, method := range []string{"INVITE", "UPDATE", "INFO", "FOO"} {
			c.send(method, "P-Preferred-Identity: <sip:alice@"+domain+">")
			a := w.scscf.request(method)
			check(t, method+": Route", values(a.Message, sip.HRoute), farRoute)
			check(t, method+": P-Charging-Vector", a.Get(sip.HPChargingVector), icid)
			if a.Has(sip.HPPreferredIdentity) || a.Has(sip.HRecordRoute) {
				t.Errorf("forwarded:\n%s", a.Raw())
			}
			w.scscf.answer(a, 200, "Contact: <"+c.target+">", "P-Charging-Vector: icid-value=x")
			if m := p.status(200); m.Has(sip.HPChargingVector) {
				t.Errorf("the phone sees:\n%s", m.Raw())
			}

			// And from the far side.
			c.fromFar(method, "P-Charging-Vector: icid-value=x", "P-Access-Network-Info: cell")
			b := p.request(method)
			if b.Has(sip.HPChargingVector) || b.Has(sip.HPAccessNetworkInfo) || b.Has(sip.HRoute) {
				t.Errorf("the phone sees:\n%s", b.Raw())
			}
			p.answer(b, 200, "Contact: <sip:alice@198.51.100.1:5060>", "P-Asserted-Identity: <sip:mine@x.org>")
			if m := w.scscf.status(200); m.Has(sip.HPAssertedIdentity) {
				t.Errorf("forwarded:\n%s", m.Raw())
			}
		}

		// Who is not in it is refused, whatever he has heard of it.
		for _, lines := range [][]string{c.lines(), append(c.lines(), "From: <sip:alice@"+domain+">;tag=alice")} {
			q.send(gmAddr, q.text("BYE", c.target, "c1", lines...))
			q.refused(403, "belongs to no dialog of its own")
		}
		for _, lines := range [][]string{
			{"To: <sip:bob@" + domain + ">;tag=other"},
			{"From: <sip:alice@" + domain + ">;tag=other"},
			{"Call-ID: other"},
		} {
			c.send("INFO", lines...)
			p.refused(403, "belongs to no dialog of its own")
		}
		q.send(gmAddr, q.text("ACK", c.target, "c1", c.lines()...))
		w.scscf.nothing(time.Second)

		c.send("BYE")
		a := w.scscf.request("BYE")
		check(t, "BYE: Route", values(a.Message, sip.HRoute), farRoute)
		w.scscf.answer(a, 200)
		p.status(200)
		// What crosses the BYE still passes for a while.
		c.send("INFO")
		w.scscf.answer(w.scscf.request("INFO"), 481)
		p.status(481)
		time.Sleep(3 * time.Minute)
		c.send("INFO")
		p.refused(403, "belongs to no dialog of its own")
		check(t, "dialogs kept", w.dialogsKept(), 0)
	})
}

// Why a call ends, or is not answered, goes through in both directions (RFC 3326,
// RFC 6432), whatever the protocol.
func TestReasonGoesThrough(t *testing.T) {
	conformance.Shows(t, "HD-10")
	reasons := []string{`SIP;cause=200;text="Call completed elsewhere"`, `Q.850 ;cause=16;text="a, b"`, "RELEASE_CAUSE;cause=1", "x-new;y"}
	first, second := "Reason: "+strings.Join(reasons[:2], ", "), "Reason: "+strings.Join(reasons[2:], ",")
	lines := []string{first, "+" + second}
	cancel := func(invite string) string {
		return strings.ReplaceAll(strings.Replace(invite, "Contact:", first+"\r\n"+second+"\r\nContact:", 1), "INVITE", "CANCEL")
	}
	same := func(m arrival) {
		t.Helper()
		check(t, m.Get(sip.HCSeq)+": Reason", values(m.Message, sip.HReason), reasons)
	}
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()

		c := newCall(p, "c1") // BYE of the phone, and of the far side
		c.send("BYE", lines...)
		same(w.scscf.request("BYE"))
		c = newCall(p, "c2")
		c.fromFar("BYE", lines...)
		same(p.request("BYE"))

		// The caller hangs up; a response with a reason.
		invite := p.text("INVITE", "sip:bob@"+domain, "c3")
		p.send(gmAddr, invite)
		a := w.scscf.request("INVITE")
		w.scscf.answer(a, 180)
		p.status(180)
		p.send(gmAddr, cancel(invite))
		p.status(200)
		b := w.scscf.request("CANCEL")
		same(b)
		w.scscf.answer(b, 200)
		w.scscf.answer(a, 487, first, second)
		same(p.status(487))

		// The same towards a called phone.
		in := w.scscf.text("INVITE", "sip:alice@198.51.100.1:5060", "c4", toAlice(token)...)
		w.scscf.send(mwAddr, in)
		a = p.request("INVITE")
		p.answer(a, 180)
		w.scscf.status(180)
		w.scscf.send(mwAddr, cancel(in))
		w.scscf.status(200)
		b = p.request("CANCEL")
		same(b)
		p.answer(b, 200)
		p.answer(a, 487, first, second)
		same(w.scscf.status(487))
	})
}

func TestRouteOfADialogIsMended(t *testing.T) {
	conformance.Partly(t, "PO-08")
	tests := []struct{ name, route string }{
		{"none", ""},
		{"past the core", "<sip:198.51.100.66;lr>"},
		{"the Service-Route", route},
		{"the far end only", farRoute[1]},
		{"with more", "OURS, " + farRoute[0] + ", " + farRoute[1] + ", <sip:198.51.100.66;lr>"},
		{"deep under entries of ours", "OURS, OURS, OURS, <sip:198.51.100.66;lr>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				p.register()
				c := newCall(p, "c1")
				line := "Route: " + strings.ReplaceAll(tt.route, "OURS", c.route[0]+", "+c.route[1])
				if tt.route == "" {
					line = "-Route"
				}
				for _, method := range []string{"UPDATE", "ACK"} {
					c.send(method, line)
					check(t, method+": Route", values(w.scscf.request(method).Message, sip.HRoute), farRoute)
				}
				w.explained("mended")
			})
		})
	}
}

// Both phones are here, and nobody between has stayed in the route: the entries of
// the other phone are not ours to leave out.
func TestDialogOfTwoPhonesHere(t *testing.T) {
	run(t, func(w *world) {
		p, q := w.peer("alice", "198.51.100.1:5060"), w.peer("bob", "198.51.100.2:5060")
		p.register()
		other := q.register()
		c := inviteFrom(p, "c1")
		bob := []string{"<sip:" + other + "@" + gmAddr + ";lr>", "<sip:" + other + "@" + mwAddr + ";lr>"}
		w.scscf.reply(c.invite, responseText(c.invite, 200, "far", slices.Concat(bob, values(c.invite.Message, sip.HRecordRoute)), "Contact: <sip:bob@198.51.100.2:5060>"))
		m := p.status(200)
		c.far, c.target, c.route = "far", "sip:bob@198.51.100.2:5060", values(m.Message, sip.HRecordRoute)
		slices.Reverse(c.route)
		c.send("BYE")
		check(t, "the BYE comes from", q.request("BYE").from, gmAddr) // not from the core's side, past all
	})
}

func TestEarlyDialogs(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		c := inviteFrom(p, "c1")
		passes := func(tag string, want bool) {
			t.Helper()
			c.far = tag
			c.send("UPDATE")
			if !want {
				p.refused(403, "belongs to no dialog of its own")
				return
			}
			w.scscf.answer(w.scscf.request("UPDATE"), 200)
			p.status(200)
		}
		passes("one", false)
		c.ring(183, "one")
		c.ring(180, "two") // forked
		passes("one", true)
		passes("two", true)
		passes("three", false)
		c.ring(200, "three")
		passes("three", true)
		passes("one", true) // for a while
		time.Sleep(3 * time.Minute)
		passes("one", false)
		passes("two", false)
		passes("three", true)

		// A call that fails leaves nothing behind.
		d := inviteFrom(p, "c2")
		d.ring(183, "one")
		w.scscf.answer(d.invite, 486)
		p.status(486)
		time.Sleep(3 * time.Minute)
		d.send("UPDATE")
		p.refused(403, "belongs to no dialog of its own")
	})
}

// Whoever is called may answer with one tag after the other: neither does that
// fill the memory, nor push the caller's other dialogs out.
func TestForksAreBounded(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		other := newCall(p, "c1")
		c := inviteFrom(p, "c2")
		for i := range 2 * maxDialogs {
			c.ring(183, fmt.Sprint("fork", i))
		}
		check(t, "dialogs", w.p.dialogs.sweep(time.Now()), 1+maxForks)
		passes := func(c *call, tag string, want bool) {
			t.Helper()
			c.far = tag
			c.send("UPDATE")
			if !want {
				p.refused(403, "belongs to no dialog of its own")
				return
			}
			w.scscf.answer(w.scscf.request("UPDATE"), 200)
			p.status(200)
		}
		passes(other, "far", true)
		passes(c, fmt.Sprint("fork", maxForks-1), true)
		passes(c, fmt.Sprint("fork", maxForks), false)
		c.ring(200, "last") // who takes the call is always known
		passes(c, "last", true)
		time.Sleep(3 * time.Minute)
		check(t, "dialogs of the calls", w.p.dialogs.sweep(time.Now()), 2)
	})
}

// Another phone that takes the call as well makes another dialog, however late; what is
// repeated makes none, and does not bring an ended one back.
func TestLateForks(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		c := newCall(p, "c1")
		c.send("BYE")
		w.scscf.answer(w.scscf.request("BYE"), 200)
		p.status(200)
		time.Sleep(20 * time.Second)
		c.ring(200, "fork")
		c.send("INFO")
		a := w.scscf.request("INFO")
		check(t, "Route of the fork", values(a.Message, sip.HRoute), farRoute)
		check(t, "its charging vector", a.Get(sip.HPChargingVector), c.invite.Get(sip.HPChargingVector))
		w.scscf.answer(a, 200)
		p.status(200)
		time.Sleep(3 * time.Minute)
		check(t, "dialogs", w.p.dialogs.sweep(time.Now()), 1)
	})
}

// The reg event: the NOTIFY may come before the 200 to the SUBSCRIBE, and the
// phone refreshes within the dialog.
func TestSubscription(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		p.send(gmAddr, p.text("SUBSCRIBE", "sip:alice@"+domain, "s1", "Event: reg", "Expires: 600000"))
		c := &call{p: p, callID: "s1", target: "sip:" + scscfAddr, far: "reg", invite: w.scscf.request("SUBSCRIBE")}
		notify := func(state string) {
			t.Helper()
			c.fromFar("NOTIFY", "Event: reg", "Subscription-State: "+state, "Record-Route: "+farRoute[0], "Contact: <"+c.target+">")
			p.answer(p.request("NOTIFY"), 200)
			w.scscf.status(200)
		}
		refresh := func() {
			t.Helper()
			c.route = append(values(c.invite.Message, sip.HRecordRoute), farRoute[0])
			c.send("SUBSCRIBE", "Event: reg", "Expires: 600000")
		}
		notify("active;expires=600000")
		refresh() // to a dialog that only the NOTIFY has told of
		a := w.scscf.request("SUBSCRIBE")
		check(t, "Route", values(a.Message, sip.HRoute), farRoute[:1])
		w.scscf.answer(a, 200)
		p.status(200)
		w.scscf.reply(c.invite, responseText(c.invite, 200, "reg", slices.Concat(farRoute[:1], values(c.invite.Message, sip.HRecordRoute)), "Contact: <"+c.target+">"))
		p.status(200)
		notify("active")
		time.Sleep(30 * time.Minute)
		refresh()
		w.scscf.answer(w.scscf.request("SUBSCRIBE"), 200)
		p.status(200)
		notify("terminated;reason=deactivated")
		time.Sleep(3 * time.Minute)
		refresh()
		p.refused(403, "belongs to no dialog of its own")
	})
}

// A REFER within a call has a subscription that outlives the call (RFC 5057).
func TestReferOutlivesTheCall(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		c := newCall(p, "c1")
		c.fromFar("REFER", "Refer-To: <sip:carol@"+domain+">")
		p.answer(p.request("REFER"), 202)
		w.scscf.status(202)
		c.fromFar("BYE")
		p.answer(p.request("BYE"), 200)
		w.scscf.status(200)
		time.Sleep(10 * time.Minute)
		c.send("NOTIFY", "Event: refer", "Subscription-State: terminated;reason=noresource")
		w.scscf.answer(w.scscf.request("NOTIFY"), 200)
		p.status(200)
		time.Sleep(3 * time.Minute)
		c.send("NOTIFY", "Event: refer", "Subscription-State: terminated")
		p.refused(403, "belongs to no dialog of its own")
	})
}

func TestDialogsAreBounded(t *testing.T) {
	d := newDialogs()
	now := time.Now()
	for i := range 3 * maxDialogs {
		d.learn(dialog{key: dialogKey{"alice", fmt.Sprint(i), "l", "r"}, call: true})
		if i%2 == 0 {
			d.ended(dialogKey{"alice", fmt.Sprint(i), "l", "r"}, true, now)
		}
	}
	check(t, "dialogs", len(d.byKey), maxDialogs)
	check(t, "of the user", len(d.byUser["alice"]), maxDialogs)
	if _, ok := d.find(dialogKey{"alice", fmt.Sprint(3*maxDialogs - 1), "l", "r"}, now); !ok {
		t.Error("the newest is gone")
	}
	if _, ok := d.learn(dialog{key: dialogKey{"alice", "x", "l", "r"}, routes: []string{strings.Repeat("x", maxRoutes+1)}}); ok {
		t.Error("a route set of any size is kept")
	}
	d.forget("alice")
	check(t, "after that", len(d.byKey)+len(d.byUser), 0)
}

// Two keys with one hash are two keys: the younger dialog takes the place, and nothing is
// left of the older one.
func TestDialogsOfOneHash(t *testing.T) {
	d, now := newDialogs(), time.Now()
	older, younger := dialogKey{"alice", "1", "l", "r"}, dialogKey{"bob", "2", "l", "r"}
	d.learn(dialog{key: older, call: true})
	d.byKey[d.hash(younger)] = d.byKey[d.hash(older)] // as if
	delete(d.byKey, d.hash(older))
	if _, ok := d.find(younger, now); ok {
		t.Error("a dialog is found by another's key")
	}
	d.learn(dialog{key: younger, call: true})
	if _, ok := d.find(younger, now); !ok || d.known("alice") || len(d.byKey) != 1 {
		t.Errorf("%v is found, %d dialogs, alice is known: %v", ok, len(d.byKey), d.known("alice"))
	}
}

// TestDialogsDoNotGrow: as many dialogs, of users who register again and again, take as
// much after twenty times as many have come and gone. A map under their keys would take
// twice as much by then, and each key would hold the text of a registration that has been
// refreshed since.
func TestDialogsDoNotGrow(t *testing.T) {
	const users, each, rounds = 200, 25, 500
	d, now := newDialogs(), time.Now()
	registration := strings.Repeat("x", 1000)
	key := func(user, n int) dialogKey {
		impi := (registration + strconv.Itoa(user))[len(registration):]
		return dialogKey{impi, fmt.Sprintf("call-%d-%d@198.51.100.1", user, n), "local", "remote"}
	}
	round := func(n int) {
		for user := range users {
			d.learn(dialog{key: key(user, n), call: true})
			if n >= each {
				d.ended(key(user, n-each), true, now)
			}
		}
		now = now.Add(time.Second)
		d.sweep(now.Add(lingering))
	}
	live := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	empty := live()
	for n := range each {
		round(n)
	}
	before := live()
	for n := range rounds {
		round(each + n)
	}
	check(t, "dialogs", len(d.byKey), users*each)
	grown := (live() - before) / (users * each)
	first := (before - empty) / (users * each)
	t.Logf("a dialog takes %.0f octets, then %.0f more", first, grown)
	if first > 500 {
		t.Errorf("a dialog takes %.0f octets, want less than 500", first)
	}
	if grown > 48 {
		t.Errorf("a dialog takes %.0f octets more than before, want no more", grown)
	}
	runtime.KeepAlive(d)
}

// TestCallsOutliveSubscriptions: whoever subscribes without end keeps the call that is
// up.
func TestCallsOutliveSubscriptions(t *testing.T) {
	d, now := newDialogs(), time.Now()
	up := dialogKey{"alice", "call", "l", "r"}
	d.learn(dialog{key: up, call: true})
	for i := range 3 * maxDialogs {
		d.learn(dialog{key: dialogKey{"alice", fmt.Sprint(i), "l", "r"}, subscription: true})
	}
	if _, ok := d.find(up, now); !ok {
		t.Error("the call has gone for subscriptions")
	}
	check(t, "of the user", len(d.byUser["alice"]), maxDialogs)
}

// TestWhoMakesRoom: whoever lets a phone ring without end takes neither its subscription
// to its own registration nor a call that is up, and an early dialog that made room is
// known again from its 2xx on.
func TestWhoMakesRoom(t *testing.T) {
	d, now := newDialogs(), time.Now()
	named := func(id string) dialogKey { return dialogKey{"alice", id, "l", "r"} }
	knows := func(id string) bool { _, ok := d.find(named(id), now); return ok }
	d.learn(dialog{key: named("up"), call: true, early: true})
	d.learn(dialog{key: named("up"), call: true})
	d.learn(dialog{key: named("up"), call: true, early: true}) // the 180 overtaken by its 2xx
	d.learn(dialog{key: named("itself"), subscription: true, itself: true})
	d.learn(dialog{key: named("subscription"), subscription: true})
	for i := range 3 * maxDialogs {
		d.learn(dialog{key: named(fmt.Sprint("rings ", i)), call: true, early: true})
	}
	for _, id := range []string{"itself", "subscription", "up"} {
		if !knows(id) {
			t.Errorf("%q has gone for calls that only ring", id)
		}
	}
	if knows("rings 0") {
		t.Error("the oldest that rings is still there")
	}
	d.learn(dialog{key: named("rings 0"), call: true})
	if !knows("rings 0") {
		t.Error("the 2xx of a call that had made room tells of it in vain")
	}
	for i := range maxDialogs - 3 { // calls that are up, until nothing but they and the subscriptions are left
		d.learn(dialog{key: named(fmt.Sprint("more ", i)), call: true})
		// As long as more than maxForks ring, one of those makes room.
		if there := knows("subscription"); there != (i < maxDialogs-4-maxForks) {
			t.Errorf("%d more are up: another subscription is there: %v", i+1, there)
		}
	}
	if !knows("itself") || !knows("up") || knows("subscription") {
		t.Errorf("behind calls that are up: itself %v, up %v, another subscription %v; that one should have gone", knows("itself"), knows("up"), knows("subscription"))
	}
	d.learn(dialog{key: named("last"), call: true})
	if knows("itself") || !knows("up") {
		t.Error("a call has gone where a subscription was")
	}
	check(t, "of the user", len(d.byUser["alice"]), maxDialogs)
}

// A stranger who lets a phone ring in many places at a time takes none of its calls.
func TestCallsThatRingTakeNoDialog(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()
		c := newCall(p, "up")
		for i := range maxDialogs/2 + 8 { // with two dialogs each
			w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@198.51.100.1:5060", fmt.Sprint("rings", i), toAlice(token)...))
			a := p.request("INVITE")
			for _, tag := range []string{"one", "two"} {
				p.reply(a, responseText(a, 180, tag, values(a.Message, sip.HRecordRoute), "Contact: <sip:alice@198.51.100.1:5060>"))
				w.scscf.status(180)
			}
		}
		check(t, "dialogs", w.dialogsKept(), maxDialogs)
		c.send("INFO")
		w.scscf.answer(w.scscf.request("INFO"), 200)
		p.status(200)
	})
}

// What is left of a phone goes with its last contact.
func TestDialogsGoWithTheRegistration(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register("Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: "+route)
		newCall(p, "c1")
		check(t, "dialogs", w.dialogsKept(), 1)
		p.register("Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: "+route)
		check(t, "dialogs after the re-registration", w.dialogsKept(), 1)
		time.Sleep(3 * time.Minute)
		check(t, "dialogs after the end", w.dialogsKept(), 0)
	})
}

// Whoever is called may answer when the caller has left long ago.
func TestDialogsOfWhoHasLeft(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		c := inviteFrom(p, "c1")
		c.ring(180, "far")
		p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r2", "To: <sip:alice@"+domain+">", p.authorization(), "Expires: 0"))
		w.icscf.answer(w.icscf.request("REGISTER"), 200)
		p.status(200)
		time.Sleep(90 * time.Second)
		check(t, "dialogs when she has left", w.dialogsKept(), 0)
		c.ring(200, "far")
		check(t, "dialogs at the 200", w.dialogsKept(), 1)
		time.Sleep(5 * time.Minute)
		check(t, "dialogs after it", w.dialogsKept(), 0)
	})
}

// What is remembered of a dialog is few objects, and none when the 2xx repeats what the
// 180 has said; and of the message that told of it nothing stays.
func TestRememberedDialogs(t *testing.T) {
	table := newDialogs()
	message := []byte("call-id|far|near|<sip:one@192.0.2.1;lr>|<sip:two@192.0.2.2;lr>|icid")
	text := unsafe.String(&message[0], len(message)) // as it lies in a reader's buffer
	f := strings.Split(text, "|")
	d := dialog{key: dialogKey{"alice", f[0], f[2], f[1]}, routes: f[3:5], icid: f[5], call: true}
	key, ok := table.learn(d)
	if n := testing.AllocsPerRun(100, func() { table.learn(d) }); !ok || n != 0 {
		t.Errorf("%v: to hear of a dialog again takes %v allocations", ok, n)
	}
	if n := testing.AllocsPerRun(100, func() { d.own() }); n > 3 {
		t.Errorf("a dialog is %v objects", n)
	}
	clear(message)
	got, ok := table.find(dialogKey{"alice", "call-id", "near", "far"}, time.Now())
	if want := (dialogKey{"alice", "call-id", "near", "far"}); !ok || key != want || got.key != want ||
		!slices.Equal(got.routes, []string{"<sip:one@192.0.2.1;lr>", "<sip:two@192.0.2.2;lr>"}) || got.icid != "icid" {
		t.Errorf("%v: remembered is %+v", ok, got)
	}
}
