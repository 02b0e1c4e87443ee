package as

import (
	"fmt"
	"strings"
	"testing"
	"time"

	ours "github.com/gocscf/gocscf/ims/sip"
)

func b2buaConfig() Config {
	cfg := DefaultConfig()
	cfg.Mode = B2BUA
	return cfg
}

// side is one dialog as its peer keeps it.
type side struct {
	*peer
	callID, local, remote, target string
	route                         []string
	cseq                          int
}

// asUAC is the caller's dialog after an answer to inviteFrom.
func asUAC(p *peer, m *ours.Message) *side {
	return &side{
		peer: p, callID: m.CallID(), local: m.Get(ours.HFrom), remote: m.Get(ours.HTo),
		target: uriOf(m), cseq: 7,
	}
}

// asUAS is the called side's dialog after an INVITE.
func asUAS(p *peer, m *ours.Message, tag string) *side {
	return &side{
		peer: p, callID: m.CallID(), local: m.Get(ours.HTo) + ";tag=" + tag, remote: m.Get(ours.HFrom),
		target: uriOf(m), route: list(m, ours.HRecordRoute), cseq: 100,
	}
}

func uriOf(m *ours.Message) string {
	a, err := ours.ParseNameAddr(m.Get(ours.HContact))
	if err != nil {
		return ""
	}
	return a.URI
}

// request sends a request within the dialog. An ACK has the CSeq of the INVITE.
func (d *side) request(method, lines, body string) {
	d.t.Helper()
	if method != "ACK" {
		d.cseq++
	}
	d.ask(method, d.cseq, lines, body)
}

func (d *side) ask(method string, cseq int, lines, body string) {
	d.t.Helper()
	text := fmt.Sprintf("%s %s SIP/2.0\nVia: SIP/2.0/UDP %s;branch=%s\nMax-Forwards: 70\nFrom: %s\nTo: %s\nCall-ID: %s\nCSeq: %d %s\n",
		method, d.target, d.addr, ours.NewBranch(), d.local, d.remote, d.callID, cseq, method)
	for _, r := range d.route {
		text += "Route: " + r + "\n"
	}
	if lines != "" {
		text += lines + "\n"
	}
	d.send(text + "\n" + body)
}

func TestABackToBackUserAgentBridgesACall(t *testing.T) {
	s, a, b := ends(t, b2buaConfig())
	a.send(inviteFrom(a, b, "1", "X-Odd: kept\n"))
	invite := b.want("INVITE")

	// A new dialog (TS 24.229 5.7.5) by the same original dialog identifier.
	if invite.CallID() == "call-1@192.0.2.1" || invite.FromTag() == "a-tag" || invite.FromTag() == "" {
		t.Errorf("the second dialog is the first: Call-ID %s, From tag %s", invite.CallID(), invite.FromTag())
	}
	equal(t, "From", strings.TrimSuffix(invite.Get(ours.HFrom), ";tag="+invite.FromTag()), `"Alice; \"A\"" <sip:alice@ims.example;user=phone>`)
	equal(t, "Route", strings.Join(list(invite, ours.HRoute), "|"), `<sip:odi-0123456789abcdef@`+b.addr+`;lr;a=;b>;c="d, e"`)
	equal(t, "Request-URI", invite.RequestURI(), "tel:+15551234;phone-context=ims.example")
	equal(t, "Vias", len(list(invite, ours.HVia)), 1)
	equal(t, "Record-Routes", len(list(invite, ours.HRecordRoute)), 0)
	equal(t, "Contact", invite.Get(ours.HContact), "<sip:as@"+s.Addr().String()+">;audio")
	equal(t, "P-Asserted-Identity", invite.Get(ours.HPAssertedIdentity), "<sip:alice@ims.example>, <tel:+15550001>")
	equal(t, "P-Charging-Vector", invite.Get(ours.HPChargingVector), "icid-value=\"icid-1\";orig-ioi=ims.example")
	equal(t, "P-Served-User", invite.GetName("P-Served-User"), "")
	equal(t, "X-Odd", invite.GetName("X-Odd"), "kept")
	equal(t, "X-AS", invite.GetName("X-AS"), "as")
	equal(t, "offer", invite.Body(), wireBody(sdpShort))

	const contact = "Contact: <sip:bob@192.0.2.2:5060>;video;+sip.instance=\"<urn:x>\"\nRecord-Route: <sip:x@192.0.2.9;lr>, <sip:mt@%s;lr>"
	b.respond(invite, 183, "b-tag", fmt.Sprintf(contact, b.addr)+"\nRequire: 100rel\nRSeq: 900\nContent-Type: application/sdp", sdpShort)
	ringing := a.want("183 INVITE")
	equal(t, "RSeq", ringing.GetName("RSeq"), "900")
	equal(t, "Call-ID of the answer", ringing.CallID(), "call-1@192.0.2.1")
	equal(t, "Contact of the answer", ringing.Get(ours.HContact), "<sip:as@"+s.Addr().String()+">;video")
	equal(t, "Record-Route of the answer", strings.Join(list(ringing, ours.HRecordRoute), "|"), "<sip:mo@"+a.addr+";lr>")
	if tag := ringing.ToTag(); tag == "" || tag == "b-tag" {
		t.Errorf("To tag %q of the answer is not the first dialog's own", tag)
	}
	alice := asUAC(a, ringing)

	// Reliable provisional answers (RFC 3262) and a second offer (RFC 3311).
	alice.request("PRACK", "RAck: 900 7 INVITE", "")
	m := b.want("PRACK")
	equal(t, "RAck", m.GetName("RAck"), "900 1 INVITE")
	equal(t, "Route", strings.Join(list(m, ours.HRoute), "|"), "<sip:mt@"+b.addr+";lr>|<sip:x@192.0.2.9;lr>")
	equal(t, "Request-URI", m.RequestURI(), "sip:bob@192.0.2.2:5060")
	equal(t, "To", m.ToTag(), "b-tag")
}

// wireBody is a body as peers send it.
func wireBody(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// established is a call through a B2BUA whose second dialog has bob's Contact at b.
func established(t *testing.T) (s *Server, alice, bob *side) {
	t.Helper()
	s, a, b := ends(t, b2buaConfig())
	a.send(inviteFrom(a, b, "1", ""))
	invite := b.want("INVITE")
	b.respond(invite, 180, "b-tag", "Contact: <"+b.uri()+">\nRequire: 100rel\nRSeq: 5", "")
	ringing := a.want("180 INVITE")
	alice, bob = asUAC(a, ringing), asUAS(b, invite, "b-tag")
	alice.request("PRACK", "RAck: 5 7 INVITE", "")
	m := b.want("PRACK")
	equal(t, "RAck", m.GetName("RAck"), "5 1 INVITE")
	b.respond(m, 200, "", "", "")
	a.want("200 PRACK")
	alice.request("UPDATE", "Contact: <"+a.uri()+">\nContent-Type: application/sdp", sdpShort)
	m = b.want("UPDATE")
	equal(t, "CSeq of the UPDATE", m.Get(ours.HCSeq), "3 UPDATE")
	equal(t, "offer", m.Body(), wireBody(sdpShort))
	b.respond(m, 200, "", "Contact: <"+b.uri()+">\nContent-Type: application/sdp", sdpOffer)
	equal(t, "answer", a.want("200 UPDATE").Body(), wireBody(sdpOffer))
	b.respond(invite, 200, "b-tag", "Contact: <"+b.uri()+">", "")
	ok := a.want("200 INVITE")
	equal(t, "To tag of the 200", ok.ToTag(), ringing.ToTag())
	alice.ask("ACK", 7, "", "")
	m = b.want("ACK")
	equal(t, "CSeq of the ACK", m.Get(ours.HCSeq), "1 ACK")
	equal(t, "Request-URI of the ACK", m.RequestURI(), b.uri())
	return s, alice, bob
}

func TestEitherSideEndsABridgedCall(t *testing.T) {
	for _, who := range []string{"caller", "called"} {
		t.Run(who, func(t *testing.T) {
			s, from, to := established(t)
			if who == "called" {
				from, to = to, from
			}
			from.request("INFO", "Content-Type: text/plain", "hi")
			m := to.want("INFO")
			equal(t, "body", m.Body(), "hi")
			to.respond(m, 200, "", "", "")
			from.want("200 INFO")
			from.request("BYE", "Reason: Q.850;cause=16", "")
			m = to.want("BYE")
			equal(t, "Reason", m.GetName("Reason"), "Q.850;cause=16")
			to.respond(m, 200, "", "", "")
			from.want("200 BYE")
			from.request("INFO", "", "")
			from.want("481 INFO")
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.pairs) != 0 {
				t.Errorf("%d ends of dialogs are left", len(s.pairs))
			}
		})
	}
}

func TestABridgedReINVITETakesItsAnswerInTheACK(t *testing.T) {
	_, alice, bob := established(t)
	bob.request("INVITE", "Contact: <sip:bob@"+bob.addr+">", "")
	m := alice.want("INVITE")
	alice.respond(m, 200, "", "Contact: <sip:alice@"+alice.addr+">\nContent-Type: application/sdp", sdpShort)
	equal(t, "offer", bob.want("200 INVITE").Body(), wireBody(sdpShort))
	bob.request("ACK", "Content-Type: application/sdp", sdpOffer)
	ack := alice.want("ACK")
	equal(t, "answer", ack.Body(), wireBody(sdpOffer))
	equal(t, "Request-URI", ack.RequestURI(), "sip:alice@"+alice.addr)
	c, _ := m.CSeq()
	equal(t, "CSeq", ack.Get(ours.HCSeq), fmt.Sprintf("%d ACK", c.Seq))
	// The Contact that bob has moved to is the target now.
	alice.request("INFO", "", "")
	equal(t, "Request-URI", bob.want("INFO").RequestURI(), "sip:bob@"+bob.addr)
	// A request that is older than one before has no place (RFC 3261 12.2.2).
	bob.ask("INFO", 3, "", "")
	bob.want("500 INFO")
}

func TestABridgedCallIsRefusedOrCancelled(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		s, a, b := ends(t, b2buaConfig())
		a.send(inviteFrom(a, b, "1", ""))
		m := b.want("INVITE")
		b.respond(m, 180, "b-tag", "Contact: <"+b.uri()+">", "")
		early := asUAC(a, a.want("180 INVITE"))
		b.respond(m, 486, "b-tag", "Warning: 399 b \"busy\"", "")
		b.want("ACK")
		equal(t, "Warning", a.want("486 INVITE").GetName("Warning"), `399 b "busy"`)
		a.send(strings.Replace(ackTo(a, "1"), ";tag=t\n", ";tag="+early.remote[strings.Index(early.remote, ";tag=")+5:]+"\n", 1))
		waitFor(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.pairs) == 0
		})
	})
	t.Run("redirected", func(t *testing.T) {
		_, a, b := ends(t, b2buaConfig())
		a.send(inviteFrom(a, b, "1", ""))
		b.respond(b.want("INVITE"), 302, "b-tag", "Contact: <sip:carol@192.0.2.3>;q=0.5, <tel:+3>", "")
		b.want("ACK")
		equal(t, "Contact", strings.Join(list(a.want("302 INVITE"), ours.HContact), "|"), "<sip:carol@192.0.2.3>;q=0.5|<tel:+3>")
	})
	t.Run("cancelled", func(t *testing.T) {
		_, a, b := ends(t, b2buaConfig())
		a.send(inviteFrom(a, b, "1", ""))
		m := b.want("INVITE")
		b.respond(m, 180, "b-tag", "Contact: <"+b.uri()+">", "")
		a.want("180 INVITE")
		a.send(cancelText(a, "1"))
		a.want("200 CANCEL")
		c := b.want("CANCEL")
		equal(t, "Call-ID of the CANCEL", c.CallID(), m.CallID())
		b.respond(c, 200, "b-tag", "", "")
		b.respond(m, 487, "b-tag", "", "")
		b.want("ACK")
		a.want("487 INVITE")
	})
}

// waitFor waits for what another goroutine does after the last message.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it does not come to pass")
		}
	}
}

func TestForkingGivesTheCallerADialogForEach(t *testing.T) {
	s, a, b := ends(t, b2buaConfig())
	a.send(inviteFrom(a, b, "1", ""))
	m := b.want("INVITE")
	b.respond(m, 180, "one", "Contact: <sip:one@"+b.addr+">", "")
	one := a.want("180 INVITE")
	b.respond(m, 180, "two", "Contact: <sip:two@"+b.addr+">", "")
	two := a.want("180 INVITE")
	if one.ToTag() == two.ToTag() {
		t.Errorf("both early dialogs have the tag %s", one.ToTag())
	}
	b.respond(m, 200, "two", "Contact: <sip:two@"+b.addr+">", "")
	ok := a.want("200 INVITE")
	equal(t, "tag of the 200", ok.ToTag(), two.ToTag())
	asUAC(a, ok).ask("ACK", 7, "", "")
	ack := b.want("ACK")
	equal(t, "tag of the ACK", ack.ToTag(), "two")
	equal(t, "target of the ACK", ack.RequestURI(), "sip:two@"+b.addr)
	waitFor(t, func() bool { // the early dialog goes with the first 200
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.pairs) == 2
	})
	// A second 200 is a second call (RFC 3261 13.2.2.4).
	b.respond(m, 200, "one", "Contact: <sip:one@"+b.addr+">", "")
	ok = a.want("200 INVITE")
	equal(t, "tag of the second 200", ok.ToTag(), one.ToTag())
	asUAC(a, ok).ask("ACK", 7, "", "")
	equal(t, "tag of the second ACK", b.want("ACK").ToTag(), "one")
}

func TestABackToBackUserAgentOriginatesOnBehalfOfAUser(t *testing.T) {
	cfg := b2buaConfig()
	cfg.OnBehalfOf = "sip:service@ims.example"
	_, a, b := ends(t, cfg)
	a.send(inviteFrom(a, b, "1", "Privacy: id\n"))
	m := b.want("INVITE")
	equal(t, "Route", strings.Join(list(m, ours.HRoute), "|"), "<sip:"+b.addr+";lr;orig>")
	equal(t, "P-Asserted-Identity", m.Get(ours.HPAssertedIdentity), "<sip:service@ims.example>")
	equal(t, "P-Served-User", m.GetName("P-Served-User"), "<sip:service@ims.example>;sescase=orig;regstate=reg")
	equal(t, "Privacy", m.GetName("Privacy"), "")
	equal(t, "From", strings.HasPrefix(m.Get(ours.HFrom), "<sip:service@ims.example>;tag="), true)
	equal(t, "icid", strings.Contains(m.Get(ours.HPChargingVector), "icid-1"), true)
}

func TestAMessagePassesABackToBackUserAgent(t *testing.T) {
	s, a, b := ends(t, b2buaConfig())
	a.send(strings.NewReplacer("INVITE", "MESSAGE", "application/sdp", "text/plain").Replace(inviteFrom(a, b, "1", "")))
	m := b.want("MESSAGE")
	b.respond(m, 202, "b-tag", "", "")
	r := a.want("202 MESSAGE")
	if r.ToTag() == "b-tag" || r.ToTag() == "" {
		t.Errorf("To tag %q", r.ToTag())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pairs) != 0 {
		t.Error("a MESSAGE has begun a dialog")
	}
}
