package cx

import (
	"errors"
	"fmt"
	"hash/maphash"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// named answers with 2001 and records the Destination-Host of what it gets.
type named struct {
	echo
	hosts []string
	fail  diameter.Result
	drop  bool
}

func (s *named) note(h RequestHeader) diameter.Result {
	s.hosts = append(s.hosts, h.DestinationHost)
	if s.fail.Code != 0 {
		return s.fail
	}
	return diameter.Base(diameter.Success)
}

func (s *named) UAR(_ *diameter.Request, q *UAR, f func(*UAA) error) {
	r := s.note(q.RequestHeader)
	if !s.drop {
		_ = f(&UAA{AnswerHeader: AnswerHeader{Result: r}})
	}
}
func (s *named) MAR(_ *diameter.Request, q *MAR, f func(*MAA) error) {
	_ = f(&MAA{AnswerHeader: AnswerHeader{Result: s.note(q.RequestHeader)}})
}
func (s *named) SAR(_ *diameter.Request, q *SAR, f func(*SAA) error) {
	_ = f(&SAA{AnswerHeader: AnswerHeader{Result: s.note(q.RequestHeader)}})
}
func (s *named) LIR(_ *diameter.Request, q *LIR, f func(*LIA) error) {
	_ = f(&LIA{AnswerHeader: AnswerHeader{Result: s.note(q.RequestHeader)}})
}

func (s *named) last(t *testing.T) string {
	t.Helper()
	synctest.Wait()
	if len(s.hosts) == 0 {
		t.Fatal("no request came")
	}
	return s.hosts[len(s.hosts)-1]
}

func TestDestinationHostIsLearnedForEachUser(t *testing.T) {
	conformance.Shows(t, "CX-28")
	synctest.Test(t, func(t *testing.T) {
		cscf, start := connect(t, nil, nil, "hss1", "hss2")
		var one, two named
		hss1 := start("hss1", &Server{HSS: &one})
		start("hss2", &Server{HSS: &two})
		synctest.Wait()
		c := NewClient(cscf, ClientConfig{})
		const first = "hss1." + domain
		uar := func(name string) error {
			_, err := wait(func(f func(*UAA, error)) {
				c.UAR(time.Time{}, &UAR{UserName: name, PublicIdentity: "sip:" + name, VisitedNetworkID: domain}, f)
			})
			return err
		}
		steps := []struct {
			name string
			do   func() error
			want string
		}{
			{"first request of a user", func() error { return uar("a@x") }, ""},
			{"UAR again", func() error { return uar("a@x") }, first},
			{"MAR", func() error {
				_, err := wait(func(f func(*MAA, error)) {
					c.MAR(time.Time{}, &MAR{UserName: "a@x", PublicIdentity: "sip:a@x", ServerName: "sip:s"}, f)
				})
				return err
			}, first},
			{"SAR by the public identity alone", func() error {
				_, err := wait(func(f func(*SAA, error)) {
					c.SAR(time.Time{}, &SAR{PublicIdentities: []string{"sip:a@x"}, ServerName: "sip:s", Type: UnregisteredUser}, f)
				})
				return err
			}, first},
			{"LIR of the same user", func() error {
				_, err := wait(func(f func(*LIA, error)) { c.LIR(time.Time{}, &LIR{PublicIdentity: "sip:a@x"}, f) })
				return err
			}, first},
			{"another user", func() error { return uar("b@x") }, ""},
			{"a host that the caller names", func() error {
				_, err := wait(func(f func(*UAA, error)) {
					c.UAR(time.Time{}, &UAR{RequestHeader: RequestHeader{DestinationHost: "HSS1." + domain}, UserName: "b@x", PublicIdentity: "sip:b@x", VisitedNetworkID: domain}, f)
				})
				return err
			}, "HSS1." + domain},
		}
		for _, s := range steps {
			if err := s.do(); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
			if got := one.last(t); got != s.want {
				t.Errorf("%s: Destination-Host %q, want %q", s.name, got, s.want)
			}
		}
		if len(two.hosts) != 0 {
			t.Errorf("hss2 got %d requests", len(two.hosts))
		}
		// A failure that the HSS itself answers does not unlearn it.
		one.fail = ErrorUserUnknown.Result()
		if err := uar("a@x"); !IsResult(err, ErrorUserUnknown) {
			t.Error(err)
		}
		if one.fail = (diameter.Result{}); uar("a@x") != nil || one.last(t) != first {
			t.Error("unlearned by USER_UNKNOWN")
		}
		// Silence does.
		one.drop = true
		var timeout *diameter.TimeoutError
		if err := uar("a@x"); !errors.As(err, &timeout) {
			t.Error(err)
		}
		synctest.Wait()
		if one.drop = false; uar("a@x") != nil || one.last(t) != "" {
			t.Errorf("after a time-out Destination-Host is still %q", one.last(t))
		}
		// When hss1 goes, its users are served, and learned, elsewhere.
		closeNode(t, hss1)
		if err := uar("a@x"); err != nil {
			t.Error(err)
		}
		if got := two.last(t); got != "" {
			t.Errorf("hss2 was asked for %q", got)
		}
		if err := uar("a@x"); err != nil || two.last(t) != "hss2."+domain {
			t.Errorf("%v, Destination-Host %q", err, two.last(t))
		}
	})
}

func TestWhatIsLearnedIsBounded(t *testing.T) {
	c := &Client{cfg: ClientConfig{MaxLearned: 100}, seed: maphash.MakeSeed(), young: map[uint64]uint8{}}
	for i := range 10_000 {
		c.learn("hss", fmt.Sprint("user", i))
		if n := len(c.young) + len(c.old); n > 103 {
			t.Fatalf("%d users are remembered", n)
		}
	}
	if c.learned("user9999") != "hss" || c.learned("user1") != "" {
		t.Error("the wrong ones are remembered")
	}
}

func TestWithTooManyHostsAllIsForgotten(t *testing.T) {
	c := &Client{cfg: ClientConfig{MaxLearned: 10_000}, seed: maphash.MakeSeed(), young: map[uint64]uint8{}}
	for i := range maxHosts {
		c.learn(fmt.Sprint("hss", i), fmt.Sprint("user", i))
	}
	for i := range maxHosts {
		if got := c.learned(fmt.Sprint("user", i)); got != fmt.Sprint("hss", i) {
			t.Fatalf("the HSS of user%d is %q", i, got)
		}
	}
	c.learn("one more", "user0")
	if c.learned("user0") != "one more" || c.learned("user1") != "" {
		t.Errorf("user0 is at %q, user1 at %q", c.learned("user0"), c.learned("user1"))
	}
}

func TestRTRNeedsADestination(t *testing.T) {
	n := newNode(t, "hss", nil)
	c := NewClient(n, ClientConfig{})
	if _, err := wait(func(f func(*RTA, error)) { c.RTR(time.Time{}, &RTR{UserName: impi}, f) }); !errors.Is(err, errNoDestination) {
		t.Error(err)
	}
	var e *diameter.TransportError
	if _, err := wait(func(f func(*PPA, error)) {
		c.PPR(time.Time{}, &PPR{RequestHeader: RequestHeader{DestinationHost: "scscf." + domain}, UserName: impi}, f)
	}); !errors.As(err, &e) {
		t.Error(err)
	}
}
