//go:build integration

package kernel

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ue"
)

// A registration runs out: its set stands as long as it, and 30 s more. A phone that
// never answers its challenge has a set for reg-await-auth.
func TestARegistrationRunsOut(t *testing.T) {
	conformance.Shows(t, "IP-11")
	const expires, await, after = 10, 5 * time.Second, 30 * time.Second
	r := newRadio(t)
	c := startCore(t, gmAt[0], 2, func(conf *lab.Configs) {
		conf.S.Expires.Min = node.Duration(time.Second)
		conf.P.IPsec.RegAwaitAuth = node.Duration(await)
	})
	_, blocks := r.host.Standing(t)
	// states waits until so many stand.
	states := func(want int, until time.Time) error {
		for {
			n, policies := r.host.Standing(t)
			switch {
			case n == want && policies == n+blocks:
				return nil
			case time.Now().After(until):
				return fmt.Errorf("%d states and %d policies stand, want %d", n, policies-blocks, want)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	mute := c.phone(t, 1, "user", r.byUser, r.user, userAt[0], func(cfg *ue.Config) { cfg.Faults.NoESP = true })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := mute.Register(ctx)
		answered <- err
	}()
	if err := states(4, time.Now().Add(patience)); err != nil {
		t.Fatalf("a phone is challenged: %v", err)
	}
	if err := states(0, time.Now().Add(patience)); err != nil {
		t.Errorf("a phone has not answered: %v", err)
	}
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("the phone that sends no ESP: %v", err)
	}

	p := c.phone(t, 0, "kernel", r.byKernel, r.kernel, kernAt[0], func(cfg *ue.Config) {
		cfg.Expires, cfg.NoRefresh, cfg.NoSubscribe = expires, true, true
	})
	g := register(t, p)
	if g.Expires > expires*time.Second {
		t.Fatalf("registered for %v", g.Expires)
	}
	for time.Now().Before(g.Until) {
		if err := states(4, time.Now()); err != nil {
			t.Fatalf("%v before the registration runs out: %v", time.Until(g.Until), err)
		}
		time.Sleep(500 * time.Millisecond)
	}
	if err := states(0, g.Until.Add(after+patience)); err != nil {
		t.Errorf("after the registration: %v", err)
	}
	if early := g.Until.Add(after - 10*time.Second); time.Now().Before(early) {
		t.Errorf("the set is gone %v too early", time.Until(early))
	}
}
