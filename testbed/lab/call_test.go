package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/as"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/ue"
	"go.uber.org/zap"
)

// two starts a core with two registered phones.
func two(t *testing.T, subscribers []hss.Subscriber, proto sip.Proto) (*bench, *ue.Phone, *ue.Phone) {
	t.Helper()
	b := startBench(t, subscribers, nil)
	tcp := func(c *ue.Config) { c.Transport = proto }
	alice, bob := newPhone(t, b, 0, tcp), newPhone(t, b, 1, tcp)
	mustWork(t, "alice registers", register(alice))
	mustWork(t, "bob registers", register(bob))
	return b, alice, bob
}

// TestCallsThatAreNotAnswered: both phones, the log and the ladder say why.
func TestCallsThatAreNotAnswered(t *testing.T) {
	conformance.Partly(t, "TR-14", "TR-15", "UE-10")
	alicePhone, bobPhone := "001010000000001@"+DefaultDomain, "001010000000002@"+DefaultDomain
	gaveUp := "The caller " + alicePhone + " hung up after "
	for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
		tests := []struct {
			name   string
			answer ue.Answer
			opt    ue.CallOptions
			status int
			caller string // what the calling phone says
			called string // what the called phone says, in part
			words  string // of log and trace
			next   string
		}{
			{"busy", ue.Answer{Action: ue.Busy}, ue.CallOptions{}, 486, "answered 486 Busy Here", "we rejected it",
				"The phone of " + bobPhone + " answered INVITE with 486 Busy Here.", "the user is on another call"},
			{"busy after it has rung", ue.Answer{Action: ue.Busy, RingFor: 50 * time.Millisecond}, ue.CallOptions{}, 486, "answered 486 Busy Here", "we rejected it",
				"The phone of " + bobPhone + " answered INVITE with 486 Busy Here.", "the user is on another call"},
			{"declined", ue.Answer{Action: ue.Decline, RingFor: 50 * time.Millisecond}, ue.CallOptions{}, 603, "answered 603 Decline", "we rejected it",
				"The phone of " + bobPhone + " answered INVITE with 603 Decline.", "the user has declined"},
			{"the caller gives up while it rings", ue.Answer{Action: ue.NoAnswer}, ue.CallOptions{CancelAfter: 50 * time.Millisecond}, 487, "we cancelled it", "the caller gave up",
				gaveUp, "nobody took the call"},
			{"the caller gives up, without preconditions", ue.Answer{Action: ue.NoAnswer}, ue.CallOptions{CancelAfter: 50 * time.Millisecond, No100rel: true}, 487, "we cancelled it", "the caller gave up",
				gaveUp, "nobody took the call"},
		}
		for _, tt := range tests {
			t.Run(proto.String()+" "+tt.name, func(t *testing.T) {
				b, alice, bobPhone := two(t, demo(), proto)
				bobPhone.SetAnswer(tt.answer)
				e := mustFail(t, tt.name, func(ctx context.Context) error {
					_, err := alice.Call(ctx, bob(), tt.opt)
					return err
				}, tt.status)
				if !strings.Contains(e.Error(), tt.caller) {
					t.Errorf("alice's phone says %q, want %q", e, tt.caller)
				}
				c := <-bobPhone.Calls()
				select {
				case <-c.Done():
					if got := c.End().Cause; !strings.Contains(got, tt.called) {
						t.Errorf("bob's phone says %q, want %q", got, tt.called)
					}
				case <-time.After(5 * time.Second):
					t.Error("the called phone still rings")
				}
				told := b.explained(tt.words)
				if told.Node != "pcscf" || !strings.Contains(told.Next, tt.next) {
					t.Errorf("%s says %q, and next %q", told.Node, told.Text, told.Next)
				}
				bobPhone.SetAnswer(ue.Answer{})
				mustWork(t, "a call after that", call(alice, bob()))
			})
		}
	}
}

// TestNobodyAnswers: the caller's patience ends, its CANCEL reaches the phone that
// rings, and both know. So does who gives up before it rings.
func TestNobodyAnswers(t *testing.T) {
	conformance.Partly(t, "TR-15")
	for _, tt := range []struct {
		action ue.Action
		words  string
	}{{ue.NoAnswer, "before anybody had answered: the called phone was ringing"}, {ue.Silent, "before anybody had answered: no phone had rung yet"}} {
		b, alice, bobPhone := two(t, demo(), sip.UDP)
		bobPhone.SetAnswer(ue.Answer{Action: tt.action})
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		ended := make(chan error, 1)
		go func() {
			_, err := alice.Call(ctx, bob(), ue.CallOptions{})
			ended <- err
		}()
		c := <-bobPhone.Calls()
		if tt.action == ue.NoAnswer {
			b.event(func(e trace.Event) bool {
				return e.Kind == trace.SIP && e.Dir == trace.In && strings.HasSuffix(e.Node, "alice") && strings.HasPrefix(string(e.Raw), "SIP/2.0 180 ")
			}, "a 180 at alice")
		}
		giveUp()
		select {
		case <-c.Done():
		case <-time.After(5 * time.Second):
			t.Error("the called phone still rings")
		}
		if got := c.End().Cause; got != "the caller gave up" {
			t.Errorf("bob's phone says %q", got)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("alice's phone says %v", err)
		}
		b.explained(tt.words)
	}
}

func TestDialledNumbers(t *testing.T) {
	subs := demo()
	subs[1].IMPUs = append(subs[1].IMPUs, "tel:4711")
	b, alice, _ := two(t, subs, sip.UDP)
	for _, number := range []struct{ name, dialled string }{
		{"global tel", "tel:+15550000002"},
		{"global tel with separators", "tel:+1-555-000-0002"},
		{"sip with user=phone", "sip:+15550000002@" + DefaultDomain + ";user=phone"},
		{"local number, phone-context of the home domain", "tel:4711;phone-context=" + DefaultDomain},
		{"local number in sip", "sip:4711;phone-context=" + DefaultDomain + "@" + DefaultDomain + ";user=phone"},
		{"a phone that was given no domain", "sip:4711;phone-context=4711@4711;user=phone"},
	} {
		t.Run(number.name, func(t *testing.T) { mustWork(t, number.dialled, call(alice, number.dialled)) })
	}
	for _, number := range []struct{ name, dialled string }{
		{"unknown global number", "tel:+15559999999"},
		{"unknown local number", "tel:4712;phone-context=" + DefaultDomain},
		{"unknown user", "sip:nobody@" + DefaultDomain},
		{"number of a foreign context", "tel:4711;phone-context=example.org"},
	} {
		t.Run(number.name, func(t *testing.T) {
			e := mustFail(t, number.dialled, call(alice, number.dialled), 404)
			b.told(e)
		})
	}
	if n := b.HSS.Counts()["LIR"]; n != 9 {
		t.Errorf("%d LIRs for 9 targets of the home domain", n)
	}
}

// server starts an application server of a mode for a test.
func server(t *testing.T, mode as.Mode, adjust func(*as.Config)) *as.Server {
	t.Helper()
	cfg := as.DefaultConfig()
	cfg.Mode = mode
	if adjust != nil {
		adjust(&cfg)
	}
	s, err := as.New(cfg, node.Deps{Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestApplicationServers: a call visits an application server of each kind, on
// the caller's side and on the called side, by default handling both ways.
func TestApplicationServers(t *testing.T) {
	conformance.Partly(t, "IF-18", "IF-20", "IF-21", "ST-11")
	tests := []struct {
		name     string
		mode     as.Mode
		handling profile.DefaultHandling
		adjust   func(*as.Config)
		side     profile.SessionCase
		status   int    // of the call; 200: it works
		words    string // of the log and the trace; "": nothing fails
		warned   bool   // the caller is told so
	}{
		{"a proxy of the caller", as.Proxy, profile.SessionContinued, nil, profile.OriginatingRegistered, 200, "", false},
		{"a proxy of the called user", as.Proxy, profile.SessionTerminated, nil, profile.TerminatingRegistered, 200, "", false},
		{"a B2BUA of the caller", as.B2BUA, profile.SessionTerminated, nil, profile.OriginatingRegistered, 200, "", false},
		{"a B2BUA of the called user", as.B2BUA, profile.SessionTerminated, nil, profile.TerminatingRegistered, 200, "", false},
		{"one that takes the call itself", as.Answer, profile.SessionTerminated, nil, profile.TerminatingRegistered, 200, "", false},
		{"one that redirects", as.Redirect, profile.SessionTerminated, func(c *as.Config) { c.Target = "sip:other@example.org" }, profile.TerminatingRegistered, 302, "answered INVITE with 302 Moved Temporarily: that is its decision for " + bob(), false},
		{"one that refuses", as.Reject, profile.SessionContinued, func(c *as.Config) { c.Status = 403 }, profile.OriginatingRegistered, 403, "answered INVITE with 403 Forbidden: that is its decision for sip:alice@", false},
		{"one that fails: the call goes on", as.Reject, profile.SessionContinued, func(c *as.Config) { c.Status = 500 }, profile.OriginatingRegistered, 200, "answered 500; the session goes on without it (SESSION_CONTINUED)", false},
		{"one that fails: the call ends", as.Reject, profile.SessionTerminated, func(c *as.Config) { c.Status = 500 }, profile.OriginatingRegistered, 500, "answered 500, and without it the session ends (SESSION_TERMINATED)", true},
		{"a silent one: the call goes on", as.Silent, profile.SessionContinued, nil, profile.OriginatingRegistered, 200, "nothing heard in 2s; the session goes on without it (SESSION_CONTINUED)", false},
		{"a silent one: the call ends", as.Silent, profile.SessionTerminated, nil, profile.OriginatingRegistered, 408, "nothing heard in 4s, and without it the session ends (SESSION_TERMINATED)", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := server(t, tt.mode, tt.adjust)
			subs := demo()
			whose := 0
			if tt.side == profile.TerminatingRegistered {
				whose = 1
			}
			subs[whose].IFC = []string{as.XML(as.Criterion(s.URI(), 1, "INVITE", tt.side, tt.handling))}
			b, alice, bobPhone := two(t, subs, sip.UDP)
			_, err := within(t, 15*time.Second, call(alice, bob()))
			var e *ue.Error
			switch {
			case tt.status == 200 && err != nil:
				t.Errorf("the call: %v", err)
			case tt.status != 200 && (!errors.As(err, &e) || e.Status != tt.status):
				t.Errorf("want %d, got: %v", tt.status, err)
			}
			if tt.words != "" {
				told := b.explained(tt.words)
				if told.Node != "scscf" || !strings.Contains(told.Text, s.URI()) {
					t.Errorf("%s says %q", told.Node, told.Text)
				}
				if tt.warned && (e == nil || !strings.Contains(e.Warning, told.Text)) {
					t.Errorf("the caller is told %v, want %q", e, told.Text)
				}
			}
			seen := s.Requests()
			if len(seen) == 0 {
				t.Fatal("the call did not visit the server")
			}
			if want := "sip:" + []string{"alice", "bob"}[whose] + "@"; !strings.Contains(seen[0].ServedUser, want) {
				t.Errorf("P-Served-User is %q", seen[0].ServedUser)
			}
			reached := len(bobPhone.Calls()) > 0
			if want := tt.status == 200 && tt.mode != as.Answer; reached != want {
				t.Errorf("the call reached bob: %v, want %v", reached, want)
			}
		})
	}
}

// TestMessageTooBigForADatagram goes over TCP where the phone allows it.
func TestMessageTooBigForADatagram(t *testing.T) {
	for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			_, alice, bobPhone := two(t, demo(), proto)
			text := strings.Repeat("all work and no play ", 150)
			mustWork(t, "a long message", func(ctx context.Context) error { return alice.Message(ctx, bob(), text) })
			select {
			case m := <-bobPhone.Messages():
				if m.Body != text {
					t.Errorf("%d octets came of %d", len(m.Body), len(text))
				}
			case <-time.After(5 * time.Second):
				t.Error("nothing came")
			}
		})
	}
}

// TestWhoHangsUp: whoever hangs up, both know.
func TestWhoHangsUp(t *testing.T) {
	_, alice, bobPhone := two(t, demo(), sip.UDP)
	bobPhone.SetAnswer(ue.Answer{HangupAfter: 100 * time.Millisecond})
	var c *ue.Call
	mustWork(t, "a call", func(ctx context.Context) (err error) { c, err = alice.Call(ctx, bob(), ue.CallOptions{}); return err })
	select {
	case <-c.Done():
		if got := c.End().Cause; got != "the peer hung up" {
			t.Errorf("alice hears: %s", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("bob hung up, and alice does not know")
	}
}
