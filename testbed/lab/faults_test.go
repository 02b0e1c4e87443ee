package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/ue"
)

// faultCase is a phone with a fault, its phone to call, and the P-CSCF.
type faultCase struct {
	*secureBench
	sub  hss.Subscriber
	p    *ue.Phone
	peer *ue.Phone
}

// attempt is a registration that is given up once the phone has its security
// associations and the P-CSCF explains it with that code and words. It returns what
// the phone says.
func (c *faultCase) attempt(t *testing.T, code, words string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	before := c.stood()
	done := make(chan error, 1)
	go func() { _, err := c.p.Register(ctx); done <- err }()
	c.wait(t, "security associations at the phone", func() bool { return c.stood() > before })
	c.says(t, c.sub.IMPI, code, words)
	cancel()
	return <-done
}

// stood is how many sets the phone has had.
func (c *faultCase) stood() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Kind == trace.SA && e.Node == phonePrefix+c.p.Name() && strings.HasPrefix(e.Text, "Security associations stand") {
			n++
		}
	}
	return n
}

// fails is a registration that is refused.
func (c *faultCase) fails(t *testing.T, status int) *ue.Error {
	t.Helper()
	return mustFail(t, "registering", register(c.p), status)
}

// later is what the report would say if it had been asked for that much later.
func later(r ipsec.Report, d time.Duration, code string) string {
	r.At = r.At.Add(d)
	r.Complete()
	for _, s := range r.Explanation {
		if s.Code == code {
			return s.String()
		}
	}
	return fmt.Sprintf("nothing of %s, only %v", code, r.Explanation)
}

// silent is what a phone says that waits for something behind a 401.
const silent = "the 401 came in clear, but nothing over set"

// TestFaults: what a phone with each fault gets, what the P-CSCF explains it with, and
// that the phone is served when the fault is gone.
func TestFaults(t *testing.T) {
	conformance.Partly(t, "PR-20", "IP-13", "IP-21", "UE-12")
	t.Parallel()
	cases := map[string]func(t *testing.T, c *faultCase){
		"wrong-opc": func(t *testing.T, c *faultCase) {
			if e := c.fails(t, 403); !errors.Is(e, aka.ErrMACFailure) {
				t.Errorf("the phone says %v", e)
			}
			c.says(t, c.sub.IMPI, "mac-failure", "the phone reported MAC failure once")
		},
		"wrong-res": func(t *testing.T, c *faultCase) {
			c.fails(t, 403)
			c.says(t, c.sub.IMPI, "wrong-answer", "the home network answered 403")
		},
		"sqn-ahead": func(t *testing.T, c *faultCase) {
			mustWork(t, "registering", register(c.p))
			if r := c.p.Registration(); !r.Resynchronised || r.Challenges != 2 || r.Protection == nil {
				t.Errorf("%+v", r)
			}
		},
		"wrong-keys": func(t *testing.T, c *faultCase) {
			if err := c.attempt(t, "bad-integrity", "CK/IK differ"); !strings.Contains(err.Error(), silent) {
				t.Errorf("the phone says %v", err)
			}
		},
		"wrong-spi": func(t *testing.T, c *faultCase) {
			if err := c.attempt(t, "unknown-spi", "ESP arrives from "+c.p.Addr().Addr().String()+" for no SA of ours"); !strings.Contains(err.Error(), silent) {
				t.Errorf("the phone says %v", err)
			}
		},
		"wrong-verify": func(t *testing.T, c *faultCase) {
			if e := c.fails(t, 494); !strings.Contains(e.Error(), "Security-Verify") {
				t.Errorf("the phone says %v", e)
			}
			c.says(t, c.sub.IMPI, "bad-verify", "refused with 494")
		},
		"no-esp": func(t *testing.T, c *faultCase) {
			if err := c.attempt(t, "waiting", "401 sent, SAs stand"); !strings.Contains(err.Error(), silent) {
				t.Errorf("the phone says %v", err)
			}
			if s := later(c.ask(t, c.sub.IMPI), 5*time.Second, "no-esp"); !strings.Contains(s, "NAT between phone and P-CSCF, or ESP blocked") {
				t.Errorf("five seconds later it says %s", s)
			}
		},
		"replay": func(t *testing.T, c *faultCase) {
			mustWork(t, "registering", register(c.p))
			mustWork(t, "a message", message(c.p, c.peer, "twice"))
			if n := len(c.peer.Messages()); n != 0 {
				t.Errorf("the message came %d times more", n)
			}
			c.says(t, c.sub.IMPI, "replays", "with a used sequence number in the set that is in use")
		},
		"cut": func(t *testing.T, c *faultCase) {
			c.cut(t)
		},
		"duplicate": func(t *testing.T, c *faultCase) {
			mustWork(t, "registering", register(c.p))
			if r := c.p.Registration(); r.Challenges != 1 || r.Protection == nil {
				t.Errorf("%+v", r)
			}
			if r := c.says(t, c.sub.IMPI, "fine", "registered over IPsec"); len(r.Sets) != 1 {
				t.Errorf("%d sets", len(r.Sets))
			}
		},
		"clear-register": func(t *testing.T, c *faultCase) {
			c.with(t, ue.Faults{})
			mustWork(t, "registering", register(c.p))
			c.with(t, ue.Faults{ClearRegister: true})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { _, err := c.p.Register(ctx); done <- err }()
			c.says(t, c.sub.IMPI, "clear-to-ports", "in clear to a protected port dropped")
			cancel()
			if err := <-done; err == nil {
				t.Error("it was answered")
			}
		},
		"clear-responses": func(t *testing.T, c *faultCase) {
			mustWork(t, "registering", register(c.p))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- c.peer.Message(ctx, c.p.Registration().Default, "hello") }()
			c.says(t, c.sub.IMPI, "clear-to-ports", "in clear to a protected port dropped")
			select {
			case err := <-done:
				t.Errorf("the sender knows that it has come: %v", err)
			default:
			}
			cancel()
			<-done
			<-c.p.Messages()
		},
		"ip-change": func(t *testing.T, c *faultCase) {
			c.move(t)
		},
	}
	names := slices.Sorted(maps.Keys(cases))
	subs := manySubscribers(2*len(names), shortDomain)
	b := startSecure(t, subs, inDatagrams)
	for _, name := range ue.FaultNames() {
		if cases[name] == nil {
			t.Errorf("nothing shows the fault %s", name)
		}
	}
	sideBySide(t, names, func(t *testing.T, i int) {
		c := &faultCase{secureBench: b, sub: subs[2*i]}
		c.peer = b.phone(t, names[i]+"-peer", subs[2*i+1], oneOffer)
		c.p = b.phone(t, names[i], c.sub, func(f *ue.Config) { oneOffer(f); b.ownStack(f) })
		mustWork(t, "the other phone registers", register(c.peer))
		if slices.Contains(ue.FaultNames(), names[i]) {
			var f ue.Faults
			if err := f.Set(names[i]); err != nil {
				t.Fatal(err)
			}
			c.with(t, f)
		}
		cases[names[i]](t, c)
		c.with(t, ue.Faults{})
		c.served(t)
	})
}

// with gives the phone other faults.
func (c *faultCase) with(t *testing.T, f ue.Faults) {
	t.Helper()
	if err := c.p.SetFaults(f); err != nil {
		t.Fatal(err)
	}
}

// served wants a phone without faults to be served.
func (c *faultCase) served(t *testing.T) {
	t.Helper()
	mustWork(t, "registering without the fault", register(c.p))
	if c.p.Registration().Protection == nil {
		t.Fatal("it is registered without protection")
	}
	mustWork(t, "a call after it", c.call(c.p, c.peer, ue.CallOptions{}))
	mustWork(t, "a call to it after it", c.call(c.peer, c.p, ue.CallOptions{}))
	if r := c.ask(t, c.sub.IMPI); len(r.Sets) == 0 || r.Sets[0].State != "in use" || !r.Facts.Registered {
		t.Errorf("the P-CSCF says %+v", r)
	}
}

// cut is a phone that is gone right behind its answer to the challenge.
func (c *faultCase) cut(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.p.Register(ctx); !errors.Is(err, ue.ErrCut) {
		t.Fatalf("the phone says %v", err)
	}
	c.says(t, c.sub.IMPI, "fine", "registered over IPsec") // what it has never heard
	c.with(t, ue.Faults{NoESP: true})
	if err := c.attempt(t, "starts-over", "REGISTER in clear again"); !strings.Contains(err.Error(), silent) {
		t.Errorf("the phone says %v", err)
	}
}

// move is a phone that has another address, and has told nobody.
func (c *faultCase) move(t *testing.T) {
	mustWork(t, "registering", register(c.p))
	was, old := c.p.Registration().Protection, c.p.Addr().Addr()
	if err := c.p.Move(c.addr()); err != nil {
		t.Fatal(err)
	}
	if c.p.Addr().Addr() == old {
		t.Fatal("this system's loopback has one address alone")
	}
	c.with(t, ue.Faults{NoESP: true})
	_ = c.attempt(t, "starts-over", "REGISTER in clear again")
	if r := c.ask(t, c.sub.IMPI); r.Facts.Source.Addr() != c.p.Addr().Addr() || r.Sets[0].Remote.Addr != old {
		t.Errorf("the P-CSCF says %+v", r)
	}
	c.with(t, ue.Faults{})
	mustWork(t, "registering from there", register(c.p))
	is := c.p.Registration().Protection
	if is.Local.Addr != c.p.Addr().Addr() || is.Local.SPIC == was.Local.SPIC {
		t.Errorf("it is protected by %+v, before by %+v", is, was)
	}
	r := c.ask(t, c.sub.IMPI)
	for _, s := range r.Sets {
		if left := s.Ends.Sub(r.At); s.Remote.Addr == old && left > 3*time.Minute {
			t.Errorf("the set to its old address stays for %v", left)
		}
	}
}
