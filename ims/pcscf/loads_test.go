package pcscf

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// underWay is how many requests of all phones the P-CSCF counts.
func (w *world) underWay() (n int) {
	synctest.Wait()
	t := w.p.loads
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, of := range t.of {
		n += int(of)
	}
	return n
}

// ringing answers n INVITEs of the text that write makes with 180, and returns what was
// sent and what has come.
func ringing(from, to *peer, at string, n int, write func(callID string) string) (sent []string, in []arrival) {
	from.w.t.Helper()
	for i := range n {
		text := write(fmt.Sprint("r", i))
		from.send(at, text)
		a := to.request("INVITE")
		to.answer(a, 180)
		from.status(180)
		sent, in = append(sent, text), append(in, a)
	}
	return sent, in
}

// ends ends calls that ring in all the ways there are: most of them with Timer C.
func ends(from, to *peer, at string, sent []string, in []arrival) {
	from.w.t.Helper()
	to.answer(in[0], 200, "Contact: <sip:carol@"+to.addr.String()+">")
	from.status(200)
	to.answer(in[1], 486)
	from.status(486)
	from.send(at, strings.ReplaceAll(sent[2], "INVITE", "CANCEL"))
	to.answer(to.request("CANCEL"), 200)
	from.status(200)
	to.answer(in[2], 487)
	from.status(487)
	check(from.w.t, "under way when three have ended", from.w.underWay(), len(in)-3)
	for _, a := range in[3:] {
		to.answer(to.request("CANCEL"), 200)
		to.answer(a, 487)
		from.status(408)
	}
}

// A phone has so many calls under way, whatever it does, and others are not concerned.
// However a request ends, it is given back.
func TestRequestsUnderWayOfAPhone(t *testing.T) {
	run(t, func(w *world) {
		p, q, s := w.peer("alice", "198.51.100.1:5060"), w.peer("bob", "198.51.100.2:5060"), w.scscf
		p.register()
		q.register()
		call := func(id string) string { return p.text("INVITE", "sip:carol@"+domain, id) }
		sent, in := ringing(p, s, gmAddr, int(maxLoad(calls)), call)
		for range 2 {
			p.send(gmAddr, call(sip.NewCallID()))
			check(t, "Retry-After", p.refused(500, "too many requests of that phone").Get(sip.HRetryAfter), "5")
			p.register() // which does not help
		}
		p.send(gmAddr, p.text("MESSAGE", "sip:carol@"+domain, "m1"))
		s.answer(s.request("MESSAGE"), 200)
		p.status(200)
		q.send(gmAddr, q.text("INVITE", "sip:carol@"+domain, "b1"))
		s.answer(s.request("INVITE"), 486)
		q.status(486)
		ends(p, s, gmAddr, sent, in)
		check(t, "under way in the end", w.underWay(), 0)

		p.send(gmAddr, call("busy"))
		s.answer(s.request("INVITE"), 503)
		p.status(503)
		p.send(gmAddr, call("silent"))
		s.request("INVITE")
		p.status(504)
		p.send(gmAddr, p.text("MESSAGE", "sip:carol@"+domain, "m2"))
		s.answer(s.request("MESSAGE"), 100)
		check(t, "under way with a MESSAGE", w.underWay(), 1)
		p.nothing(3 * time.Minute)
		check(t, "under way after failures", w.underWay(), 0)
	})
}

// The same for what comes to a phone, twice as much.
func TestRequestsUnderWayToAPhone(t *testing.T) {
	run(t, func(w *world) {
		p, s := w.peer("alice", "198.51.100.1:5060"), w.scscf
		token := p.register()
		call := func(id string) string {
			return s.text("INVITE", "sip:alice@198.51.100.1:5060", id, toAlice(token)...)
		}
		sent, in := ringing(s, p, mwAddr, 2*int(maxLoad(calls)), call)
		s.send(mwAddr, call("more"))
		s.refused(500, "too many requests for that phone")
		ends(s, p, mwAddr, sent, in)
		check(t, "under way in the end", w.underWay(), 0)
		s.send(mwAddr, call("silent"))
		p.request("INVITE")
		s.status(480)
		check(t, "under way after a failure", w.underWay(), 0)
	})
}

func TestRequestsUnderWayWithinADialog(t *testing.T) {
	run(t, func(w *world) {
		p, s := w.peer("alice", "198.51.100.1:5060"), w.scscf
		p.register()
		c := newCall(p, "c1")
		check(t, "under way with a call that is up", w.underWay(), 0)
		n := int(maxLoad(within))
		for range n {
			c.send("INFO")
			s.request("INFO")
		}
		c.send("INFO")
		p.refused(500, "too many requests of that phone")
		c.fromFar("INFO")
		m := p.request("INFO")
		check(t, "under way", w.underWay(), n+1)
		p.answer(m, 200)
		s.status(200)
		check(t, "under way", w.underWay(), n)
		p.drain()
		s.drain()
		check(t, "under way in the end", w.underWay(), 0)
		c.send("BYE")
		s.answer(s.request("BYE"), 200)
		p.status(200)
		check(t, "under way after a BYE", w.underWay(), 0)
	})
}

// Emergency calls are bounded, too, of one phone: otherwise whoever repeats one with
// another branch would hold all transactions.
func TestEmergencyCallsUnderWay(t *testing.T) {
	run(t, func(w *world) {
		e, p, q := w.peer("ecscf", ecscfAddr), w.peer("alice", "198.51.100.1:5060"), w.peer("stranger", strangerAddr)
		p.register()
		for _, from := range []*peer{p, q} {
			call := func(string) string { return from.text("INVITE", sos, "one") }
			sent, in := ringing(from, e, gmAddr, int(maxLoad(emergencies)), call)
			from.send(gmAddr, call(""))
			from.refused(500, "too many requests of that phone")
			ends(from, e, gmAddr, sent, in)
			check(t, "under way in the end", w.underWay(), 0)
		}
		w.p.callers.mu.Lock()
		defer w.p.callers.mu.Unlock()
		for _, c := range w.p.callers.byKey {
			check(t, "INVITEs of the stranger", c.open, 0)
		}
	}, takesEmergencies)
}

// A call rings for ten minutes, however often the callee says that it does; an emergency
// call for as long as it says so.
func TestEndOfRinging(t *testing.T) {
	ring := func(p, s *peer, target, callID string) (took time.Duration) {
		start := time.Now()
		p.send(gmAddr, p.text("INVITE", target, callID))
		a := s.request("INVITE")
		for {
			s.answer(a, 180, "X-Count: "+sip.NewTag())
			p.status(180)
			time.Sleep(170 * time.Second)
			synctest.Wait()
			if len(s.box) > 0 || time.Since(start) > 30*time.Minute {
				break
			}
		}
		if len(s.box) > 0 {
			s.answer(s.request("CANCEL"), 200)
			took = time.Since(start)
			s.answer(a, 487)
			p.refused(408, "has not answered the call to")
			return took
		}
		s.answer(a, 486)
		p.status(486)
		return 0
	}
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		if took := ring(p, w.scscf, "sip:carol@"+domain, "c1"); took < maxRinging || took > maxRinging+3*time.Minute {
			t.Errorf("a call rang for %v", took)
		}
		e := w.peer("ecscf", ecscfAddr)
		if took := ring(p, e, sos, "e1"); took != 0 {
			t.Errorf("an emergency call rang for %v", took)
		}
		check(t, "under way in the end", w.underWay(), 0)
	}, takesEmergencies)
}
