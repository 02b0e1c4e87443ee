package ue

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/sdp/v3"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// wire keeps what the phone at an address sends and gets.
type wire struct {
	mu   sync.Mutex
	text []string
	msgs []*sip.Message
}

// watch begins to keep the messages of the phone at 192.0.2.1, without 100s.
func (w *world) watch(phone netip.Addr) *wire {
	l := &wire{}
	w.mem.SetHook(func(p memnet.Packet) memnet.Verdict {
		m, err := sip.Parse(string(p.Data))
		dir := ">"
		if p.To.Addr() == phone {
			dir = "<"
		} else if p.From.Addr() != phone {
			return memnet.Pass
		}
		if err != nil || m.Status() == 100 {
			return memnet.Pass
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.text = append(l.text, dir+" "+brief(m))
		l.msgs = append(l.msgs, m)
		return memnet.Pass
	})
	return l
}

func brief(m *sip.Message) string {
	s := m.Method()
	if !m.IsRequest() {
		s = fmt.Sprintf("%d %s", m.Status(), s)
	}
	if m.Has(sip.HRSeq) {
		s += " rel"
	}
	if m.Body() != "" {
		s += " " + qos(m.Body())
	}
	return s
}

// qos is the short form of a session description: its direction and current
// reservations.
func qos(body string) string {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(body); err != nil || len(s.MediaDescriptions) == 0 {
		return "[" + body + "]"
	}
	var parts []string
	for _, a := range s.MediaDescriptions[0].Attributes {
		switch f := strings.Fields(a.Value); {
		case a.Key == "curr":
			parts = append(parts, f[1]+"="+f[2])
		case a.Value == "":
			parts = append(parts, a.Key)
		}
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func (l *wire) expect(t *testing.T, what, want string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for s := range strings.SplitSeq(strings.TrimSpace(want), "\n") {
		lines = append(lines, strings.TrimSpace(s))
	}
	if got := strings.Join(l.text, "\n"); got != strings.Join(lines, "\n") {
		t.Fatalf("%s: on the wire:\n%s\nwant:\n%s", what, got, strings.Join(lines, "\n"))
	}
	l.text = nil
}

// find returns the first message kept that begins so.
func (l *wire) find(t *testing.T, start string) *sip.Message {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.msgs {
		if strings.HasPrefix(m.Raw(), start) {
			return m
		}
	}
	t.Fatalf("no %s was sent", start)
	return nil
}

// call has Alice call Bob and returns both ends.
func (w *world) call(alice, bob *Phone, opt CallOptions) (a, b *Call) {
	w.t.Helper()
	a, err := alice.Call(w.ctx(), "sip:bob@"+domain, opt)
	if err != nil {
		w.t.Fatal(err)
	}
	b = <-bob.Calls()
	if _, err := wait(w.ctx(), bob, b.Answered()); err != nil {
		w.t.Fatalf("Bob waits for the ACK: %v", err)
	}
	return a, b
}

// A call as VoLTE phones make it: preconditions, PRACK, UPDATE, hold, resume, BYE.
func TestCall(t *testing.T) {
	conformance.Shows(t, "UE-09", "UE-10")
	bubble(t, func(t *testing.T, w *world) {
		ac := aliceConfig()
		ac.SecAgree = true // without the ESP, which this network does not miss
		alice, bob := w.registeredPhone(ac), w.registeredPhone(bobConfig())
		bob.SetAnswer(Answer{RingFor: 2 * time.Second})
		l := w.watch(alice.Addr().Addr())
		a, b := w.call(alice, bob, CallOptions{})
		l.expect(t, "setting up", `
			> INVITE [local=none remote=none sendrecv]
			< 183 INVITE rel [local=none remote=none sendrecv]
			> PRACK
			< 200 PRACK
			> UPDATE [local=sendrecv remote=none sendrecv]
			< 200 UPDATE [local=sendrecv remote=sendrecv sendrecv]
			< 180 INVITE rel
			> PRACK
			< 200 PRACK
			< 200 INVITE
			> ACK`)
		inv := l.find(t, "INVITE")
		routes := []string{"<sip:192.0.2.100:5060;lr>", "<sip:orig@192.0.2.100:5060;lr>"}
		var got []string
		for v := range inv.Values(sip.HRoute) {
			got = append(got, v)
		}
		if strings.Join(got, " ") != strings.Join(routes, " ") {
			t.Errorf("Route %v, want %v", got, routes)
		}
		for _, c := range []struct {
			id   sip.ID
			want string
		}{
			{sip.HPPreferredIdentity, "<sip:alice@" + domain + ">"},
			{sip.HPAccessNetworkInfo, "3GPP-E-UTRAN-FDD"},
			{sip.HPPreferredService, "urn:urn-7:3gpp-service.ims.icsi.mmtel"},
			{sip.HAcceptContact, "icsi.mmtel"},
			{sip.HSupported, "100rel, precondition"},
			{sip.HContact, "+g.3gpp.icsi-ref"},
			{sip.HSecurityVerify, securityServer},
			{sip.HRequire, "sec-agree"},
			{sip.HProxyRequire, "sec-agree"},
		} {
			if !strings.Contains(inv.Get(c.id), c.want) {
				t.Errorf("%v: %q, want %q in it", c.id, inv.Get(c.id), c.want)
			}
		}
		for _, want := range []string{"b=AS:41", "a=rtpmap:97 AMR-WB/16000/1", "a=rtpmap:98 AMR/8000/1", "telephone-event/16000",
			"a=ptime:20", "a=maxptime:240", "a=des:qos mandatory local sendrecv", "a=des:qos optional remote sendrecv"} {
			if !strings.Contains(inv.Body(), want+"\r\n") {
				t.Errorf("no %s in the offer:\n%s", want, inv.Body())
			}
		}
		if !strings.Contains(l.find(t, "SIP/2.0 183").Body(), "a=conf:qos remote sendrecv") {
			t.Error("the 183 does not ask for confirmation")
		}

		if err := a.Hold(w.ctx()); err != nil {
			t.Fatal(err)
		}
		if held, err := b.OnHold(w.ctx()); !held || err != nil {
			t.Errorf("Bob is not on hold: %v", err)
		}
		if err := a.Resume(w.ctx()); err != nil {
			t.Fatal(err)
		}
		if held, _ := b.OnHold(w.ctx()); held {
			t.Error("Bob is still on hold")
		}
		l.expect(t, "hold and resume", `
			> INVITE [local=sendrecv remote=sendrecv sendonly]
			< 200 INVITE [local=sendrecv remote=sendrecv recvonly]
			> ACK
			> INVITE [local=sendrecv remote=sendrecv sendrecv]
			< 200 INVITE [local=sendrecv remote=sendrecv sendrecv]
			> ACK`)
		if err := b.Hangup(w.ctx()); err != nil {
			t.Error(err)
		}
		<-a.Done()
		l.expect(t, "end", "< BYE\n> 200 BYE")
		if e := a.End(); e.Cause != "the peer hung up" || e.Err != nil {
			t.Errorf("Alice's end %+v", e)
		}
		if e := b.End(); e.Cause != "we hung up" || e.Err != nil {
			t.Errorf("Bob's end %+v", e)
		}
	})
}

// Without preconditions, and without reliable responses.
func TestPlainCalls(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  CallOptions
		want string
	}{
		{"no preconditions", CallOptions{NoPreconditions: true}, `
			> INVITE [sendrecv]
			< 180 INVITE rel
			> PRACK
			< 200 PRACK
			< 200 INVITE [sendrecv]
			> ACK`},
		{"no 100rel", CallOptions{No100rel: true}, `
			> INVITE [sendrecv]
			< 180 INVITE
			< 200 INVITE [sendrecv]
			> ACK`},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				alice, bob := w.registeredPhone(aliceConfig()), w.registeredPhone(bobConfig())
				bob.SetAnswer(Answer{RingFor: time.Second, HangupAfter: 10 * time.Second})
				l := w.watch(alice.Addr().Addr())
				a, _ := w.call(alice, bob, c.opt)
				l.expect(t, "setting up", c.want)
				<-a.Done()
				if e := a.End(); e.Cause != "the peer hung up" {
					t.Errorf("end %+v", e)
				}
			})
		})
	}
}

// What the callee's script makes of a call, and what the caller says of it.
func TestCallsNotAnswered(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer Answer
		opt    CallOptions
		to     string
		status int
		rings  bool
		err    string
	}{
		{"busy", Answer{Action: Busy}, CallOptions{}, "sip:bob@" + domain, 486, false, "answered 486 Busy Here"},
		{"busy after ringing", Answer{Action: Busy, RingFor: time.Second}, CallOptions{}, "sip:bob@" + domain, 486, true, "486"},
		{"declined", Answer{Action: Decline, RingFor: time.Second}, CallOptions{}, "sip:bob@" + domain, 603, true, "answered 603 Decline"},
		{"no answer", Answer{Action: NoAnswer}, CallOptions{CancelAfter: 20 * time.Second}, "sip:bob@" + domain, 487, true, "we cancelled it"},
		{"nobody", Answer{}, CallOptions{}, "sip:nobody@" + domain, 404, false,
			"answered 404 Not Found (nobody is called nobody); check that sip:nobody@" + domain + " is provisioned and registered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				alice, bob := w.registeredPhone(aliceConfig()), w.registeredPhone(bobConfig())
				bob.SetAnswer(c.answer)
				a, err := alice.Dial(c.to, c.opt)
				if err != nil {
					t.Fatal(err)
				}
				<-a.Done()
				select {
				case <-a.Ringing():
					if !c.rings {
						t.Error("it rang")
					}
				default:
					if c.rings {
						t.Error("it did not ring")
					}
				}
				e := a.End()
				if e.Status != c.status || !strings.Contains(e.Err.Error(), c.err) {
					t.Errorf("end %+v, want %d and %q", e, c.status, c.err)
				}
				_, err = alice.Call(w.ctx(), c.to, c.opt)
				var ue *Error
				if !errors.As(err, &ue) || ue.Status != c.status {
					t.Errorf("again: %v", err)
				}
			})
		})
	}
}

// A caller whose context ends cancels; a callee that does not even ring is
// cancelled without a 180.
func TestCallGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.registeredPhone(aliceConfig()), w.registeredPhone(bobConfig())
		bob.SetAnswer(Answer{Action: Silent})
		ctx, cancel := context.WithTimeout(w.ctx(), 5*time.Second)
		defer cancel()
		l := w.watch(alice.Addr().Addr())
		if _, err := alice.Call(ctx, "sip:bob@"+domain, CallOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		b := <-bob.Calls()
		<-b.Done()
		if e := b.End(); e.Cause != "the caller gave up" {
			t.Errorf("Bob's end %+v", e)
		}
		time.Sleep(time.Second)
		l.expect(t, "giving up", `
			> INVITE [local=none remote=none sendrecv]
			> CANCEL
			< 200 CANCEL
			< 487 INVITE
			> ACK`)
	})
}

// The callee hangs up before it has answered: 480.
func TestCalleeHangsUpWhileRinging(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.registeredPhone(aliceConfig()), w.registeredPhone(bobConfig())
		bob.SetAnswer(Answer{Action: NoAnswer})
		a, err := alice.Dial("bob", CallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		<-a.Ringing()
		if err := (<-bob.Calls()).Hangup(w.ctx()); err != nil {
			t.Error(err)
		}
		<-a.Done()
		if a.End().Status != 480 {
			t.Errorf("end %+v", a.End())
		}
	})
}

func TestOnCallDecides(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		c := bobConfig()
		c.OnCall = func(c *Call) Answer {
			if c.Peer == "sip:alice@"+domain {
				return Answer{Action: Decline}
			}
			return Answer{}
		}
		alice := w.registeredPhone(aliceConfig())
		w.registeredPhone(c)
		_, err := alice.Call(w.ctx(), "bob", CallOptions{})
		var e *Error
		if !errors.As(err, &e) || e.Status != 603 {
			t.Errorf("error %v", err)
		}
	})
}

// An offer that the callee does not understand gets 488 with a Warning.
func TestUnusableOffers(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"no audio", "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\nm=video 9 RTP/AVP 97\r\n", "no audio stream"},
		{"no codec", "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n", "want AMR-WB or AMR"},
		{"no SDP", "hello", "reading the peer's SDP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				alice := w.registeredPhone(aliceConfig())
				w.registeredPhone(bobConfig())
				w.set(func() {
					w.intercept = func(x *proxy.Exchange) bool {
						x.Edits.Body("application/sdp", c.body)
						return false
					}
				})
				_, err := alice.Call(w.ctx(), "bob", CallOptions{})
				var e *Error
				if !errors.As(err, &e) || e.Status != 488 || !strings.Contains(e.Warning, c.want) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestMessage(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.registeredPhone(aliceConfig()), w.registeredPhone(bobConfig())
		if err := alice.Message(w.ctx(), "bob", "grüß dich"); err != nil {
			t.Fatal(err)
		}
		m := <-bob.Messages()
		if m.Body != "grüß dich" || m.From != "sip:alice@"+domain || m.ContentType != "text/plain;charset=UTF-8" {
			t.Errorf("message %+v", m)
		}
		for range maxUnread {
			if err := alice.Message(w.ctx(), "bob", "again"); err != nil {
				t.Fatal(err)
			}
		}
		var e *Error
		if err := alice.Message(w.ctx(), "bob", "too much"); !errors.As(err, &e) || e.Status != 480 {
			t.Errorf("one unread message more than there is room for: %v", err)
		}
	})
}

// A 504 with a body that asks for it makes the phone register from the beginning.
func TestRestoration(t *testing.T) {
	conformance.Shows(t, "UE-08")
	bubble(t, func(t *testing.T, w *world) {
		alice := w.registeredPhone(aliceConfig())
		w.set(func() {
			w.intercept = func(x *proxy.Exchange) bool {
				if x.Req.Method() != "INVITE" {
					return false
				}
				b := x.Response(504, "").Body("application/3gpp-ims+xml",
					`<ims-3gpp version="1"><alternative-service><type>restoration</type><reason/><action>initial-registration</action></alternative-service></ims-3gpp>`)
				x.Send(504, b)
				return true
			}
		})
		if _, err := alice.Call(w.ctx(), "bob", CallOptions{}); err == nil {
			t.Fatal("the call came up")
		}
		time.Sleep(time.Second)
		ms := w.registered()
		if len(ms) != 2 || credentials(t, ms[0]).Nonce != "" {
			t.Errorf("REGISTERs %v", ms)
		}
		// All who ask for the same meanwhile get what the phone has begun, and it goes on
		// when one of them does not wait.
		if _, err := alice.Call(w.ctx(), "bob", CallOptions{}); err == nil {
			t.Fatal("the call came up")
		}
		var askers sync.WaitGroup
		for range 2 {
			askers.Go(func() {
				if _, err := alice.RegisterAnew(w.ctx()); err != nil {
					t.Error(err)
				}
			})
		}
		gone, leave := context.WithCancel(w.ctx())
		leave()
		if _, err := alice.RegisterAnew(gone); err == nil {
			t.Error("who had left has an answer")
		}
		askers.Wait()
		time.Sleep(time.Second)
		if ms := w.registered(); len(ms) != 2 || credentials(t, ms[0]).Nonce != "" {
			t.Errorf("REGISTERs when it is asked to as well: %v", ms)
		}
		if _, err := alice.RegisterAnew(w.ctx()); err != nil {
			t.Error(err)
		}
		if ms := w.registered(); len(ms) != 2 || credentials(t, ms[0]).Nonce != "" {
			t.Errorf("REGISTERs when it is asked to alone: %v", ms)
		}
	})
}

// What a user dials (UE-11).
func TestDialledForms(t *testing.T) {
	conformance.Shows(t, "UE-11")
	for _, c := range []struct {
		dialled string
		form    NumberForm
		want    string
	}{
		{"sip:bob@other.net;user=phone", Tel, "sip:bob@other.net;user=phone"},
		{"tel:+49-123", Tel, "tel:+49-123"},
		{"bob", Tel, "sip:bob@home.net"},
		{"bob@other.net", Tel, "sip:bob@other.net"},
		{"+49 (30) 123-45", Tel, "tel:+493012345"},
		{"+49 30 12345", SIPPhone, "sip:+493012345@home.net;user=phone"},
		{"0612", Tel, "tel:0612;phone-context=home.net"},
		{"0612", SIPPhone, "sip:0612;phone-context=home.net@home.net;user=phone"},
		{"0612", OddContext, "sip:0612;phone-context=0612@0612;user=phone"},
		{"*21#", Tel, "tel:*21#;phone-context=home.net"},
		{"*21#", SIPPhone, "sip:*21%23;phone-context=home.net@home.net;user=phone"},
		{"urn:service:sos", Tel, "urn:service:sos"},
		{"", Tel, ""},
		{"sip:a b@c", Tel, ""},
	} {
		got, err := target(c.dialled, "home.net", c.form)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %q, %v; want %q", c.dialled, got, err, c.want)
		}
	}
}
