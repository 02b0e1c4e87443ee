package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/ue"
)

// newPhone switches on the phone of subscriber i of DemoSubscribers.
func newPhone(t *testing.T, b *bench, i int, adjust func(*ue.Config)) *ue.Phone {
	t.Helper()
	return newPhoneOf(t, i, func(cfg *ue.Config) {
		cfg.PCSCF, cfg.Trace = b.P.Gm(), trace.Node{Stream: b.cfg.Stream}
		if adjust != nil {
			adjust(cfg)
		}
	})
}

// newPhoneOf is newPhone for a core that is not this package's.
func newPhoneOf(t *testing.T, i int, adjust func(*ue.Config)) *ue.Phone {
	t.Helper()
	sub := demo()[i]
	keys := [][2]string{{aliceK, aliceOPc}, {bobK, bobOPc}}[i]
	cfg := ue.Config{
		Name: []string{"alice", "bob"}[i], Local: Loopback, Domain: DefaultDomain, IMPI: sub.IMPI, IMPU: sub.IMPUs[0],
		SecAgree: true,
	}
	for _, k := range []struct {
		to  *aka.Secret
		hex string
	}{{&cfg.K, keys[0]}, {&cfg.OPc, keys[1]}} {
		var err error
		if *k.to, err = aka.ParseSecret(k.hex); err != nil {
			t.Fatal(err)
		}
	}
	adjust(&cfg)
	p, err := ue.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// within runs f with a deadline and returns how long it took.
func within(t *testing.T, d time.Duration, f func(context.Context) error) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	began := time.Now()
	err := f(ctx)
	return time.Since(began), err
}

func register(p *ue.Phone) func(context.Context) error {
	return func(ctx context.Context) error { _, err := p.Register(ctx); return err }
}

func call(p *ue.Phone, to string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := p.Call(ctx, to, ue.CallOptions{})
		if err != nil {
			return err
		}
		return c.Hangup(ctx)
	}
}

// mustWork fails the test if f does not work within 10 s.
func mustWork(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	if _, err := within(t, 10*time.Second, f); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// mustFail wants a final answer with one of these statuses, soon enough for a
// person who waits: within 5 s.
func mustFail(t *testing.T, what string, f func(context.Context) error, statuses ...int) *ue.Error {
	t.Helper()
	took, err := within(t, 10*time.Second, f)
	var e *ue.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: %v", what, err)
	}
	for _, s := range statuses {
		if e.Status == s {
			if took > 5*time.Second {
				t.Errorf("%s: the final answer took %v", what, took)
			}
			return e
		}
	}
	t.Fatalf("%s: want one of %v, got: %v", what, statuses, err)
	return nil
}

func bob() string { return demo()[1].IMPUs[0] }

// TestHSSIsGoneDuringARegistration: between the challenge and its answer.
func TestHSSIsGoneDuringARegistration(t *testing.T) {
	b := startBench(t, demo(), nil)
	p := newSIMPhone(t, b, 0)
	n := p.nonce(p.register(p.initial(), 600000))
	r, err := p.usim.Authenticate(n.RAND, n.AUTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.StopOne(NameHSS); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b.refused(p.register(p.answer(n, r.RES), 600000), 480, "The HSS could not be asked about")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the phone waited %v", took)
	}
	b.comeBack(NameHSS)
	p.callID = sip.NewCallID()
	p.sim(aliceK, aliceOPc, 0) // this HSS begins its sequence numbers anew
	p.registerFully()
}

// TestHSSRestartsAndForgetsItsSequenceNumbers: without --state they begin anew. The
// phones' SIMs resynchronise it by themselves, and all works.
func TestHSSRestartsAndForgetsItsSequenceNumbers(t *testing.T) {
	b := startBench(t, demo(), nil)
	alice, bobPhone := newPhone(t, b, 0, nil), newPhone(t, b, 1, nil)
	mustWork(t, "alice registers", register(alice))
	mustWork(t, "bob registers", register(bobPhone))
	if err := b.StopOne(NameHSS); err != nil {
		t.Fatal(err)
	}
	mustFail(t, "registering while it is away", register(alice), 480, 504)
	b.comeBack(NameHSS)
	mustWork(t, "alice registers again", register(alice))
	mustWork(t, "bob registers again", register(bobPhone))
	if r := alice.Registration(); !r.Resynchronised {
		t.Errorf("alice's SIM took a sequence number that it had seen before: %+v", r)
	}
	mustWork(t, "a call after", call(alice, bob()))
}

// comeBack starts a service again and waits until everything is ready.
func (b *bench) comeBack(name string) {
	b.t.Helper()
	if err := b.Start(name); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 15*time.Second)
	defer cancel()
	if err := b.WaitReady(ctx); err != nil {
		b.t.Fatal(err)
	}
}

// TestSCSCFRestartsBetweenRegistrationAndCall: what it held in memory is gone.
// The call gets a 504 that makes the phone register anew, and then works.
func TestSCSCFRestartsBetweenRegistrationAndCall(t *testing.T) {
	conformance.Partly(t, "RS-04")
	for _, tt := range []struct {
		name string
		back bool // before the call
	}{{"while it is away", false}, {"after it has come back", true}} {
		t.Run(tt.name, func(t *testing.T) {
			b := startBench(t, demo(), nil)
			alice, bobPhone := newPhone(t, b, 0, nil), newPhone(t, b, 1, nil)
			mustWork(t, "alice registers", register(alice))
			mustWork(t, "bob registers", register(bobPhone))
			mustWork(t, "a call before", call(alice, bob()))
			if err := b.StopOne(NameS); err != nil {
				t.Fatal(err)
			}
			if tt.back {
				b.comeBack(NameS)
			}
			e := mustFail(t, "the call", call(alice, bob()), 504)
			b.told(e)
			if !tt.back {
				b.comeBack(NameS)
			}
			mustWork(t, "alice registers anew", register(alice))
			mustWork(t, "bob registers anew", register(bobPhone))
			mustWork(t, "a call after", call(alice, bob()))
		})
	}
}

// TestSCSCFOfTheCalledUserRestarts: the caller has registered anew, the called phone
// does not know yet that it must. The call ends soon, with the cause; when the phone
// refreshes its registration, it can be called again. Restoration from what the HSS
// keeps would spare that wait (TS 23.380 4.4).
func TestSCSCFOfTheCalledUserRestarts(t *testing.T) {
	conformance.Partly(t, "RS-03")
	b := startBench(t, demo(), nil)
	alice, bobPhone := newPhone(t, b, 0, nil), newPhone(t, b, 1, nil)
	mustWork(t, "alice registers", register(alice))
	mustWork(t, "bob registers", register(bobPhone))
	if err := b.StopOne(NameS); err != nil {
		t.Fatal(err)
	}
	b.comeBack(NameS)
	mustWork(t, "alice registers anew", register(alice))
	for name, f := range map[string]func(context.Context) error{
		"a call": call(alice, bob()), "a message": func(ctx context.Context) error { return alice.Message(ctx, bob(), "hello") },
	} {
		e := mustFail(t, name, f, 480)
		b.told(e)
		if f := b.failure("is not registered, and none of its services"); !strings.Contains(f.Next, "has been restarted since it registered") {
			t.Errorf("%s: what comes next is %q", name, f.Next)
		}
	}
	if len(bobPhone.Calls()) > 0 || len(bobPhone.Messages()) > 0 {
		t.Error("bob's phone was reached all the same")
	}
	mustWork(t, "bob's phone refreshes its registration", register(bobPhone))
	mustWork(t, "a call after", call(alice, bob()))
}

// TestICSCFRestartsUnderTraffic: messages are under way while it goes and comes
// back. Each has a final answer soon, and afterwards everything works.
func TestICSCFRestartsUnderTraffic(t *testing.T) {
	b := startBench(t, demo(), nil)
	alice, bobPhone := newPhone(t, b, 0, nil), newPhone(t, b, 1, nil)
	mustWork(t, "alice registers", register(alice))
	mustWork(t, "bob registers", register(bobPhone))
	for range 3 {
		const messages = 4
		type answer struct {
			took time.Duration
			err  error
		}
		answers := make(chan answer, messages)
		send := func() {
			took, err := within(t, 10*time.Second, func(ctx context.Context) error { return alice.Message(ctx, bob(), "hello") })
			answers <- answer{took, err}
		}
		go send()
		if err := b.StopOne(NameI); err != nil {
			t.Error(err)
		}
		go send()
		go send()
		b.comeBack(NameI)
		go send()
		for range messages {
			a := <-answers
			var e *ue.Error
			if a.err != nil && (!errors.As(a.err, &e) || e.Status == 0) {
				t.Errorf("a message had no final answer: %v", a.err)
			}
			if a.took > 5*time.Second {
				t.Errorf("an answer took %v: %v", a.took, a.err)
			}
		}
		for len(bobPhone.Messages()) > 0 {
			<-bobPhone.Messages()
		}
	}
	mustWork(t, "a call after", call(alice, bob()))
	mustWork(t, "alice registers again", register(alice))
	if err := b.StopOne(NameI); err != nil {
		t.Error(err)
	}
	mustFail(t, "a registration while it is away", register(bobPhone), 504)
	b.comeBack(NameI)
	mustWork(t, "bob registers again", register(bobPhone))
}
