package pcscf

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// write sends text over a connection.
func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(strings.Replace(text, "SIP/2.0/UDP", "SIP/2.0/TCP", 1))); err != nil {
		t.Fatal(err)
	}
}

// registerOver registers a phone over a connection.
func (p *peer) registerOver(c net.Conn, contact string) string {
	p.w.t.Helper()
	write(p.w.t, c, p.text("REGISTER", "sip:"+domain, "reg-"+p.name, "To: <sip:"+p.name+"@"+domain+">", p.authorization(), "Contact: <"+contact+">"))
	return p.registered("Contact: <"+contact+">;expires=3600", "Service-Route: "+route)
}

// A phone over TCP is known by its connection, is reached over it, and when that has
// ended by its contact.
func TestPhoneOverTCP(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		const contact = "sip:alice@198.51.100.1:5060;transport=tcp"
		p.listen()
		c := p.dial(40000, gmAddr)
		token := p.registerOver(c, contact)
		delivered := func(callID string) arrival {
			t.Helper()
			w.scscf.send(mwAddr, w.scscf.text("MESSAGE", contact, callID, "Route: <sip:"+token+"@"+mwAddr+";lr>"))
			a := p.request("MESSAGE")
			p.answer(a, 200)
			w.scscf.status(200)
			return a
		}
		sends := func(callID string, send func(text string)) arrival {
			t.Helper()
			send(p.text("MESSAGE", "sip:bob@"+domain, callID))
			a := w.scscf.request("MESSAGE")
			w.scscf.answer(a, 202)
			return p.status(202)
		}
		if a := delivered("m1"); a.conn != c {
			t.Error("not over the connection that registered")
		}
		if a := sends("m2", func(text string) { write(t, c, text) }); a.conn != c {
			t.Error("the response has left the connection")
		}
		// The same phone, by UDP from its contact's port.
		sends("m3", func(text string) { p.send(gmAddr, text) })
		// Another socket of the same host is nobody.
		q := w.peerOn(p.host, "mallory", "198.51.100.1:40000")
		q.send(gmAddr, q.text("MESSAGE", "sip:bob@"+domain, "m4"))
		q.refused(403, "No phone is registered from 198.51.100.1:40000")

		_ = c.Close()
		synctest.Wait()
		time.Sleep(time.Second)
		a := delivered("m5")
		check(t, "the Request-URI", a.RequestURI(), contact)
		if a.conn == nil || a.conn == c || a.conn.LocalAddr().String() != "198.51.100.1:5060" {
			t.Errorf("not over a new connection to the contact, but %v", a.conn)
		}
		// A connection from the port that has become free is not the phone's.
		d := q.dial(40000, gmAddr)
		write(t, d, q.text("MESSAGE", "sip:bob@"+domain, "m6"))
		q.refused(403, "No phone is registered from 198.51.100.1:40000")
		if a := delivered("m7"); a.conn == d {
			t.Error("what is for alice goes to who has her port now")
		}
	})
}

// A phone behind a NAT over TCP has no other address than its connection.
func TestPhoneOverTCPBehindNAT(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		c := p.dial(0, gmAddr)
		token := p.registerOver(c, "sip:alice@10.0.0.1:5060")
		// Its contact's port on the NAT's address is somebody else's.
		p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m1"))
		p.refused(403, "No phone is registered from 198.51.100.1:5060")
		_ = c.Close()
		time.Sleep(time.Second)
		w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@10.0.0.1:5060", "c1", toAlice(token)...))
		w.scscf.refused(480, "is not reached")
		p.nothing(time.Second)
		// Who gets its port of the NAT gets nothing that is for it.
		q := w.peerOn(p.host, "mallory", "198.51.100.1:5070")
		q.dial(uint16(c.LocalAddr().(*net.TCPAddr).Port), gmAddr)
		w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@10.0.0.1:5060", "c2", toAlice(token)...))
		w.scscf.refused(480, "is not reached")
		q.nothing(time.Second)
	})
}

// Behind a NAT a phone over UDP and whoever has the same port of it over TCP may be two:
// what is too large for a datagram stays one.
func TestLargeRequestsForPhoneOverUDPBehindNAT(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "reg-alice", "To: <sip:alice@"+domain+">", p.authorization(), "Contact: <sip:alice@10.0.0.1:5060>"))
		token := p.registered("Contact: <sip:alice@10.0.0.1:5060>;expires=3600", "Service-Route: "+route)
		q := w.peerOn(p.host, "mallory", "198.51.100.1:5070")
		c := q.dial(5060, gmAddr)
		to := w.scscf.dial(0, mwAddr)
		write(t, to, w.scscf.text("MESSAGE", "sip:alice@10.0.0.1:5060", "m1", "Route: <sip:"+token+"@"+mwAddr+";lr>", "body:"+strings.Repeat("x", 2000)))
		p.answer(p.request("MESSAGE"), 200)
		w.scscf.status(200)
		q.nothing(time.Second)
		_ = c.Close()
	})
}

// A phone over UDP dials for what is too large for a datagram: from its own port.
// What is too large for it goes back over that connection.
func TestLargeMessagesOfAPhoneOverUDP(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()
		large := "body:" + strings.Repeat("x", 2000)
		w.scscf.listen()

		other := p.dial(0, gmAddr)
		write(t, other, p.text("INVITE", "sip:bob@"+domain, "c1", large))
		p.refused(403, "No phone is registered from 198.51.100.1:")

		c := p.dial(5060, gmAddr)
		write(t, c, p.text("INVITE", "sip:bob@"+domain, "c2", large))
		a := w.scscf.request("INVITE")
		check(t, "P-Asserted-Identity", a.Get(sip.HPAssertedIdentity), "<sip:alice@"+domain+">")
		w.scscf.answer(a, 486)
		if m := p.status(486); m.conn != c {
			t.Error("the response has left the connection")
		}

		to := w.scscf.dial(0, mwAddr)
		send := func(callID string, want bool) {
			t.Helper()
			write(t, to, w.scscf.text("MESSAGE", "sip:alice@198.51.100.1:5060", callID, "Route: <sip:"+token+"@"+mwAddr+";lr>", large))
			a := p.request("MESSAGE")
			if got := a.conn == c; got != want {
				t.Errorf("%s: over the phone's connection: %v, want %v", callID, got, want)
			}
			p.answer(a, 200)
			w.scscf.status(200)
		}
		send("m1", true)
		_ = c.Close()
		time.Sleep(time.Second)
		if f := w.p.bindings.ofToken(token, time.Now()).hop().Stream; f.Conn != 0 {
			t.Errorf("a connection that has ended would be tried: %v", f)
		}
		send("m2", false)
	})
}

// Strangers who take all places push out neither the connection over which a phone has
// registered nor one that it has opened besides.
func TestStrangersPushOutNoPhone(t *testing.T) {
	run(t, func(w *world) {
		alice := w.peer("alice", "198.51.100.1:5060")
		one := alice.dial(0, gmAddr)
		alice.registerOver(one, "sip:alice@198.51.100.1:5060;transport=tcp")
		bob := w.peer("bob", "198.51.100.2:5060")
		bob.register()
		other := bob.dial(5060, gmAddr)
		sends := func(p *peer, c net.Conn, callID string) {
			t.Helper()
			write(t, c, p.text("MESSAGE", "sip:carol@"+domain, callID))
			w.scscf.answer(w.scscf.request("MESSAGE"), 202)
			if a := p.status(202); a.conn != c {
				t.Errorf("%s is answered over another connection", callID)
			}
		}
		sends(bob, other, "m1")
		strangers := w.peer("mallory", "203.0.113.1:5060")
		for range 300 {
			strangers.dial(0, gmAddr)
		}
		sends(alice, one, "m2")
		sends(bob, other, "m3")
	}, func(c *Config) { c.MaxConnections = 128 })
}
