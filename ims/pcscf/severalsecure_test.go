package pcscf

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// The home network refuses one public identity while the re-registration of another
// is challenged: that challenge is answered as if nothing had been.
func TestRefusalOfAnotherIdentity(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		old, verify, ps := u.out, u.server, u.ps
		u.offer(7001)
		old.send(ps, u.register("Security-Verify: "+verify, u.auth("n", "ok")))
		w.challenge()
		u.challenged(u.peer)
		before := w.sets("alice")
		old.send(ps, u.register("Security-Verify: "+verify, "To: <sip:barred@"+domain+">", "Call-ID: barred", u.auth("n", "ok")))
		w.icscf.answer(w.icscf.request("REGISTER"), 403)
		u.status(403)
		synctest.Wait()
		check(t, "sets", w.sets("alice"), before)
		u.take()
		u.answer401()
	})
}

// A phone with two contacts goes on with the one when the other is gone, whichever
// was registered later.
func TestTwoContactsOfAPhone(t *testing.T) {
	for _, how := range []string{"de-registered", "expired"} {
		t.Run(how, func(t *testing.T) {
			secure(t, func(w *world) {
				u := w.ue("alice", "192.0.2.50").up()
				token := w.token("alice")
				one := fmt.Sprintf("<sip:alice@%v>", u.addr)
				two := fmt.Sprintf("<sip:rcs@%v>", u.addr)
				grant := func(contact, expires string, list ...string) {
					u.say(u.register("Security-Verify: "+u.server, "Contact: "+contact, "Expires: "+expires, u.auth("n", "ok")))
					u.granted = []string{"Contact: " + strings.Join(list, ", "), "Service-Route: " + route, "P-Associated-URI: <sip:alice@" + domain + ">"}
					u.grant()
				}
				grant(two, "60", one+";expires=3600", two+";expires=60")
				if n := w.p.bindings.len(); n != 2 {
					t.Fatalf("%d contacts", n)
				}
				if how == "de-registered" {
					grant(two, "0", one+";expires=3600")
				}
				time.Sleep(5 * time.Minute)
				check(t, "a request comes from", u.message(token, "m1"), u.pc)
				u.say(u.text("MESSAGE", "sip:bob@"+domain, "m2"))
				w.scscf.answer(w.scscf.request("MESSAGE"), 200)
				u.status(200)
			})
		})
	}
}

// A challenge that has been overtaken while its set was being set up is not sent: its
// set is gone.
func TestChallengeOvertaken(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		w.ipsec.slow = time.Second
		via := "Via: SIP/2.0/UDP 192.0.2.50:5060;rport;branch="
		u.open.send(gmAddr, u.register(via+sip.NewBranch(), "Call-ID: first"))
		w.challenge()
		u.offer(7001)
		u.open.send(gmAddr, u.register(via+sip.NewBranch(), "Call-ID: second"))
		w.challenge()
		a := u.open.status(500)
		check(t, "refused", a.CallID(), "first")
		check(t, "challenged", u.challenged(u.open).CallID(), "second")
		u.take()
		u.answer401()
		check(t, "sets", len(w.ipsec.installed()), 1)
	})
}

// Room for a phone is looked for among those who hold the ports that it needs, however
// many others there are: the lock on all flows is held meanwhile.
func TestRoomIsLookedForWhereItIs(t *testing.T) {
	secure(t, func(w *world) {
		u, c := w.ue("alice", "192.0.2.50"), w.p.sec
		for i := range 2 {
			u.open.send(gmAddr, strings.ReplaceAll(u.register("Call-ID: "+sip.NewBranch(), "Via: SIP/2.0/UDP 192.0.2.50:5060;rport;branch="+sip.NewBranch()), "alice", fmt.Sprint("mallory", i)))
			w.challenge()
			u.open.status(401)
		}
		u.begin()
		// Phones that hold no ports: who looks at one of them finds no set of its.
		c.mu.Lock()
		for i := range 1000 {
			p := &phone{key: phoneKey{impi: fmt.Sprint("other", i), addr: u.addr.Addr()}, life: *ipsec.NewLife(&c.timers)}
			p.life.Challenged(&ipsec.Set{Remote: ipsec.End{Addr: u.addr.Addr(), PortC: 7000, PortS: 6000}}, 0, time.Now())
			c.phones.add(p)
		}
		c.mu.Unlock()
		if !c.makeRoom(&ipsec.Set{ID: ipsec.NewSetID(), Remote: ipsec.End{Addr: u.addr.Addr(), PortC: 7000, PortS: 6000}}) {
			t.Error("no room is made")
		}
		synctest.Wait()
		check(t, "sets", len(w.ipsec.installed()), 1)
	}, func(c *Config) { c.IPsec.ServerPorts = PortList{6100, 6101} })
}

// Challenges that nobody answers take no phone's ports: neither those of strangers who
// send REGISTERs in many names from its address, nor those that it has lost itself.
func TestUnansweredChallengesMakeRoom(t *testing.T) {
	conformance.Partly(t, "IP-24")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		strangers := func(status int) {
			for i := range 3 {
				u.open.send(gmAddr, strings.ReplaceAll(u.register("Call-ID: "+sip.NewBranch(), "Via: SIP/2.0/UDP 192.0.2.50:5060;rport;branch="+sip.NewBranch()), "alice", fmt.Sprint("mallory", i)))
				w.challenge()
				u.open.status(status)
			}
		}
		strangers(401)
		u.up()
		token := w.token("alice")
		strangers(401)
		u.message(token, "m1") // what is established stays
		for range 3 {          // and so does what a phone has begun over it
			old, ps, verify := u.out, u.ps, u.server
			u.offer(7000)
			old.send(ps, u.register("Security-Verify: "+verify, u.auth("n", "ok")))
			w.challenge()
			u.challenged(u.peer)
			strangers(500)
			u.take()
			u.answer401()
			u.say(u.text("MESSAGE", "sip:bob@"+domain, sip.NewBranch()))
			w.scscf.answer(w.scscf.request("MESSAGE"), 200)
			u.status(200)
			time.Sleep(3 * time.Minute) // the set before is gone
		}
		for range 3 { // the phone has lost everything, and does not get the 401
			u.clearRegister("Call-ID: " + sip.NewBranch())
			w.challenge()
			u.challenged(u.open)
		}
		u.take()
		u.answer401()
		time.Sleep(5 * time.Minute)
		check(t, "sets", len(w.ipsec.installed()), 1)
	}, func(c *Config) { c.IPsec.ServerPorts = PortList{6100, 6101} })
}
