package as

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	ours "github.com/gocscf/gocscf/ims/sip"
)

func proxyConfig() Config { return DefaultConfig() }

// ends are a proxy between two peers.
func ends(t *testing.T, cfg Config) (s *Server, a, b *peer) {
	s = start(t, cfg)
	return s, newPeer(t, s), newPeer(t, s)
}

func TestAProxyChangesNothingButWhatItMust(t *testing.T) {
	s, a, b := ends(t, proxyConfig())
	odd := "X-Odd:  a , \"b,c\" ;d=\" e\"\nUser-Agent: (phone) 1.0\n"
	a.send(inviteFrom(a, b, "1", odd))
	m := b.want("INVITE")

	equal(t, "Request-URI", m.RequestURI(), "tel:+15551234;phone-context=ims.example")
	equal(t, "Route", strings.Join(list(m, ours.HRoute), "|"), `<sip:odi-0123456789abcdef@`+b.addr+`;lr;a=;b>;c="d, e"`)
	equal(t, "Record-Route", strings.Join(list(m, ours.HRecordRoute), "|"), "<sip:"+s.Addr().String()+";lr>|<sip:mo@"+a.addr+";lr>")
	if hops, _ := m.MaxForwards(); hops != 67 {
		t.Errorf("Max-Forwards %d", hops)
	}
	vias := list(m, ours.HVia)
	if len(vias) != 4 || !strings.HasPrefix(vias[0], "SIP/2.0/UDP "+s.Addr().String()+";branch=z9hG4bK") {
		t.Fatalf("Vias %q", vias)
	}
	equal(t, "Vias below ours", strings.Join(vias[1:], "|"), `SIP/2.0/UDP `+a.addr+`;branch=z9hG4bK1;x="a;b"|`+
		`SIP/2.0/TCP 192.0.2.7:5060;branch=z9hG4bKbefore;received=192.0.2.8|SIP/2.0/UDP [2001:db8::1]:5061;rport=1;branch=z9hG4bKfirst`)
	equal(t, "X-AS", m.GetName("X-AS"), "as")
	sent, err := ours.Parse(wireText(inviteFrom(a, b, "1", odd)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sent.Len() {
		switch id, name, value := sent.Line(i); id {
		case ours.HVia, ours.HRoute, ours.HRecordRoute, ours.HMaxForwards:
		default:
			equal(t, name, m.GetName(name), value)
		}
	}
	equal(t, "body", m.Body(), sent.Body())

	// Answers lose our Via and nothing else.
	more := "Contact: <sip:bob@192.0.2.2:5060>;+sip.instance=\"<urn:gsma:imei:4-5-6>\"\nX-Odd: \"y;z\""
	b.respond(m, 183, "b-tag", more+"\nRequire: 100rel\nRSeq: 9", sdpOffer)
	r := a.want("183 INVITE")
	equal(t, "Vias of the answer", strings.Join(list(r, ours.HVia), "|"), strings.Join(vias[1:], "|"))
	equal(t, "Record-Routes of the answer", len(list(r, ours.HRecordRoute)), 2)
	equal(t, "X-Odd", r.GetName("X-Odd"), `"y;z"`)
	equal(t, "Contact", r.GetName("Contact"), `<sip:bob@192.0.2.2:5060>;+sip.instance="<urn:gsma:imei:4-5-6>"`)
	equal(t, "To tag", r.ToTag(), "b-tag")
	b.respond(m, 200, "b-tag", more, sdpOffer)
	a.want("200 INVITE")
	// A 200 that comes again passes again (RFC 6026 7.2).
	b.respond(m, 200, "b-tag", more, sdpOffer)
	a.want("200 INVITE")

	inDialog := func(method, branch string) string {
		return method + ` sip:bob@192.0.2.2:5060 SIP/2.0
Via: SIP/2.0/UDP ` + a.addr + `;branch=z9hG4bK` + branch + `
Max-Forwards: 70
Route: <sip:` + s.Addr().String() + `;lr>, <sip:mt@` + b.addr + `;lr>
From: <sip:alice@ims.example;user=phone>;tag=a-tag
To: <tel:+15551234>;tag=b-tag
Call-ID: call-1@192.0.2.1
CSeq: 8 ` + method + `
`
	}
	a.send(inDialog("ACK", "ack"))
	m = b.want("ACK")
	equal(t, "Route of the ACK", strings.Join(list(m, ours.HRoute), "|"), "<sip:mt@"+b.addr+";lr>")
	equal(t, "Vias of the ACK", len(list(m, ours.HVia)), 2)
	a.send(inDialog("BYE", "bye"))
	m = b.want("BYE")
	equal(t, "Record-Routes within the dialog", len(list(m, ours.HRecordRoute)), 0)
	b.respond(m, 200, "", "", "")
	a.want("200 BYE")

	got := s.Counts()
	if got.Requests["INVITE"] != 1 || got.Requests["ACK"] != 1 || got.Requests["BYE"] != 1 || got.Messages != 7 || got.Responses != 4 {
		t.Errorf("counts %+v", got)
	}
	q := s.Requests()[0]
	equal(t, "raw", q.Raw, sent.Raw())
	equal(t, "served user", q.ServedUser, "<sip:alice@ims.example>;sescase=orig;regstate=reg")
}

func TestRequestURIsPassUnchanged(t *testing.T) {
	_, a, b := ends(t, proxyConfig())
	for i, uri := range []string{
		"sip:+15551234;npdi;rn=+1555@ims.example:5080;user=phone",
		"sip:001010000000001@[2001:db8::5]:5061;transport=tcp;ob;x=%41",
		"sip:bob:secret@ims.example;maddr=192.0.2.9",
		"sip:ims.example",
		"sip:[2001:db8::5];lr",
		"urn:service:sos.police",
		"tel:911;phone-context=+1",
	} {
		text := strings.Replace(inviteFrom(a, b, fmt.Sprint("uri", i), ""), "tel:+15551234;phone-context=ims.example SIP", uri+" SIP", 1)
		a.send(text)
		m := b.want("INVITE")
		equal(t, "Request-URI", m.RequestURI(), uri)
		b.respond(m, 404, "t", "", "")
		b.want("ACK")
		a.want("404 INVITE")
		a.send(ackTo(a, fmt.Sprint("uri", i)))
	}
}

// ackTo is the ACK to a refusal of an INVITE of inviteFrom.
func ackTo(a *peer, branch string) string {
	return `ACK tel:+15551234;phone-context=ims.example SIP/2.0
Via: SIP/2.0/UDP ` + a.addr + `;branch=z9hG4bK` + branch + `;x="a;b"
Max-Forwards: 70
Route: <sip:` + a.as.Addr().String() + `;lr>
From: <sip:alice@ims.example;user=phone>;tag=a-tag
To: <tel:+15551234;phone-context=ims.example>;tag=t
Call-ID: call-` + branch + `@192.0.2.1
CSeq: 7 ACK
`
}

func TestTheACKToARefusalStaysOnItsHop(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			_, a, b := ends(t, proxyConfig())
			if proto == "tcp" {
				a.dial()
			}
			a.send(inviteFrom(a, b, "1", ""))
			m := b.want("INVITE")
			b.respond(m, 486, "t", "", "")
			ack := b.want("ACK")
			a.want("486 INVITE")
			vias := list(ack, ours.HVia)
			if len(vias) != 1 || vias[0] != list(m, ours.HVia)[0] {
				t.Errorf("Vias of the ACK %q, want the first of the INVITE alone (RFC 3261 17.1.1.3)", vias)
			}
			equal(t, "Route of the ACK", strings.Join(list(ack, ours.HRoute), "|"), strings.Join(list(m, ours.HRoute), "|"))
			equal(t, "From of the ACK", ack.FromTag(), "a-tag")
			equal(t, "To of the ACK", ack.ToTag(), "t")
			// The refusal comes again: so does the ACK, at once.
			b.respond(m, 486, "t", "", "")
			b.want("ACK")
			a.send(ackTo(a, "1"))
			// What comes first behind it shows that the ACK was not sent on.
			a.send(strings.Replace(inviteFrom(a, b, "2", ""), "call-1", "call-2", 1))
			b.want("INVITE")
		})
	}
}

func cancelText(a *peer, branch string) string {
	return strings.NewReplacer("ACK tel", "CANCEL tel", "7 ACK", "7 CANCEL", ";tag=t\n", "\n").Replace(ackTo(a, branch)) +
		"Reason: SIP;cause=200;text=\"Call completed elsewhere\"\n"
}

func TestACancelFollowsItsINVITE(t *testing.T) {
	t.Run("refused by the called side", func(t *testing.T) {
		_, a, b := ends(t, proxyConfig())
		a.send(inviteFrom(a, b, "1", ""))
		m := b.want("INVITE")
		// No CANCEL goes before a provisional answer came (RFC 3261 9.1).
		a.send(cancelText(a, "1"))
		a.want("200 CANCEL")
		b.respond(m, 180, "t", "", "")
		a.want("180 INVITE")
		c := b.want("CANCEL")
		equal(t, "Via", strings.Join(list(c, ours.HVia), "|"), list(m, ours.HVia)[0])
		equal(t, "Reason", c.GetName("Reason"), `SIP;cause=200;text="Call completed elsewhere"`)
		equal(t, "Request-URI", c.RequestURI(), m.RequestURI())
		b.respond(c, 200, "c", "", "")
		a.quiet(50 * time.Millisecond) // the called side says what becomes of the INVITE
		b.respond(m, 487, "t", "", "")
		equal(t, "To tag of the 487", a.want("487 INVITE").ToTag(), "t")
		b.want("ACK")
	})
	t.Run("too late", func(t *testing.T) {
		_, a, b := ends(t, proxyConfig())
		a.send(inviteFrom(a, b, "1", ""))
		m := b.want("INVITE")
		b.respond(m, 180, "t", "", "")
		a.want("180 INVITE")
		a.send(cancelText(a, "1"))
		a.want("200 CANCEL")
		b.want("CANCEL")
		b.respond(m, 200, "t", "Contact: <sip:bob@192.0.2.2>", "")
		a.want("200 INVITE")
	})
	t.Run("of nothing", func(t *testing.T) {
		_, a, _ := ends(t, proxyConfig())
		a.send(cancelText(a, "none"))
		a.want("481 CANCEL")
	})
}

func TestAnswersKeepTheirOrder(t *testing.T) {
	_, a, b := ends(t, proxyConfig())
	for i := range 100 {
		a.send(inviteFrom(a, b, fmt.Sprint(i), ""))
		m := b.want("INVITE")
		for _, code := range []int{180, 183, 200} {
			b.respond(m, code, "t", "Contact: <sip:bob@192.0.2.2>", "")
		}
		a.want("180 INVITE")
		a.want("183 INVITE")
		a.want("200 INVITE")
	}
}

func TestWhatAProxyMustNotSendOn(t *testing.T) {
	_, a, b := ends(t, proxyConfig())
	text := inviteFrom(a, b, "1", "")
	for _, tt := range []struct {
		name, old, new, want string
		header               string
	}{
		{"no hop is left", "Max-Forwards: 68", "Max-Forwards: 0", "483 INVITE", ""},
		{"an extension for proxies", "CSeq: 7", "Proxy-Require: sec-agree\nCSeq: 7", "420 INVITE", "sec-agree"},
		{"a loop", b.addr, a.as.Addr().String(), "500 INVITE", ""},
		{"a transport it has not", ";lr;a=;b>", ";lr;transport=sctp>", "500 INVITE", ""},
		{"no From", "f: ", "X-F: ", "400 INVITE", ""},
		{"a CSeq of another method", "7 INVITE", "7 BYE", "400 BYE", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := strings.Replace(text, tt.old, tt.new, 1)
			if q == text {
				t.Fatal("the case changes nothing")
			}
			tag := strings.ReplaceAll(tt.name, " ", "-")
			q = strings.ReplaceAll(strings.ReplaceAll(q, "z9hG4bK1;", "z9hG4bK"+tag+";"), "call-1@", "call-"+tag+"@")
			a.send(q)
			m := a.want(tt.want)
			equal(t, "Unsupported", m.GetName("Unsupported"), tt.header)
			a.send(strings.Replace(ackTo(a, tag), "tag=t\n", "tag="+m.ToTag()+"\n", 1))
		})
	}
	b.quiet(20 * time.Millisecond)
}

func TestALongRequestGoesByTCP(t *testing.T) {
	long := "X-Long: " + strings.Repeat("x", 1200) + "\n"
	t.Run("unless the next hop says otherwise", func(t *testing.T) {
		_, a, b := ends(t, proxyConfig())
		a.send(strings.Replace(inviteFrom(a, b, "1", long), ";lr;a=;b>", ";lr;transport=udp>", 1))
		b.want("INVITE")
	})
	t.Run("RFC 3261 18.1.1", func(t *testing.T) {
		s, a, b := ends(t, proxyConfig())
		a.send(inviteFrom(a, b, "1", long))
		m := b.accept().want("INVITE")
		equal(t, "Via", strings.HasPrefix(list(m, ours.HVia)[0], "SIP/2.0/TCP "+s.Addr().String()), true)
		b.respond(m, 200, "t", "Contact: <sip:bob@192.0.2.2>\n"+strings.TrimSpace(long), sdpOffer)
		a.want("200 INVITE")
	})
	t.Run("or there is none", func(t *testing.T) {
		_, a, b := ends(t, proxyConfig())
		b.tcp.Close()
		a.send(inviteFrom(a, b, "1", long))
		m := b.want("INVITE")
		equal(t, "Via", strings.HasPrefix(list(m, ours.HVia)[0], "SIP/2.0/UDP "), true)
	})
	t.Run("and nobody is there", func(t *testing.T) {
		_, a, b := ends(t, proxyConfig())
		b.tcp.Close()
		a.send(strings.Replace(inviteFrom(a, b, "1", ""), ";lr;a=;b>", ";lr;transport=tcp>", 1))
		a.want("500 INVITE")
	})
}

func TestAnswersGoWhereTheViaSays(t *testing.T) {
	s, a, b := ends(t, proxyConfig())
	// From another port than the Via's, without rport: to the Via's (RFC 3261 18.2.2).
	q := strings.Replace(inviteFrom(a, b, "1", ""), "127.0.0.1", "phone.invalid", 1)
	if !strings.Contains(q, "phone.invalid:") {
		t.Fatal("the Via was not changed")
	}
	other := newPeer(t, s)
	other.send(q)
	m := b.want("INVITE")
	equal(t, "received", strings.HasSuffix(list(m, ours.HVia)[1], ";received=127.0.0.1"), true)
	b.respond(m, 180, "t", "", "")
	a.want("180 INVITE")
	// With rport: to where it came from (RFC 3581 4).
	other.send(strings.Replace(inviteFrom(a, b, "2", ""), `;x="a;b"`, ";rport", 1))
	m = b.want("INVITE")
	_, port, _ := strings.Cut(other.addr, ":")
	equal(t, "rport", strings.Contains(list(m, ours.HVia)[1], ";rport="+port+";received=127.0.0.1"), true)
	b.respond(m, 180, "t", "", "")
	other.want("180 INVITE")
}

func TestTheServerIsItsNamesToo(t *testing.T) {
	cfg := proxyConfig()
	cfg.Hosts = []string{"as.ims.example", "as2.ims.example:5080"}
	s, err := New(cfg, node.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for uri, want := range map[string]bool{
		s.URI(): true, s.URI() + ";lr": true, "sip:as.ims.example": true, "sip:x@AS.ims.example:5099;lr": true,
		"sip:as2.ims.example:5080": true, "sip:as2.ims.example": false, "sip:127.0.0.1:1": false, "tel:+1": false, "sip:other": false,
	} {
		if u, ok := addrURI("<" + uri + ">"); !ok || s.mine(u) != want {
			t.Errorf("%s is mine: %v, want %v", uri, !want, want)
		}
	}
}
