package lab

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/ladder"
)

// refused checks that a response is the refusal wanted, and that the phone (in
// Warning), the log and the trace all say why.
func (b *bench) refused(m *sip.Message, status int, words string) {
	b.t.Helper()
	if m.Status() != status {
		b.t.Fatalf("got, wanted %d:\n%s", status, m.Raw())
	}
	if w := m.Get(sip.HWarning); !strings.Contains(w, words) {
		b.t.Errorf("the phone is told %q, wanted %q", w, words)
	}
	b.explained(words)
}

// explained checks that the log and the trace name the cause of a failure, and the
// ladder the cause and the next step. It returns what the trace says.
func (b *bench) explained(words string) trace.Event {
	b.t.Helper()
	e := b.failure(words)
	if !b.logged(words) {
		b.t.Errorf("no log line says %q", words)
	}
	if e.Next == "" || e.Clause == "" {
		b.t.Errorf("nobody says what to do about %q, or by which clause: %+v", words, e)
	}
	var drawn strings.Builder
	l := ladder.New(&drawn, ladder.Options{})
	if err := errors.Join(l.Write(e), l.Close()); err != nil || !strings.Contains(drawn.String(), "✗") || !strings.Contains(drawn.String(), e.Next) {
		b.t.Errorf("the ladder (%v) does not show the failure and the next step:\n%s", err, &drawn)
	}
	return e
}

func demo() []hss.Subscriber { return DemoSubscribers(DefaultDomain) }

func TestWrongAnswer(t *testing.T) {
	conformance.Shows(t, "SA-11")
	b := startBench(t, demo(), nil)
	p := newSIMPhone(t, b, 0)
	n := p.nonce(p.register(p.initial(), 600000))
	b.refused(p.register(p.answer(n, aka.NewSecret([]byte("wrong"))), 600000), 403, "The answer of "+p.impi+" to the challenge is wrong")
	if st, _ := b.HSS.State(p.impi); st.State != hss.NotRegistered || st.AuthPending {
		t.Errorf("the HSS still holds %+v: SAR AUTHENTICATION_FAILURE is missing", st)
	}
	p.registerFully()
}

func TestMACFailureReportedByThePhone(t *testing.T) {
	conformance.Shows(t, "SA-13")
	b := startBench(t, demo(), nil)
	p := newSIMPhone(t, b, 0)
	p.sim(aliceK, bobOPc, 0) // another OPc than the HSS has
	n := p.nonce(p.register(p.initial(), 600000))
	if _, err := p.usim.Authenticate(n.RAND, n.AUTN); !errors.Is(err, aka.ErrMACFailure) {
		t.Fatalf("the SIM with another OPc says %v", err)
	}
	m := p.register(p.credentials(n.String(), `, response="", algorithm=AKAv1-MD5`), 600000)
	b.refused(m, 403, "The UE reported MAC failure: K or OPc of "+p.impi+" differs between the SIM and the HSS.")
	if n := b.HSS.Counts()["SAR"]; n != 1 {
		t.Errorf("%d SARs: AUTHENTICATION_FAILURE is missing", n)
	}
	if st, _ := b.HSS.State(p.impi); st.State != hss.NotRegistered || st.AuthPending {
		t.Errorf("the HSS still holds %+v", st)
	}
}

func TestResynchronisation(t *testing.T) {
	conformance.Shows(t, "SA-12")
	b := startBench(t, demo(), nil)
	p := newSIMPhone(t, b, 0)
	p.sim(aliceK, aliceOPc, 1<<40) // the SIM is far ahead of the HSS
	n := p.nonce(p.register(p.initial(), 600000))
	_, err := p.usim.Authenticate(n.RAND, n.AUTN)
	var out *aka.SyncFailureError
	if !errors.As(err, &out) {
		t.Fatalf("the SIM says %v", err)
	}
	auts := func(n aka.Nonce, a aka.AUTS) string {
		return p.credentials(n.String(), `, response="", algorithm=AKAv1-MD5, auts="`+a.Base64()+`"`)
	}
	n = p.nonce(p.register(auts(n, out.AUTS), 600000))
	r, err := p.usim.Authenticate(n.RAND, n.AUTN)
	if err != nil {
		t.Fatalf("after the resynchronisation the SIM says %v", err)
	}
	if m := p.register(p.answer(n, r.RES), 600000); m.Status() != 200 {
		t.Fatalf("after the resynchronisation:\n%s", m.Raw())
	}

	// A SIM that refuses again right after is in use elsewhere.
	p.callID = sip.NewCallID()
	p.sim(aliceK, aliceOPc, 1<<42)
	n = p.nonce(p.register(p.initial(), 600000))
	_, err = p.usim.Authenticate(n.RAND, n.AUTN)
	if !errors.As(err, &out) {
		t.Fatalf("the SIM says %v", err)
	}
	n = p.nonce(p.register(auts(n, out.AUTS), 600000))
	p.sim(aliceK, aliceOPc, 1<<44)
	_, err = p.usim.Authenticate(n.RAND, n.AUTN)
	if !errors.As(err, &out) {
		t.Fatalf("the SIM says %v", err)
	}
	b.refused(p.register(auts(n, out.AUTS), 600000), 403, "refuses the sequence number again")
}

func TestUsersWhoMayNotRegister(t *testing.T) {
	unknown := demo()[1:]
	barred := demo()
	barred[0].Barred = barred[0].IMPUs
	tests := []struct {
		name        string
		subscribers []hss.Subscriber
		impu        string // that the phone registers, its own if empty
		fault       *hss.Fault
		status      int
		words       string
	}{
		{"unknown user", unknown, "", nil, 403, "The HSS does not know 001010000000001@"},
		{"identities that do not match", demo(), "sip:bob@" + DefaultDomain, nil, 403, "is no public identity of 001010000000001@"},
		{"all identities barred", barred, "", nil, 403, "is barred"},
		{"barred, says another HSS", demo(), "", &hss.Fault{Command: "UAR", Result: diameter.Base(diameter.AuthorizationRejected)}, 403, "is barred"},
		{"roaming", demo(), "", &hss.Fault{Command: "UAR", Result: cx.ErrorRoamingNotAllowed.Result()}, 403, "may not roam"},
		{"unusable answer", demo(), "", &hss.Fault{Command: "UAR", Result: diameter.Base(diameter.UnableToComply)}, 480, "The HSS could not be asked about"},
		{"UAR without an answer", demo(), "", &hss.Fault{Command: "UAR", Drop: true}, 480, "The HSS could not be asked about"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := startBench(t, tt.subscribers, nil)
			if tt.fault != nil {
				b.HSS.Inject(*tt.fault)
			}
			p := newSIMPhone(t, b, 0)
			if tt.impu != "" {
				p.impu = tt.impu
			}
			began := time.Now()
			b.refused(p.register(p.initial(), 600000), tt.status, tt.words)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the phone waited %v for its answer", took)
			}
		})
	}
}

func TestHSSErrorsAtTheSCSCF(t *testing.T) {
	conformance.Shows(t, "SA-18", "SR-16")
	tests := []struct {
		name   string
		fault  hss.Fault
		status int
		words  string
	}{
		{"MAR: unknown user", hss.Fault{Command: "MAR", Result: cx.ErrorUserUnknown.Result()}, 403, "The HSS knows no such user"},
		{"MAR: identities", hss.Fault{Command: "MAR", Result: cx.ErrorIdentitiesDontMatch.Result()}, 403, "do not belong together"},
		{"MAR: scheme", hss.Fault{Command: "MAR", Result: cx.ErrorAuthSchemeNotSupported.Result()}, 403, "authentication scheme"},
		{"MAR: no answer", hss.Fault{Command: "MAR", Drop: true}, 504, "The HSS did not answer"},
		{"SAR: no answer", hss.Fault{Command: "SAR", Drop: true}, 504, "The HSS did not answer"},
		{"SAR: refused", hss.Fault{Command: "SAR", Result: diameter.Base(diameter.UnableToComply)}, 500, "The HSS refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := startBench(t, demo(), nil)
			p := newSIMPhone(t, b, 0)
			b.HSS.Inject(tt.fault)
			began := time.Now()
			m := p.register(p.initial(), 600000)
			if tt.fault.Command == "SAR" {
				n := p.nonce(m)
				r, err := p.usim.Authenticate(n.RAND, n.AUTN)
				if err != nil {
					t.Fatal(err)
				}
				m = p.register(p.answer(n, r.RES), 600000)
			}
			b.refused(m, tt.status, tt.words)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the phone waited %v for its answer", took)
			}
			if b.S.Registered(p.impu) {
				t.Error("the contact is bound all the same")
			}
		})
	}
}

func TestWithoutRegistration(t *testing.T) {
	b := startBench(t, demo(), nil)
	p := newSIMPhone(t, b, 0)
	m := p.send("MESSAGE", "sip:bob@"+DefaultDomain, []string{"To: <sip:bob@" + DefaultDomain + ">"}, 5*time.Second)
	b.refused(m, 403, "No phone is registered from "+p.conn.LocalAddr().String())
}

func TestAnswerInClearNeedsASetting(t *testing.T) {
	conformance.Shows(t, "PR-12")
	b := startBench(t, demo(), func(c *Configs) { c.S.AKAWithoutIPsec = false })
	p := newSIMPhone(t, b, 0)
	n := p.nonce(p.register(p.initial(), 600000))
	r, err := p.usim.Authenticate(n.RAND, n.AUTN)
	if err != nil {
		t.Fatal(err)
	}
	b.refused(p.register(p.answer(n, r.RES), 600000), 403, "answered without IPsec")
}

func TestRegistrationLife(t *testing.T) {
	b := startBench(t, demo(), nil)
	p := newSIMPhone(t, b, 0)
	p.registerFully()

	// The same answer again, as a phone sends it that was not challenged: it is
	// challenged anew, never refused.
	n := p.nonce(p.register(p.last, 600000))
	r, err := p.usim.Authenticate(n.RAND, n.AUTN)
	if err != nil {
		t.Fatal(err)
	}
	if m := p.register(strings.Replace(p.answer(n, r.RES), "Digest ", `Digest integrity-protected="yes", `, 1), 600000); m.Status() != 200 {
		t.Fatalf("re-registration got:\n%s", m.Raw())
	}

	leave := func() *sip.Message {
		n := p.nonce(p.register(p.initial(), 0))
		r, err := p.usim.Authenticate(n.RAND, n.AUTN)
		if err != nil {
			t.Fatal(err)
		}
		return p.register(p.answer(n, r.RES), 0)
	}
	m := leave()
	if m.Status() != 200 || m.Has(sip.HContact) || m.Has(sip.HServiceRoute) {
		t.Fatalf("de-registration got:\n%s", m.Raw())
	}
	if st, _ := b.HSS.State(p.impi); st.State != hss.NotRegistered {
		t.Errorf("the HSS holds %+v", st)
	}
	if b.S.Registered(p.impu) {
		t.Error("still registered")
	}
}
