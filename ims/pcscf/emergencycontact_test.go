package pcscf

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip"
)

// A contact has the expiry that is written beside it, and else that of the one which is
// the same to the registrar.
func TestGrantOfAContact(t *testing.T) {
	tests := []struct {
		granted, contact string
		want             uint32
	}{
		{"<sip:a@h>;expires=3600, <sip:a@h;sos>;expires=60", "sip:a@h;sos", 60},
		{"<sip:a@h;sos>;expires=60, <sip:a@h>;expires=3600", "sip:a@h", 3600},
		{"<sip:a@h>;expires=3600", "sip:a@h;sos", 0},
		{"<sip:a@h;sos>;expires=60", "sip:a@h", 0},
		{"<sip:a@h;sos>;expires=60", "sip:a@H;x;sos", 60},
		{"<sip:a@h;p1>;expires=60", "sip:a@h;p2", 60},
		{"<sip:a@h>;expires=60, <sip:a@h;x>;expires=90", "sip:a@h;x", 90},
		{"<sip:a@h;transport=tcp>;expires=60", "sip:a@h", 0},
		{"<sip:a@h>;expires=60", "nothing", 0},
	}
	for _, tt := range tests {
		t.Run(tt.contact+" of "+tt.granted, func(t *testing.T) {
			m, err := sip.Parse("SIP/2.0 200 OK\r\nContact: " + tt.granted + "\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			check(t, "seconds", grants(m, nil).of(tt.contact), tt.want)
		})
	}
}

// The end of an emergency contact is not that of the ordinary one, nor the other way round.
func TestEndOfAnEmergencyContact(t *testing.T) {
	const ordinary, emergency, on, off = "sip:a@h", "sip:a@h;sos", reginfo.Active, reginfo.Terminated
	type contacts []reginfo.Contact
	at := func(uri string, s reginfo.State) reginfo.Contact { return reginfo.Contact{URI: uri, State: s} }
	tests := []struct {
		name         string
		contacts     contacts
		contact      string
		gone, active bool
	}{
		{"the emergency one, for the other", contacts{at(ordinary, on), at(emergency, off)}, ordinary, false, true},
		{"the emergency one, for itself", contacts{at(ordinary, on), at(emergency, off)}, emergency, true, false},
		{"the ordinary one, for the other", contacts{at(ordinary, off), at(emergency, on)}, emergency, false, true},
		{"one that the same has replaced", contacts{at(ordinary+";x", off), at(ordinary+";y", on)}, ordinary, false, true},
		{"both", contacts{at(ordinary, off), at(emergency, off)}, ordinary, true, false},
		{"one elsewhere", contacts{at("sip:a@other", off)}, ordinary, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := terminated(&reginfo.Document{Registrations: []reginfo.Registration{{AOR: "sip:alice@" + domain, State: on, Contacts: tt.contacts}}}, tt.contact)
			check(t, "gone", len(e.gone) > 0, tt.gone)
			check(t, "active", len(e.active) > 0, tt.active)
		})
	}
}

// Without IPsec, too, an emergency registration from the phone's own socket stands beside
// the ordinary one, which speaks for the phone again when it is over.
func TestEmergencyContactBesideTheOrdinaryOne(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		contact := "<sip:alice@" + p.addr.String() + ">"
		sos := "<sip:alice@" + p.addr.String() + ";sos>"
		ordinary := p.register()
		register := func(contact, granted string) string {
			p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "reg-alice", "To: <sip:alice@"+domain+">", p.authorization(), "Contact: "+contact))
			return p.registered("Contact: "+granted, "Service-Route: "+route)
		}
		reached := func(token string) {
			t.Helper()
			w.scscf.send(mwAddr, w.scscf.text("MESSAGE", "sip:alice@"+p.addr.String(), sip.NewTag(), "Route: <sip:"+token+"@"+mwAddr+";lr>"))
			p.answer(p.request("MESSAGE"), 200)
			w.scscf.status(200)
		}
		speaks := func() {
			t.Helper()
			p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, sip.NewTag()))
			w.scscf.answer(w.scscf.request("MESSAGE"), 200)
			p.status(200)
		}
		both := contact + ";expires=3600, " + sos + ";expires=60"
		emergency := register(sos, both)
		check(t, "contacts", w.p.bindings.len(), 2)
		reached(ordinary)
		reached(emergency)
		check(t, "the token of the ordinary contact that comes again", register(contact, both), ordinary)
		check(t, "that of the emergency contact", register(sos, both), emergency)
		speaks()
		time.Sleep(70 * time.Second) // it has run out, and is still reached
		speaks()
		time.Sleep(5 * time.Minute)
		check(t, "contacts when the emergency one has run out", w.p.bindings.len(), 1)
		speaks()
		reached(ordinary)
		// The other way round.
		emergency = register(sos, contact+";expires=60, "+sos+";expires=3600")
		register(contact, contact+";expires=60, "+sos+";expires=3600")
		time.Sleep(5 * time.Minute)
		check(t, "contacts when the ordinary one has run out", w.p.bindings.len(), 1)
		speaks()
		reached(emergency)
	})
}

// What a phone with both contacts begins is of the ordinary one, whichever it registered
// later, and lasts when the emergency registration has run out. Its emergency call is of
// the other, and by the identity that was registered with that.
func TestDialogsBesideAnEmergencyRegistration(t *testing.T) {
	run(t, func(w *world) {
		e := w.peer("ecscf", ecscfAddr)
		p := w.peer("alice", "198.51.100.1:5060")
		contact := "<sip:alice@" + p.addr.String() + ">"
		sosContact := "<sip:alice@" + p.addr.String() + ";sos>"
		ordinary := p.register()
		p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "reg-sos", "To: <sip:second@"+domain+">", p.authorization(), "Contact: "+sosContact))
		emergency := p.registered("Contact: "+contact+";expires=3600, "+sosContact+";expires=60", "Service-Route: "+route, "P-Associated-URI: <sip:second@"+domain+">")

		c := newCall(p, "c1")
		check(t, "Record-Route of a call", userOf(t, c.invite.First(sip.HRecordRoute)), ordinary)
		check(t, "by the identity", c.invite.First(sip.HPAssertedIdentity), "<sip:alice@"+domain+">")
		p.send(gmAddr, p.text("INVITE", sos, "e1", "P-Preferred-Identity: <sip:second@"+domain+">"))
		in := e.request("INVITE")
		check(t, "Record-Route of an emergency call", userOf(t, in.First(sip.HRecordRoute)), emergency)
		check(t, "by the identity", in.First(sip.HPAssertedIdentity), "<sip:second@"+domain+">")
		e.answer(in, 486)
		p.status(486)

		// Entries with either token are its own, to whichever contact speaks.
		b := w.p.bindings.ofToken(ordinary, time.Now())
		for token, ours := range map[string]int{ordinary: 1, emergency: 1, newToken(): 0} {
			rest, n := w.p.behindUs([]string{"<sip:" + token + "@" + mwAddr + ";lr>", farRoute[0]}, b)
			check(t, "entries of ours at the head", fmt.Sprint(n, len(rest)), fmt.Sprint(ours, 2-ours))
		}

		// The subscription tells of both.
		subscribeTo(p, "sip:alice@"+domain, "reg")()
		body := `body:<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="1" state="full">` +
			`<registration aor="sip:alice@` + domain + `" id="r1" state="active"><contact id="c1" state="active" event="registered"><uri>` + contact[1:len(contact)-1] + `</uri></contact></registration>` +
			`<registration aor="sip:second@` + domain + `" id="r2" state="terminated"><contact id="c2" state="terminated" event="deactivated"><uri>` + sosContact[1:len(sosContact)-1] + `</uri></contact></registration></reginfo>`
		notify(p, "s1", "scscf", "", body)
		synctest.Wait()
		now := time.Now()
		check(t, "the emergency contact is registered", w.p.bindings.ofToken(emergency, now).registered(now), false)
		check(t, "the ordinary one is", w.p.bindings.ofToken(ordinary, now).registered(now), true)

		time.Sleep(5 * time.Minute)
		check(t, "contacts when the emergency one has run out", w.p.bindings.len(), 1)
		w.scscf.send(mwAddr, w.scscf.text("BYE", "sip:alice@"+p.addr.String(), "c1", "Route: "+c.invite.First(sip.HRecordRoute),
			"From: <sip:bob@"+domain+">;tag=far", "To: <sip:alice@"+domain+">;tag=alice"))
		p.answer(p.request("BYE"), 200)
		w.scscf.status(200)
	}, takesEmergencies)
}

// Over SA sets likewise; they live as long as the longest registration over them.
func TestDialogsBesideAnEmergencyRegistrationOverIPsec(t *testing.T) {
	secure(t, func(w *world) {
		e := w.peer("ecscf", ecscfAddr)
		u := w.ue("alice", "192.0.2.50").up()
		ordinary := w.token("alice")
		contact, sosContact := fmt.Sprintf("<sip:alice@%v>", u.addr), fmt.Sprintf("<sip:alice@%v;sos>", u.addr)
		u.granted = []string{"Contact: " + contact + ";expires=3600, " + sosContact + ";expires=7200", "Service-Route: " + route, "P-Associated-URI: <sip:alice@" + domain + ">"}
		u.say(u.register("Security-Verify: "+u.server, "Contact: "+sosContact, u.auth("n", "ok")))
		u.grant()
		u.say(u.text("INVITE", "sip:bob@"+domain, "c1"))
		in := w.scscf.request("INVITE")
		check(t, "Record-Route of a call", userOf(t, in.First(sip.HRecordRoute)), ordinary)
		w.scscf.answer(in, 486)
		u.status(486)
		u.say(u.text("INVITE", sos, "e1"))
		in = e.request("INVITE")
		emergency := userOf(t, in.First(sip.HRecordRoute))
		check(t, "Record-Route of an emergency call is the emergency contact's", isEmergency(w.p.bindings.ofToken(emergency, time.Now()).contact), true)
		e.answer(in, 486)
		u.status(486)
		time.Sleep(90 * time.Minute)
		check(t, "contacts when the ordinary one has run out", w.p.bindings.len(), 1)
		u.say(u.text("MESSAGE", "sip:bob@"+domain, "m1"))
		w.scscf.answer(w.scscf.request("MESSAGE"), 200)
		u.status(200)
	}, takesEmergencies)
}

// Of phones that share a private identity none speaks for another, in whatever way they are
// registered.
func TestWhoSpeaksForAPhone(t *testing.T) {
	now := time.Now()
	a, b := "198.51.100.1:5060", "198.51.100.2:5060"
	for _, secure := range []bool{false, true} {
		for _, sosFirst := range []bool{false, true} {
			t.Run(fmt.Sprint("IPsec ", secure, ", emergency first ", sosFirst), func(t *testing.T) {
				bs := newBindings(10, func(string) {})
				emergency, ordinary := bound("alice", sip.UDP, a, a), bound("alice", sip.UDP, b, b)
				emergency.contact += ";sos"
				emergency.sets[0].expires = now.Add(time.Minute)
				if secure {
					for _, o := range []*binding{emergency, ordinary} {
						o.phone = phoneKey{"alice", o.source.Addr()}
						o.flow.Role, o.at = sip.RoleProtectedServer, netip.AddrPort{}
					}
				}
				order := []*binding{ordinary, emergency}
				if sosFirst {
					order[0], order[1] = order[1], order[0]
				}
				for _, o := range order {
					bs.put(o)
				}
				for _, o := range order {
					if got := bs.ofFlow(o.flow, now); got != o {
						t.Errorf("for %s speaks %v", o.contact, got.contact)
					}
					if got := bs.emergencyOf(o, now); got != o {
						t.Errorf("an emergency call of %s is of %s", o.contact, got.contact)
					}
					if secure {
						if got := bs.ofPhone(o.phone, now); got != o {
							t.Errorf("for %s speaks %v", o.contact, got.contact)
						}
						if got := bs.untilOfPhone(o.phone); !got.Equal(o.sets[0].expires) {
							t.Errorf("the sets of %s live until %v", o.contact, got)
						}
					}
				}
				// Both of one phone, and a second emergency contact, as over SAs there may be.
				if !secure {
					return
				}
				own, later := bound("alice", sip.UDP, a, ""), bound("alice", sip.UDP, a, "")
				own.contact, later.contact = "sip:alice@own", "sip:alice@later;sos"
				for _, o := range []*binding{own, later} {
					o.flow, o.phone = emergency.flow, emergency.phone
					bs.put(o)
				}
				check(t, "who speaks", bs.ofPhone(own.phone, now).contact, own.contact)
				check(t, "an emergency call of the ordinary one is of", bs.emergencyOf(own, now).contact, later.contact)
				check(t, "of an emergency one", bs.emergencyOf(emergency, now).contact, emergency.contact)
			})
		}
	}
}

func TestIsEmergency(t *testing.T) {
	for contact, want := range map[string]bool{
		"sip:a@h;sos": true, "sip:a@h;SOS": true, "sip:a@h;x;sos;y": true, "sip:a@h;%73os": true, "sip:a@h;sos=1": true,
		"sip:a@h": false, "sip:a@h;so": false, "sip:a@h;soso": false, "sip:sos@h;x=sos": false, "sip:%73os@h": false, ";sos": false, "": false,
	} {
		check(t, contact, isEmergency(contact), want)
	}
}

// A connection of the phone's that has ended is no way to it, whichever of its contacts has
// it, and whichever was registered last.
func TestEndedConnectionOfAPhoneWithBoth(t *testing.T) {
	const place = "198.51.100.1:5060"
	bs, now := newBindings(10, func(string) {}), time.Now()
	b, sos := bound("alice", sip.UDP, place, place), bound("alice", sip.UDP, place, place)
	sos.contact += ";sos"
	bs.put(b)
	bs.put(sos)
	f := sip.Flow{Proto: sip.TCP, Role: sip.RoleGm, Local: netipAddr(gmAddr), Remote: netipAddr(place), Conn: 7}
	check(t, "who sends over it", bs.ofFlow(f, now) == b, true)
	b.stream.Store(&f)
	bs.closed(f)
	check(t, "it has the connection", b.stream.Load() != nil, false)
	// By that connection the emergency contact has registered, from another port, and it has
	// run out when the connection ends.
	over := bound("alice", sip.TCP, "198.51.100.1:40000", place)
	over.contact = sos.contact
	bs.put(over)
	b.stream.Store(&over.flow)
	again := bound("alice", sip.TCP, "198.51.100.1:40000", place)
	again.contact = sos.contact
	bs.put(again)
	check(t, "it has the connection over which the other has registered again", b.stream.Load() != nil, true)
	bs.put(over)
	bs.drop(over, nil)
	bs.closed(over.flow)
	check(t, "it has the other connection", b.stream.Load() != nil, false)
}

// Who takes the address of a phone with both takes the place of both.
func TestBothContactsGoWithTheirAddress(t *testing.T) {
	const place = "198.51.100.1:5060"
	for _, at := range []string{place, ""} {
		t.Run("at "+at, func(t *testing.T) {
			left, now := 0, time.Now()
			bs := newBindings(10, func(string) { left++ })
			b, sos := bound("alice", sip.UDP, place, at), bound("alice", sip.UDP, place, at)
			b.contact, sos.contact = "sip:alice@"+place, "sip:alice@"+place+";sos"
			other := bound("alice", sip.UDP, place, at) // the app has started anew
			other.contact = "sip:x@" + place
			for _, b := range []*binding{b, sos, other} {
				if !bs.put(b) {
					t.Fatal("no room")
				}
			}
			check(t, "the one that another ordinary contact replaces", bs.ofToken(b.token, now) == nil, true)
			check(t, "the emergency one beside that", bs.ofToken(sos.token, now) == sos, true)
			bob := bound("bob", sip.UDP, place, "")
			bs.put(bob)
			check(t, "contacts", bs.len(), 1)
			check(t, "who is there", bs.ofFlow(bob.flow, now) == bob, true)
			check(t, "users whose last contact has gone", left, 1)
			bs.sweep(now.Add(2 * time.Hour))
			check(t, "left after the end", fmt.Sprint(len(bs.byToken), len(bs.bySource), len(bs.byAt), len(bs.byIMPI)), "0 0 0 0")
		})
	}
}

// So does who registers from where both are reached, over whatever connections they came.
func TestBothContactsGoWithWhereTheyAreReached(t *testing.T) {
	const place = "198.51.100.1:5060"
	now := time.Now()
	bs := newBindings(10, func(string) {})
	b, sos := bound("alice", sip.TCP, "198.51.100.1:6001", place), bound("alice", sip.TCP, "198.51.100.1:6002", place)
	b.contact, sos.contact = "sip:alice@"+place, "sip:alice@"+place+";sos"
	bob := bound("bob", sip.UDP, place, "")
	for _, b := range []*binding{b, sos, bob} {
		if !bs.put(b) {
			t.Fatal("no room")
		}
	}
	check(t, "contacts", bs.len(), 1)
	check(t, "who is there", bs.ofFlow(bob.flow, now) == bob, true)
}
