package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/ue"
)

// secureTwo starts a core with IPsec and two registered phones, by UDP without exception
// or by TCP.
func secureTwo(t *testing.T, proto sip.Proto, adjust func(*Configs), phone func(*ue.Config)) (b *secureBench, alice, bob *ue.Phone) {
	t.Helper()
	domain := DefaultDomain
	if proto == sip.UDP {
		domain = shortDomain
	}
	subs := manySubscribers(2, domain)
	b = startSecure(t, subs, func(c *Configs) {
		if proto == sip.UDP {
			inDatagrams(c)
		}
		if adjust != nil {
			adjust(c)
		}
	})
	var phones [2]*ue.Phone
	for i, name := range []string{"alice", "bob"} {
		phones[i] = b.phone(t, name, subs[i], func(c *ue.Config) {
			c.Transport = proto
			if phone != nil {
				phone(c)
			}
			if proto == sip.UDP {
				oneOffer(c)
			}
		})
		mustWork(t, name+" registers", register(phones[i]))
	}
	return b, phones[0], phones[1]
}

// over wants the last request of a method that came to a phone to have come over a
// set.
func (b *secureBench) over(t *testing.T, p *ue.Phone, method string, s *ue.Protection) {
	t.Helper()
	b.settle()
	var last trace.Event
	for _, e := range b.messages(phonePrefix+p.Name(), trace.In) {
		if strings.HasPrefix(string(e.Raw), method+" ") {
			last = e
		}
	}
	local, remote := last.Local, last.Remote
	fromServer := local == s.Local.Client().String() && remote == s.Remote.Server().String() // over the phone's own connection
	fromClient := local == s.Local.Server().String() && remote == s.Remote.Client().String()
	if !fromClient && !(fromServer && last.Proto == trace.ESP+"tcp") {
		t.Errorf("%s came from %s to %s, want it over %+v", method, remote, local, s)
	}
}

// states are the states of a phone's sets at the P-CSCF, by their SPI at the phone.
func (b *secureBench) states(t *testing.T, impi string) map[uint32]string {
	t.Helper()
	out := map[uint32]string{}
	for _, s := range b.ask(t, impi).Sets {
		out[s.Remote.SPIS] = s.State
	}
	return out
}

// TestReRegistrationOverlaps: while a call is up, the called phone re-registers. Until
// it sends something over its new associations, everything for it comes over the old
// ones; then over the new ones, and the call goes on.
func TestReRegistrationOverlaps(t *testing.T) {
	conformance.Partly(t, "PR-28", "IP-23")
	for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			t.Parallel()
			b, alice, bob := secureTwo(t, proto, func(c *Configs) { c.S.Reauthenticate = true }, nil)
			impi := b.cfg.Subscribers[1].IMPI
			first := bob.Registration().Protection
			var c *ue.Call
			mustWork(t, "a call", func(ctx context.Context) (err error) {
				c, err = alice.Call(ctx, bob.Registration().Default, ue.CallOptions{})
				return err
			})
			b.wait(t, "a NOTIFY", func() bool { return b.notifies(bob) > 0 })
			before := b.notifies(bob)

			mustWork(t, "bob re-registers", register(bob))
			second := bob.Registration().Protection
			b.wait(t, "a NOTIFY of it", func() bool { return b.notifies(bob) > before })
			b.over(t, bob, "NOTIFY", first)
			mustWork(t, "a message to bob", message(alice, bob, "one"))
			b.over(t, bob, "MESSAGE", first)
			if st := b.states(t, impi); st[first.Local.SPIS] != "in use" || st[second.Local.SPIS] != "unused" || len(st) != 2 {
				t.Errorf("sets before the first message over the new one: %v", st)
			}
			b.says(t, impi, "new-set-not-used", "still sending over the set before")

			mustWork(t, "a message from bob", message(bob, alice, "two"))
			mustWork(t, "a message to bob", message(alice, bob, "three"))
			b.over(t, bob, "MESSAGE", second)
			mustWork(t, "hold", c.Hold)
			mustWork(t, "resume", c.Resume)
			b.over(t, bob, "INVITE", second)
			r := b.ask(t, impi)
			if st := b.states(t, impi); st[first.Local.SPIS] != "old" || st[second.Local.SPIS] != "in use" {
				t.Errorf("sets after it: %v", st)
			}
			for _, s := range r.Sets {
				if left := s.Ends.Sub(r.At); s.State == "old" && left > 128*time.Second {
					t.Errorf("the old set stays for %v, want 64*T1 = 128 s", left)
				}
			}

			mustWork(t, "bob re-registers once more", register(bob))
			third := bob.Registration().Protection
			mustWork(t, "a message from bob", message(bob, alice, "four"))
			mustWork(t, "hanging up", c.Hangup)
			b.over(t, bob, "BYE", third)
			if st := b.states(t, impi); len(st) > ipsec.MaxSets || st[third.Local.SPIS] != "in use" {
				t.Errorf("sets in the end: %v", st)
			}
			mustWork(t, "bob leaves", bob.Deregister)
			b.wait(t, "the P-CSCF to have noticed", func() bool { return !b.ask(t, impi).Facts.Registered })
			b.keepsSecret(t)
		})
	}
}

// notifies is how many NOTIFYs have come to a phone.
func (b *secureBench) notifies(p *ue.Phone) (n int) {
	for _, e := range b.messages(phonePrefix+p.Name(), trace.In) {
		if strings.HasPrefix(string(e.Raw), "NOTIFY ") {
			n++
		}
	}
	return n
}

// TestPhoneThatLostEverything comes back in clear, with the ports that it had: it gets
// others of ours, and is served. What it had goes with the 200.
func TestPhoneThatLostEverything(t *testing.T) {
	conformance.Partly(t, "PR-23", "PR-28")
	for _, profile := range []string{"samsung", "generic"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			b, alice, bob := secureTwo(t, sip.TCP, nil, func(c *ue.Config) { c.Profile = profile })
			was := bob.Registration().Protection
			for range 2 {
				if err := bob.Reset(); err != nil {
					t.Fatal(err)
				}
				mustWork(t, "bob registers anew", register(bob))
				is := bob.Registration().Protection
				if profile == "samsung" && (is.Local.PortC != was.Local.PortC || is.Local.PortS != was.Local.PortS) {
					t.Errorf("the phone has other ports: %+v after %+v", is.Local, was.Local)
				}
				if profile == "samsung" && (is.Remote.PortC == was.Remote.PortC || is.Remote.PortS == was.Remote.PortS) {
					t.Errorf("the P-CSCF has the same ports for the same ports: %+v after %+v", is.Remote, was.Remote)
				}
				if st := b.states(t, b.cfg.Subscribers[1].IMPI); len(st) != 1 || st[is.Local.SPIS] != "in use" {
					t.Errorf("sets after it: %v", st)
				}
				mustWork(t, "a call to bob", b.call(alice, bob, ue.CallOptions{}))
				mustWork(t, "a call from bob", b.call(bob, alice, ue.CallOptions{}))
				b.over(t, bob, "INVITE", is)
				was = is
			}
		})
	}
}

// TestPCSCFRestarts: it knows nothing of the phones' associations then. What they send
// over them gets no answer; phones that begin anew, in clear, are served.
func TestPCSCFRestarts(t *testing.T) {
	t.Parallel()
	b, alice, bob := secureTwo(t, sip.UDP, nil, nil)
	mustWork(t, "a call before", b.call(alice, bob, ue.CallOptions{}))
	if err := b.StopOne(NameP); err != nil {
		t.Fatal(err)
	}
	b.comeBack(NameP)
	if b.P.ESPUDP() != b.esp {
		t.Fatalf("ESP in UDP is at %v now, before at %v", b.P.ESPUDP(), b.esp)
	}
	_, err := within(t, 300*time.Millisecond, func(ctx context.Context) error { return alice.Message(ctx, bob.Registration().Default, "hello?") })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a message over associations that nobody has: %v", err)
	}
	for _, p := range []*ue.Phone{alice, bob} {
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		mustWork(t, p.Name()+" begins anew", register(p))
	}
	mustWork(t, "a call after", b.call(alice, bob, ue.CallOptions{}))
	mustWork(t, "a call after, the other way", b.call(bob, alice, ue.CallOptions{}))
}

// TestPhonesOfOneAddress: phones at one address, as behind a proxy of their own, have ports
// of ours that tell them apart.
func TestPhonesOfOneAddress(t *testing.T) {
	t.Parallel()
	subs := manySubscribers(6, DefaultDomain)
	b := startSecure(t, subs, func(c *Configs) { c.S.Reauthenticate = true })
	seen := map[[2]netip.AddrPort]string{}
	var phones []*ue.Phone
	for i, sub := range subs {
		p := b.phone(t, fmt.Sprint("phone", i), sub, func(c *ue.Config) { c.Local, c.Profile = Loopback, "samsung" })
		phones = append(phones, p)
		for range 2 {
			mustWork(t, "registering", register(p))
			s := p.Registration().Protection
			for _, k := range [][2]netip.AddrPort{{s.Local.Client(), s.Remote.Server()}, {s.Local.Server(), s.Remote.Client()}} {
				if other, twice := seen[k]; twice {
					t.Errorf("%v has %v, which %s has", p.Name(), k, other)
				}
				seen[k] = p.Name()
			}
		}
	}
	for i, p := range phones {
		to := phones[(i+1)%len(phones)]
		mustWork(t, "a message", message(p, to, p.Name()))
	}
	if ids := slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, n := range seen {
			if !yield(n) {
				return
			}
		}
	})); len(ids) != len(phones) {
		t.Errorf("sets of %v", ids)
	}
}

// TestSetsLiveAsLongAsTheRegistration: 30 s longer, over each refresh, until the phone
// leaves; and what comes twice over them is dropped.
func TestSetsLiveAsLongAsTheRegistration(t *testing.T) {
	conformance.Shows(t, "IP-11")
	t.Parallel()
	subs := manySubscribers(2, shortDomain)
	b := startSecure(t, subs, inDatagrams)
	bob := b.phone(t, "bob", subs[1], oneOffer)
	alice := b.phone(t, "alice", subs[0], func(c *ue.Config) { oneOffer(c); b.ownStack(c); c.Faults.Replay = true })
	mustWork(t, "bob registers", register(bob))
	var ends time.Time
	for range 2 {
		mustWork(t, "registering", register(alice))
		mustWork(t, "a message", message(alice, bob, "once"))
		if len(bob.Messages()) > 0 {
			t.Error("the message came twice")
		}
		r := b.says(t, subs[0].IMPI, "replays", "with a used sequence number")
		if len(r.Sets) != 1 {
			t.Fatalf("sets %+v", r.Sets)
		}
		reg, s := alice.Registration(), r.Sets[0]
		if slack := s.Ends.Sub(reg.Until); slack < 29*time.Second || slack > 31*time.Second {
			t.Errorf("the set ends %v after the registration", slack)
		}
		if !s.Ends.After(ends) {
			t.Errorf("the refresh leaves its end at %v", s.Ends)
		}
		ends = s.Ends
		in := s.In[ipsec.AtServer]
		if in.Replayed == 0 || in.Replayed > in.Packets {
			t.Errorf("of %d packets %d came again", in.Packets, in.Replayed)
		}
	}
	mustWork(t, "leaving", alice.Deregister)
	b.wait(t, "the P-CSCF to have noticed", func() bool { return !b.ask(t, subs[0].IMPI).Facts.Registered })
	r := b.ask(t, subs[0].IMPI)
	for _, s := range r.Sets {
		if left := s.Ends.Sub(r.At); left > ipsec.DefaultTimers().Linger {
			t.Errorf("the set of a phone that has left stays for %v", left)
		}
	}
}

// TestAlgorithmsAreConfigured: the deprecated ones are taken unless the configuration
// leaves them out; who has no other is refused then, and the P-CSCF says why.
func TestAlgorithmsAreConfigured(t *testing.T) {
	conformance.Shows(t, "IP-09")
	t.Parallel()
	for _, tt := range []struct {
		name  string
		allow []string
		old   bool // phones with nothing but hmac-md5-96 are served
	}{
		{"by default", nil, true},
		{"without those", []string{"hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			subs := manySubscribers(3, DefaultDomain)
			b := startSecure(t, subs, func(c *Configs) { c.P.IPsec.Algorithms = tt.allow })
			old := b.phone(t, "old", subs[0], func(c *ue.Config) { c.Profile = "samsung" })
			des := b.phone(t, "des", subs[1], func(c *ue.Config) { c.Offer = []ipsec.Pair{{Alg: ipsec.HMACSHA1, EAlg: ipsec.DESEDE3CBC}} })
			newer := b.phone(t, "newer", subs[2], func(c *ue.Config) { c.Profile = "samsung-6" })
			for i, p := range []*ue.Phone{old, des} {
				if tt.old {
					mustWork(t, "registering", register(p))
					continue
				}
				e := mustFail(t, "registering", register(p), 494)
				if !strings.Contains(e.Warning, "is not allowed") || !strings.Contains(e.Error(), "it has ipsec-3gpp;q=0.2;alg=hmac-sha-1-96;ealg=aes-cbc") {
					t.Errorf("the phone says %v", e)
				}
				b.says(t, subs[i].IMPI, "no-common-pair", "Compare security_client below with ipsec.algorithms")
			}
			mustWork(t, "registering", register(newer))
			if got := newer.Registration().Protection.Pair; got != (ipsec.Pair{Alg: ipsec.HMACSHA1, EAlg: ipsec.AESCBC}) {
				t.Errorf("of six offers %v was taken", got)
			}
		})
	}
}
