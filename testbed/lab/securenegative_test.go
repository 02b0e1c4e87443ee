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
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/ue"
)

// TestRefusalsOverIPsec: who may not register is told the same cause with IPsec as
// without, the P-CSCF does not take it for a matter of IPsec, and the phone is served
// once the cause is gone.
func TestRefusalsOverIPsec(t *testing.T) {
	conformance.Partly(t, "SA-18")
	t.Parallel()
	subs := manySubscribers(4, DefaultDomain)
	subs[2].Barred = subs[2].IMPUs
	b := startSecure(t, subs[:3], nil)
	unknown := subs[3]
	tests := []struct {
		name   string
		sub    hss.Subscriber
		impu   string // that the phone registers, its own if empty
		fault  hss.Fault
		status int
		words  string
	}{
		{"unknown user", unknown, "", hss.Fault{}, 403, "The HSS does not know " + unknown.IMPI},
		{"identities that do not match", subs[0], subs[1].IMPUs[0], hss.Fault{}, 403, "is no public identity of " + subs[0].IMPI},
		{"all identities barred", subs[2], "", hss.Fault{}, 403, "is barred"},
		{"roaming", subs[0], "", hss.Fault{Command: "UAR", Result: cx.ErrorRoamingNotAllowed.Result()}, 403, "may not roam"},
		{"UAR: refused", subs[0], "", hss.Fault{Command: "UAR", Result: diameter.Base(diameter.UnableToComply)}, 480, "The HSS could not be asked about"},
		{"MAR: unknown user", subs[0], "", hss.Fault{Command: "MAR", Result: cx.ErrorUserUnknown.Result()}, 403, "The HSS knows no such user"},
		{"MAR: scheme", subs[0], "", hss.Fault{Command: "MAR", Result: cx.ErrorAuthSchemeNotSupported.Result()}, 403, "authentication scheme"},
		{"SAR: refused", subs[0], "", hss.Fault{Command: "SAR", Result: diameter.Base(diameter.UnableToComply)}, 500, "The HSS refused"},
		{"MAR: no answer", subs[0], "", hss.Fault{Command: "MAR", Drop: true}, 504, "The HSS did not answer"},
		{"SAR: no answer", subs[0], "", hss.Fault{Command: "SAR", Drop: true}, 504, "The HSS did not answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.fault.Command != "" {
				b.HSS.Inject(tt.fault)
				defer b.HSS.ClearFaults()
			}
			p := b.phone(t, "phone", tt.sub, func(c *ue.Config) {
				if tt.impu != "" {
					c.IMPU = tt.impu
				}
			})
			e := mustFail(t, "registering", register(p), tt.status)
			if !strings.Contains(e.Warning, tt.words) {
				t.Errorf("the phone is told %q, want %q", e.Warning, tt.words)
			}
			b.explained(tt.words)
			b.says(t, tt.sub.IMPI, "home-refused", "the home network answered")
			for _, s := range b.ask(t, tt.sub.IMPI).Sets {
				if s.Remote.Addr == p.Addr().Addr() && s.State != "temporary" {
					t.Errorf("a set that is %s", s.State)
				}
			}
			if tt.fault.Command != "" {
				b.HSS.ClearFaults()
				mustWork(t, "registering when it works again", register(p))
				b.says(t, tt.sub.IMPI, "fine", "registered over IPsec")
				mustWork(t, "leaving", p.Deregister)
			}
		})
	}
}

// TestFailedReauthentication: a registered phone whose answer to a new challenge is
// wrong, or which does not accept it, keeps what it has: its established set stays,
// and it is called over it.
func TestFailedReauthentication(t *testing.T) {
	conformance.Partly(t, "PR-29", "IP-21")
	for _, tt := range []struct {
		name   string
		fault  ue.Faults
		status int
	}{
		{"user authentication failure", ue.Faults{WrongRES: true}, 403},
		{"network authentication failure", ue.Faults{WrongOPc: true}, 403},
		{"synchronisation failure", ue.Faults{SQNAhead: 1 << 40}, 200},
		{"the wrong list repeated", ue.Faults{WrongVerify: true}, 494},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, alice, bob := secureTwo(t, sip.TCP, func(c *Configs) { c.S.Reauthenticate = true }, nil)
			impi := b.cfg.Subscribers[1].IMPI
			was := bob.Registration().Protection
			if err := bob.SetFaults(tt.fault); err != nil {
				t.Fatal(err)
			}
			if tt.status == 200 {
				mustWork(t, "re-registering", register(bob))
				if r := bob.Registration(); !r.Resynchronised || r.Protection.Local.SPIS == was.Local.SPIS {
					t.Errorf("%+v", r)
				}
				mustWork(t, "a call", b.call(alice, bob, ue.CallOptions{}))
				return
			}
			e := mustFail(t, "re-registering", register(bob), tt.status)
			if tt.fault.WrongOPc && !errors.Is(e, aka.ErrMACFailure) {
				t.Errorf("the phone says %v", e)
			}
			b.wait(t, "the temporary set to go", func() bool {
				for spi, s := range b.states(t, impi) {
					if spi != was.Local.SPIS && s != "leaving" {
						return false
					}
				}
				return true
			})
			if st := b.states(t, impi); st[was.Local.SPIS] != "in use" {
				t.Errorf("sets after it: %v", st)
			}
			if err := bob.SetFaults(ue.Faults{}); err != nil {
				t.Fatal(err)
			}
			mustWork(t, "registering without the fault", register(bob))
			mustWork(t, "a call from bob", b.call(bob, alice, ue.CallOptions{}))
			mustWork(t, "a call to bob", b.call(alice, bob, ue.CallOptions{}))
			b.over(t, bob, "INVITE", bob.Registration().Protection)
		})
	}
}

// TestResynchronisationOverIPsec: the HSS restarts and begins its
// sequence numbers anew. The phones'
// SIMs resynchronise it, over IPsec too.
func TestResynchronisationOverIPsec(t *testing.T) {
	conformance.Partly(t, "SA-12")
	t.Parallel()
	b, alice, bob := secureTwo(t, sip.TCP, func(c *Configs) { c.S.Reauthenticate = true }, nil)
	if err := b.StopOne(NameHSS); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	mustFail(t, "registering while it is away", register(alice), 480, 504)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the phone waited %v", took)
	}
	b.comeBack(NameHSS)
	for _, p := range []*ue.Phone{alice, bob} {
		mustWork(t, "registering again", register(p))
		if r := p.Registration(); !r.Resynchronised || r.Protection == nil {
			t.Errorf("%+v", r)
		}
	}
	mustWork(t, "a call after", b.call(alice, bob, ue.CallOptions{}))
}
