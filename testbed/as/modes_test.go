package as

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	ours "github.com/gocscf/gocscf/ims/sip"
)

// modes are configurations in which every mode is complete.
func modes() []Config {
	var list []Config
	for _, m := range Modes() {
		cfg := DefaultConfig()
		cfg.Mode, cfg.Target = m, "tel:+15559999;phone-context=ims.example"
		list = append(list, cfg)
	}
	return list
}

func registerText(p *peer, expires, branch string) string {
	return `REGISTER sip:` + p.as.Addr().String() + ` SIP/2.0
Via: SIP/2.0/UDP ` + p.addr + `;branch=z9hG4bK` + branch + `
Max-Forwards: 70
From: <sip:scscf.ims.example>;tag=s
To: <sip:alice@ims.example>
Call-ID: reg@scscf
CSeq: 1 REGISTER
Contact: <sip:scscf.ims.example:6060>
Expires: ` + expires + `
Content-Type: application/3gpp-ims+xml

<ims-3gpp version="1"><service-info>gold</service-info></ims-3gpp>`
}

func optionsText(p *peer, target string) string {
	return `OPTIONS ` + target + ` SIP/2.0
Via: SIP/2.0/UDP ` + p.addr + `;branch=` + ours.NewBranch() + `
Max-Forwards: 70
From: <sip:probe@ims.example>;tag=s
To: <` + target + `>
Call-ID: ` + ours.NewCallID() + `
CSeq: 1 OPTIONS
`
}

func TestEveryModeTakesThirdPartyREGISTERAndOPTIONS(t *testing.T) {
	for _, cfg := range modes() {
		t.Run(string(cfg.Mode), func(t *testing.T) {
			s := start(t, cfg)
			a := newPeer(t, s)
			a.send(registerText(a, "600", "1"))
			m := a.want("200 REGISTER")
			equal(t, "Contact", m.Get(ours.HContact), "<sip:scscf.ims.example:6060>")
			equal(t, "Expires", m.GetName("Expires"), "600")
			a.send(registerText(a, "600", "1")) // once more: the same answer, and not a second request
			equal(t, "To tag", a.want("200 REGISTER").ToTag(), m.ToTag())
			equal(t, "counted", s.Counts().Requests["REGISTER"], 1)
			g := s.Registrations()["sip:alice@ims.example"]
			g.Time = time.Time{}
			equal(t, "registration", g, Registration{
				IMPU: "sip:alice@ims.example", SCSCF: "sip:scscf.ims.example", Contact: "<sip:scscf.ims.example:6060>", Expires: 600,
				CallID: "reg@scscf", ContentType: "application/3gpp-ims+xml", Body: `<ims-3gpp version="1"><service-info>gold</service-info></ims-3gpp>`,
			})
			a.send(registerText(a, "0", "2"))
			a.want("200 REGISTER")
			equal(t, "registrations after the end", len(s.Registrations()), 0)
			a.send(optionsText(a, s.URI()))
			a.want("200 OPTIONS")
		})
	}
}

func TestWhatAModeAnswersToACall(t *testing.T) {
	want := map[Mode]string{
		Redirect: "302 INVITE", Reject: "403 INVITE", RegisterOnly: "405 INVITE", Answer: "200 INVITE",
		Proxy: "INVITE", B2BUA: "INVITE",
	}
	for _, cfg := range modes() {
		for _, proto := range []string{"udp", "tcp"} {
			t.Run(string(cfg.Mode)+" over "+proto, func(t *testing.T) {
				s := start(t, cfg)
				a, b := newPeer(t, s), newPeer(t, s)
				if proto == "tcp" {
					a.dial()
				}
				a.send(inviteFrom(a, b, "1", ""))
				switch cfg.Mode {
				case Silent:
					// Not even 100, which a transaction of sipgo sends after 200 ms.
					if m := a.read(300 * time.Millisecond); m != nil {
						t.Errorf("silence sounds like %s", m.Raw())
					}
					if q, err := s.Await(context.Background(), "INVITE", 1); err != nil || !strings.HasPrefix(q.Raw, "INVITE ") || q.Proto != proto {
						t.Errorf("the request seen is %+v, %v", q, err)
					}
				case Proxy, B2BUA:
					b.want(want[cfg.Mode])
				default:
					m := a.want(want[cfg.Mode])
					if cfg.Mode == Redirect {
						equal(t, "Contact", m.Get(ours.HContact), "<tel:+15559999;phone-context=ims.example>")
					}
					if m.Status() >= 300 {
						a.send(ackTo(a, "1"))
					}
				}
			})
		}
	}
}

func TestARefusalCarriesItsReason(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Mode, cfg.Status, cfg.Reason, cfg.RegisterStatus = Reject, 603, "Not today", 503
	s := start(t, cfg)
	a := newPeer(t, s)
	a.send(inviteFrom(a, a, "1", ""))
	equal(t, "reason", a.want("603 INVITE").Reason(), "Not today")
	a.send(ackTo(a, "1"))
	a.send(registerText(a, "600", "1"))
	a.want("503 REGISTER")
	equal(t, "registrations", len(s.Registrations()), 0)
}

func TestAThirdPartyREGISTERMayStayWithoutAnswer(t *testing.T) {
	cfg := DefaultConfig()
	cfg.RegisterSilent = true
	s := start(t, cfg)
	a := newPeer(t, s)
	a.send(registerText(a, "600", "1"))
	a.send(optionsText(a, s.URI()))
	a.want("200 OPTIONS") // the REGISTER came before
	equal(t, "counted", s.Counts().Requests["REGISTER"], 1)
}

func TestAnOPTIONSForSomebodyElseIsSentOn(t *testing.T) {
	_, a, b := ends(t, DefaultConfig())
	a.send(optionsText(a, b.uri()))
	b.want("OPTIONS")
}

// answering are an answering server and a call to it.
func answering(t *testing.T, change func(*Config)) (*Server, *peer) {
	cfg := DefaultConfig()
	cfg.Mode = Answer
	if change != nil {
		change(&cfg)
	}
	s := start(t, cfg)
	return s, newPeer(t, s)
}

func TestAnAnsweringServerIsATerminatingUA(t *testing.T) {
	s, a := answering(t, nil)
	a.send(inviteFrom(a, a, "1", ""))
	ok := a.want("200 INVITE")
	equal(t, "Content-Type", ok.GetName("Content-Type"), "application/sdp")
	equal(t, "audio", strings.Contains(ok.Body(), "m=audio 49170 RTP/AVP 0\r\n"), true)
	// The 200 comes again until its ACK does (RFC 3261 13.3.1.4).
	equal(t, "again", a.want("200 INVITE").ToTag(), ok.ToTag())
	alice := asUAC(a, ok)
	alice.request("ACK", "", "")
	a.quiet(1100 * time.Millisecond) // twice the interval that comes next, but for some
	alice.request("UPDATE", "Contact: <"+a.uri()+">\nContent-Type: application/sdp", strings.Replace(sdpOffer, "sendrecv", "sendonly", 1))
	equal(t, "direction", strings.Contains(a.want("200 UPDATE").Body(), "a=recvonly\r\n"), true)
	alice.request("INVITE", "Contact: <"+a.uri()+">", "")
	equal(t, "our offer", strings.Contains(a.want("200 INVITE").Body(), "a=rtpmap:96 AMR/8000\r\n"), true)
	alice.request("ACK", "Content-Type: application/sdp", sdpShort)
	alice.request("INFO", "", "")
	a.want("200 INFO")
	alice.request("BYE", "", "")
	a.want("200 BYE")
	alice.request("BYE", "", "")
	a.want("481 BYE")
	s.mu.Lock()
	defer s.mu.Unlock()
	equal(t, "calls", len(s.calls), 0)
}

func TestAnAnsweringServerTakesMessages(t *testing.T) {
	_, a := answering(t, nil)
	text := strings.NewReplacer("INVITE", "MESSAGE", "application/sdp", "text/plain").Replace(inviteFrom(a, a, "1", ""))
	a.send(text)
	a.want("200 MESSAGE")
	a.send(strings.ReplaceAll(strings.ReplaceAll(text, "MESSAGE", "SUBSCRIBE"), "bK1", "bK2"))
	equal(t, "Allow", a.want("405 SUBSCRIBE").GetName("Allow"), allow)
}

func TestAnAnsweringServerRefusesWhatItCannot(t *testing.T) {
	_, a := answering(t, nil)
	for i, tt := range []struct{ old, new, want, unsupported string }{
		{"CSeq: 7", "Require: precondition, timer, foo\nCSeq: 7", "420 INVITE", "precondition, foo"},
		{"m=audio", "m=video", "488 INVITE", ""},
		{"v=0", "v", "488 INVITE", ""},
	} {
		a.send(strings.Replace(inviteFrom(a, a, fmt.Sprint(i), ""), tt.old, tt.new, 1))
		equal(t, "Unsupported", a.want(tt.want).GetName("Unsupported"), tt.unsupported)
		a.send(ackTo(a, fmt.Sprint(i)))
	}
}

func TestARingingCallCanBeCancelled(t *testing.T) {
	_, a := answering(t, func(c *Config) { c.Ring = time.Hour })
	a.send(inviteFrom(a, a, "1", ""))
	tag := a.want("180 INVITE").ToTag()
	a.send(cancelText(a, "1"))
	a.want("200 CANCEL")
	equal(t, "To tag", a.want("487 INVITE").ToTag(), tag)
	a.send(ackTo(a, "1"))
}

func TestARingingCallIsAnswered(t *testing.T) {
	_, a := answering(t, func(c *Config) { c.Ring = time.Millisecond })
	a.send(inviteFrom(a, a, "1", ""))
	tag := a.want("180 INVITE").ToTag()
	equal(t, "To tag", a.want("200 INVITE").ToTag(), tag)
}

func TestAwaitSaysWhatHasNotCome(t *testing.T) {
	s := start(t, DefaultConfig())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Await(ctx, "PUBLISH", 2); err == nil || !strings.Contains(err.Error(), "2 PUBLISH, 0 have come") {
		t.Errorf("error %v", err)
	}
}

func TestOnlyTheNewestRequestsAreKept(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Keep = 2
	s := start(t, cfg)
	a := newPeer(t, s)
	for range 3 {
		a.send(optionsText(a, s.URI()))
		a.want("200 OPTIONS")
	}
	a.send(registerText(a, "1", "1"))
	a.want("200 REGISTER")
	got := s.Requests()
	if len(got) != 2 || got[0].Method != "OPTIONS" || got[1].Method != "REGISTER" {
		t.Errorf("kept %+v", got)
	}
	equal(t, "counted", s.Counts().Requests["OPTIONS"], 3)
}
