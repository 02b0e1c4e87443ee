package pcscf

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// clearRegister is a REGISTER in clear from the phone's own open socket.
func (u *ue) clearRegister(more ...string) {
	u.w.t.Helper()
	u.open.send(u.w.gm(), u.register(append([]string{"Via: SIP/2.0/UDP " + u.open.addr.String() + ";rport;branch=" + sip.NewBranch()}, more...)...))
}

// message has the core send a request to the phone, which answers it; it returns
// from where it came.
func (u *ue) message(token, callID string) string {
	u.w.t.Helper()
	s := u.w.scscf
	s.send(mwAddr, s.text("MESSAGE", "sip:"+u.name+"@"+u.addr.String(), callID, "Route: <sip:"+token+"@"+mwAddr+";lr>"))
	m := u.request("MESSAGE")
	u.respond(m, 200)
	s.status(200)
	return m.from.String()
}

// respond answers over the phone's set in use, as TS 33.203 7.1 has it.
func (u *ue) respond(a arrival, code int, more ...string) {
	u.w.t.Helper()
	b := sip.NewResponse(a.Message, code, "", u.name)
	for _, m := range more {
		name, value, _ := strings.Cut(m, ": ")
		b.AddName(name, value)
	}
	if a.conn != nil {
		if _, err := a.conn.Write(b.Bytes()); err != nil {
			u.w.t.Fatal(err)
		}
		return
	}
	v, err := a.TopVia()
	if err != nil {
		u.w.t.Fatal(err)
	}
	u.out.send(fmt.Sprintf("%s:%d", v.Host, v.Port), string(b.Bytes()))
}

// token is the user part of the phone's Path entry.
func (w *world) token(impi string) string {
	for _, b := range w.p.bindings.of(impi + "@" + domain) {
		return b.token
	}
	w.t.Fatalf("%s is not bound", impi)
	return ""
}

func TestReRegistrationOverIPsec(t *testing.T) {
	conformance.Shows(t, "PR-23", "PR-27", "PR-28", "IP-11", "IP-23")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		token := w.token("alice")
		first := w.sets("alice")
		check(t, "the first set", first, "in use 6100/5100")
		time.Sleep(10 * time.Minute)

		u.again(7001)
		check(t, "port_ps stays, port_pc does not", u.ps+" "+u.pc, "192.0.2.1:6100 192.0.2.1:5101")
		// The phone has not used the new set further: what we send goes over the old one.
		check(t, "sets after the 200", w.sets("alice"), "in use 6100/5100, unused 6100/5101")
		check(t, "a request comes from", u.message(token, "m1"), "192.0.2.1:5100")
		check(t, "sets once the phone has answered over the new one", w.sets("alice"), "in use 6100/5101, old 6100/5100")
		check(t, "a request comes from", u.message(token, "m2"), "192.0.2.1:5101")

		// Old, current and temporary: three, and not more.
		old := u.out
		ps, verify := u.ps, u.server
		for i := range 3 {
			u.offer(uint16(7002 + i))
			old.send(ps, u.register("Security-Verify: "+verify, u.auth("n", "ok")))
			w.challenge()
			u.challenged(u.peer)
			check(t, "sets at a challenge", strings.Count(w.sets("alice"), ",")+1, 3)
		}
		// What was pending may end on the old set, for 64·T1.
		time.Sleep(127 * time.Second)
		check(t, "sets before 64·T1", strings.Count(w.sets("alice"), "old"), 1)
		time.Sleep(3 * time.Second)
		check(t, "sets after 64·T1", strings.Count(w.sets("alice"), "old"), 0)

		u.take()
		u.answer401()
		time.Sleep(time.Hour + 29*time.Second)
		if n := len(w.ipsec.installed()); n != 1 {
			t.Errorf("%d sets shortly before expires and 30 s, want 1: %s", n, w.sets("alice"))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		w.leaks()
	})
}

// Nobody but the next REGISTER says so: after the 200 the old set may end first.
func TestSendingMovesBeforeTheOldSetEnds(t *testing.T) {
	conformance.Partly(t, "PR-28")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		token := w.token("alice")
		time.Sleep(58 * time.Minute)
		u.again(7001)
		check(t, "after the 200", w.sets("alice"), "in use 6100/5100, unused 6100/5101")
		time.Sleep(time.Minute) // the first set ends within 64·T1
		check(t, "before its end", w.sets("alice"), "in use 6100/5101, old 6100/5100")
		check(t, "a request comes from", u.message(token, "m1"), "192.0.2.1:5101")
	})
}

func TestRegAwaitAuth(t *testing.T) {
	conformance.Shows(t, "PR-17", "PR-16")
	conformance.Partly(t, "IP-24")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		first := w.ipsec.installed()[0]
		if left := time.Until(first.Hard); left < 239*time.Second || left > 240*time.Second {
			t.Errorf("the temporary set ends in %v by itself, want 4 min", left)
		}
		u.clearRegister() // the phone has not got the 401
		w.challenge()
		u.challenged(u.open)
		synctest.Wait()
		if sets := w.ipsec.installed(); len(sets) != 1 || sets[0].ID == first.ID {
			t.Errorf("after another challenge: %v, want the new set alone", sets)
		}
		time.Sleep(239 * time.Second)
		check(t, "sets in time", len(w.ipsec.installed()), 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		w.leaks()
		u.say(u.register("Security-Verify: "+u.server, u.auth("n", "ok")))
		w.icscf.nothing(time.Minute)
		u.up()
	})
}

// A phone that answers in the last second has its set when the home network's answer
// comes after reg-await-auth.
func TestAnswerInTheLastSecond(t *testing.T) {
	conformance.Partly(t, "PR-17")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		time.Sleep(239 * time.Second)
		u.say(u.register("Security-Verify: "+u.server, u.auth("n", "ok")))
		a := w.icscf.request("REGISTER")
		w.icscf.answer(a, 100)
		time.Sleep(5 * time.Second)
		w.icscf.answer(a, 200, u.peer.granted()...)
		u.status(200)
		u.message(w.token("alice"), "m1")
		if left := time.Until(w.ipsec.hard[w.ipsec.installed()[0].ID]); left < time.Hour {
			t.Errorf("the set ends in %v by itself", left)
		}
	})
}

// What the back end tells before it ends a set: once a prolongation is mended that it
// has not taken, once the log says why the phone is about to be cut off.
func TestBackEndTellsOfTheEnd(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		w.ipsec.deaf = errors.New("the answer was lost")
		u.answer401()
		synctest.Wait()
		id := w.ipsec.installed()[0].ID
		ends := func() time.Duration {
			synctest.Wait()
			w.ipsec.mu.Lock()
			defer w.ipsec.mu.Unlock()
			return time.Until(w.ipsec.hard[id]).Round(time.Second)
		}
		w.explained("an SA set cannot be prolonged")
		check(t, "the set ends by itself in", ends(), 4*time.Minute)
		time.Sleep(ends() - 10*time.Second)
		w.p.sec.soon(id)
		check(t, "told again, it ends in", ends(), 3630*time.Second-230*time.Second)
		w.explained("it is told again")

		time.Sleep(ends() - 10*time.Second)
		w.p.sec.soon(id)
		w.explained("its registration has run out")
		check(t, "it ends in", ends(), 10*time.Second)
		time.Sleep(10 * time.Second)
		w.p.sec.soon(id) // too late
		synctest.Wait()
		check(t, "sets left", len(w.ipsec.installed()), 0)
	})
}

// Who registers in the name of others from everywhere gets a bounded number of sets.
func TestOneIMPIFromEverywhere(t *testing.T) {
	conformance.Partly(t, "IP-24")
	secure(t, func(w *world) {
		up := w.ue("alice", "192.0.2.50").up()
		for i := range 2 * maxPhonesOfOne {
			w.ue("alice", fmt.Sprintf("192.0.2.%d", 100+i)).begin()
		}
		synctest.Wait()
		if n := len(w.ipsec.installed()); n != maxPhonesOfOne {
			t.Errorf("%d sets of one identity, want %d", n, maxPhonesOfOne)
		}
		up.say(up.text("MESSAGE", "sip:bob@"+domain, "m1"))
		w.scscf.request("MESSAGE") // the one that is registered is not pushed out
		time.Sleep(5 * time.Minute)
		check(t, "sets after reg-await-auth", len(w.ipsec.installed()), 1)
	})
}

// A refused answer ends the temporary set, and leaves what is established.
func TestRefusedAnswer(t *testing.T) {
	conformance.Shows(t, "PR-29", "IP-21")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		token := w.token("alice")
		old := u.out
		u.offer(7001)
		old.send(u.ps, u.register("Security-Verify: "+u.server, u.auth("n", "ok")))
		w.challenge()
		u.challenged(u.peer)
		before := u.ps
		verify := u.server
		u.take()
		u.say(u.register("Security-Verify: "+u.server, u.auth("n", "wrong")))
		w.icscf.answer(w.icscf.request("REGISTER"), 403)
		check(t, "the 403 comes over the new set, from", u.status(403).from, u.pc)
		time.Sleep(3 * time.Minute)
		check(t, "sets", w.sets("alice"), "in use 6100/5100")
		u.out, u.ps, u.server = old, before, verify
		check(t, "a request comes from", u.message(token, "m1"), "192.0.2.1:5100")

		// A core that is out of order says nothing about the phone.
		u.offer(7002)
		old.send(u.ps, u.register("Security-Verify: "+u.server, u.auth("n", "ok")))
		w.challenge()
		u.challenged(u.peer)
		u.take()
		u.say(u.register("Security-Verify: "+u.server, u.auth("n", "ok")))
		w.icscf.answer(w.icscf.request("REGISTER"), 500)
		u.status(500)
		u.answer401()
	})
}

// Wrong RES and resynchronisation in the middle: a 401 over the new set, which
// another one follows.
func TestSecondChallenge(t *testing.T) {
	conformance.Shows(t, "PR-18", "IP-21")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		first := u.pc
		u.say(u.register("Security-Verify: "+u.server, u.auth("n", "wrong")))
		w.challenge()
		check(t, "the second 401 comes over the first set, from", u.challenged(u.peer).from, first)
		if u.pending.pc == first {
			t.Errorf("both sets have port_pc %s", first)
		}
		u.take()
		u.answer401()
		time.Sleep(3 * time.Minute)
		check(t, "sets", strings.Count(w.sets("alice"), ","), 0)
	})
}

func TestDeregistrationOverIPsec(t *testing.T) {
	conformance.Shows(t, "PR-34")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		token := w.token("alice")
		text := u.register("Security-Verify: "+u.server, u.auth("n", "ok"), "Expires: 0")
		u.say(text)
		a := w.icscf.request("REGISTER")
		w.icscf.answer(a, 200)
		u.status(200)
		// The 200 may be lost, and the NOTIFY that says so comes behind it.
		u.say(text)
		u.seen = map[string]bool{}
		u.status(200)
		s := w.scscf
		s.send(mwAddr, s.text("NOTIFY", "sip:alice@"+u.addr.String(), "n1", "Route: <sip:"+token+"@"+mwAddr+";lr>", "To: <sip:a@b>;tag=x", "Event: reg", "Subscription-State: terminated"))
		u.respond(u.request("NOTIFY"), 200)
		s.status(200)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		w.leaks()
	})
}

// The network ends the registration: the NOTIFY that says so and its answer still
// pass, and the phone's sets go, long before they would have by themselves.
func TestNetworkEndsTheRegistration(t *testing.T) {
	conformance.Partly(t, "PD-03")
	subscribe := func(u *ue, call string) {
		s := u.w.scscf
		u.say(u.text("SUBSCRIBE", "sip:alice@"+domain, call, "Event: reg"))
		s.answer(s.request("SUBSCRIBE"), 200, "Contact: <sip:"+scscfAddr+">")
		u.status(200)
	}
	send := func(u *ue, call, contact, state string) {
		s := u.w.scscf
		s.send(mwAddr, s.text("NOTIFY", "sip:alice@"+u.addr.String(), call, "Route: <sip:"+u.w.token("alice")+"@"+mwAddr+";lr>", "To: <sip:a@b>;tag=alice",
			"Event: reg", "Subscription-State: active", "Content-Type: application/reginfo+xml", "body:"+regInfo(contact, state)))
	}
	notify := func(u *ue, call, contact, state string) {
		send(u, call, contact, state)
		u.respond(u.request("NOTIFY"), 200)
		u.w.scscf.status(200)
	}
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		mine := "sip:alice@" + u.addr.String()
		subscribe(u, "s1")
		notify(u, "s1", mine, "active")
		notify(u, "s1", "sip:alice@192.0.2.77:6000", "terminated")
		notify(u, "s1", "terminated", "terminated")
		u.say(u.text("MESSAGE", "sip:bob@"+domain, "m1"))
		w.scscf.answer(w.scscf.request("MESSAGE"), 200)
		u.status(200)
		notify(u, "s1", mine, "terminated")
		u.say(u.text("MESSAGE", "sip:bob@"+domain, "m2"))
		u.status(403)
		w.explained("The network has ended the registration of alice")
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		w.leaks()
		u.up()
		// One that comes when the phone is back already ends nothing.
		subscribe(u, "s2")
		send(u, "s2", mine, "terminated")
		n := u.request("NOTIFY")
		u.again(7001)
		u.respond(n, 200)
		w.scscf.status(200)
		u.say(u.text("MESSAGE", "sip:bob@"+domain, "m3"))
		w.scscf.answer(w.scscf.request("MESSAGE"), 200)
		u.status(200)
	})
}

// A phone that has lost everything comes back in clear with the ports that its old
// sets have: it gets others of ours, and the old sets go with the 200.
func TestPhoneThatLostItsSets(t *testing.T) {
	conformance.Shows(t, "PR-28", "PR-38")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		u.message(w.token("alice"), "m1")
		u.spi += 100 // but the ports are the same
		u.offer(7000)
		u.clearRegister()
		w.challenge()
		u.challenged(u.open)
		if u.pending.ps == u.ps || u.pending.pc == u.pc {
			t.Errorf("got %v, with the old set at %s and %s", u.pending, u.ps, u.pc)
		}
		check(t, "sets until the 200", w.sets("alice"), "in use 6100/5100, temporary 6101/5101")
		u.take()
		u.answer401()
		synctest.Wait()
		check(t, "sets", w.sets("alice"), "in use 6101/5101")
		check(t, "a request comes from", u.message(w.token("alice"), "m2"), "192.0.2.1:5101")
	})
}

// After a restart of the P-CSCF the phone's packets meet no SA; it registers anew in
// clear.
func TestRestartedPCSCF(t *testing.T) {
	conformance.Shows(t, "PR-38")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.ps, u.server = "192.0.2.1:6100", "ipsec-3gpp;alg=hmac-sha-1-96;spi-c=5000;spi-s=5001;port-c=5100;port-s=6100"
		u.say(u.register("Security-Verify: "+u.server, u.auth("n", "ok")))
		w.icscf.nothing(time.Minute)
		u.up()
		u.message(w.token("alice"), "m1")
	})
}

// What comes in clear: a REGISTER and an emergency call from anyone on the open port,
// nothing else there, and nothing at all on the protected ports.
func TestInClear(t *testing.T) {
	conformance.Shows(t, "PO-01", "IP-12", "IP-13")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		for _, method := range []string{"MESSAGE", "OPTIONS", "INVITE", "SUBSCRIBE"} {
			u.open.send(gmAddr, u.open.text(method, "sip:bob@"+domain, "c-"+method))
			u.open.refused(403, "in clear")
		}
		u.open.send(gmAddr, u.open.text("BYE", "sip:bob@"+domain, "c-BYE", "To: <sip:bob@x>;tag=y"))
		u.open.refused(403, "in clear")
		u.open.send(gmAddr, u.open.text("ACK", "sip:bob@"+domain, "c-ACK", "To: <sip:bob@x>;tag=y"))
		for _, port := range []string{"6100", "5100"} {
			for _, method := range []string{"REGISTER", "MESSAGE"} {
				u.open.send("192.0.2.1:"+port, u.open.text(method, "sip:"+domain, "p-"+method+port))
			}
			u.open.send("192.0.2.1:"+port, u.open.text("INVITE", sos, "p-sos"+port))
		}
		c := u.open.dial(0, "192.0.2.1:6100")
		_, _ = c.Write([]byte(u.open.text("MESSAGE", "sip:bob@"+domain, "tcp")))
		u.open.nothing(time.Minute)
		w.icscf.nothing(0)
		w.scscf.nothing(0)
		w.explained("in clear to a protected port")
		f := w.p.Report("alice@" + domain).Facts
		if f.ClearDropped != 7 || f.ClearRefused != 5 {
			t.Errorf("counted %d dropped and %d refused, want 7 and 5", f.ClearDropped, f.ClearRefused)
		}
		// From an address whose phone has SAs, as from any.
		e := w.peer("ecscf", ecscfAddr)
		for _, p := range []*peer{u.open, w.peer("stranger", strangerAddr)} {
			p.send(gmAddr, p.text("INVITE", sos, "e-"+p.name))
			e.answer(e.request("INVITE"), 486)
			p.status(486)
		}
		b := w.ue("bob", "192.0.2.51")
		b.up()
		u.spi += 100
		u.offer(7000)
		u.begin()
		u.answer401()
		u.offer(7001)
		u.open.send(gmAddr, u.register("Contact: <sip:alice@192.0.2.50:6000;sos>", "Via: SIP/2.0/UDP "+u.open.addr.String()+";branch="+sip.NewBranch()))
		w.challenge()
		u.challenged(u.open)
	}, takesEmergencies)
}

// Over a set whose challenge is not answered nothing but REGISTER goes.
func TestTemporarySetCarriesNoRequests(t *testing.T) {
	conformance.Shows(t, "PO-01")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		u.say(u.text("MESSAGE", "sip:bob@"+domain, "m1"))
		u.refused(403, "has not answered")
		u.answer401()
		u.say(u.text("MESSAGE", "sip:bob@"+domain, "m2"))
		w.scscf.answer(w.scscf.request("MESSAGE"), 200)
		u.status(200)
		// De-registered, it asserts nothing any more.
		u.say(u.register("Security-Verify: "+u.server, u.auth("n", "ok"), "Expires: 0"))
		w.icscf.answer(w.icscf.request("REGISTER"), 200)
		u.status(200)
		u.say(u.text("MESSAGE", "sip:bob@"+domain, "m3"))
		u.refused(403, "No phone is registered")
	})
}

// Everything is given back, whatever becomes of the phones.
func TestNothingLeaks(t *testing.T) {
	conformance.Partly(t, "IP-24")
	secure(t, func(w *world) {
		for i := range 5 {
			u := w.ue(fmt.Sprintf("u%d", i), fmt.Sprintf("192.0.2.%d", 100+i))
			u.begin()
			if i == 0 {
				continue
			}
			u.answer401()
			if i == 1 {
				continue
			}
			u.again(7001)
			if i == 2 {
				u.message(w.token(u.name), "m1")
			}
		}
		if n := w.p.sec.spis.Len(); n == 0 {
			t.Error("no SPI is taken")
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		w.leaks()
	})
}

// A set that cannot be sent over is no way into clear.
func TestNothingLeavesInClear(t *testing.T) {
	conformance.Partly(t, "IP-12")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		token := w.token("alice")
		set := w.ipsec.installed()[0]
		w.p.sec.lost(set.ID)
		synctest.Wait()
		var seen []string
		w.net.SetHook(func(p memnet.Packet) memnet.Verdict {
			if p.To.Addr() == u.addr.Addr() {
				seen = append(seen, string(p.Data))
			}
			return memnet.Pass
		})
		s := w.scscf
		s.send(mwAddr, s.text("MESSAGE", "sip:alice@"+u.addr.String(), "m1", "Route: <sip:"+token+"@"+mwAddr+";lr>"))
		s.refused(480, "no SA set any more")
		if len(seen) > 0 {
			t.Errorf("sent to the phone in clear: %q", seen)
		}
	})
}

// A set that the back end does not let go of keeps its ports and SPIs until it does.
func TestSetThatTheBackEndKeeps(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		w.ipsec.mu.Lock()
		w.ipsec.stuck = 10
		w.ipsec.mu.Unlock()
		leaves := func() {
			u.granted = []string{"Service-Route: " + route}
			u.say(u.register("Security-Verify: "+u.server, "Expires: 0", u.auth("n", "ok")))
			u.grant()
			time.Sleep(3 * time.Minute) // with what the phone was sent last
			u.granted = nil
		}
		held := func() string {
			return fmt.Sprint(len(w.ipsec.installed()), " sets, ports of ", w.p.sec.ports.Len(), ", ", w.p.sec.spis.Len(), " SPIs")
		}
		leaves()
		check(t, "known", w.sets("alice"), "")
		check(t, "held", held(), "1 sets, ports of 1, 2 SPIs")
		u.up() // its own ports are always the same
		check(t, "held", held(), "2 sets, ports of 2, 4 SPIs")
		leaves()
		time.Sleep(15 * time.Minute)
		w.leaks()
	})
}
