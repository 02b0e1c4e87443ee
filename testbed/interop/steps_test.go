//go:build integration

package interop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ue"
)

func impu(p *ue.Phone) string { return "sip:" + p.Name() + "@" + lab.DefaultDomain }

// register registers a phone and sees to it that everybody knows: the HSS, and the
// phone by what it has subscribed to.
func (c *core) register(ctx context.Context, p *ue.Phone) {
	c.t.Helper()
	g, err := p.Register(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	if g.Challenges != 1 {
		c.t.Errorf("%s was challenged %d times", p.Name(), g.Challenges)
	}
	if g.Default != impu(p) || len(g.Identities) != 2 || len(g.ServiceRoute) != 1 {
		c.t.Errorf("%s was granted %+v", p.Name(), g)
	}
	if st, ok := c.hss.State(impu(p)); !ok || st.State != hss.Registered {
		c.t.Errorf("the HSS holds %s as %+v", p.Name(), st)
	}
	c.notified(p, reginfo.Active)
}

// notified waits until the last NOTIFY to a phone says so of its contact.
func (c *core) notified(p *ue.Phone, state reginfo.State) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("%s is told that it is %v", p.Name(), state), func() error {
		got := c.seen("ue:"+p.Name(), func(m *sip.Message) bool { return m.Method() == "NOTIFY" && m.Get(sip.HEvent) == "reg" })
		if len(got) == 0 {
			return errors.New("no NOTIFY has come")
		}
		last := got[len(got)-1]
		doc, err := reginfo.Parse([]byte(last.Body()))
		if err != nil {
			return err
		}
		for _, r := range doc.Registrations {
			for _, contact := range r.Contacts {
				if contact.State == state && strings.Contains(contact.URI, p.Addr().String()) {
					return nil
				}
			}
		}
		return fmt.Errorf("the last one says\n%s", last.Raw())
	})
}

// registerAgain: the registration is kept alive.
func (c *core) registerAgain(ctx context.Context, p *ue.Phone) {
	c.t.Helper()
	if _, err := p.Register(ctx); err != nil {
		c.t.Fatalf("registering again: %v", err)
	}
}

// call sets up a call with reliable responses and preconditions, and ends it.
func (c *core) call(ctx context.Context, from, to *ue.Phone, target string) {
	c.t.Helper()
	call, err := from.Call(ctx, target, ue.CallOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	in := next(ctx, c.t, to.Calls())
	wait(ctx, c.t, "the callee has the ACK", in.Answered())
	if in.Peer != impu(from) {
		c.t.Errorf("%s sees a call from %s", to.Name(), in.Peer)
	}
	for _, method := range []string{"PRACK", "UPDATE"} {
		eventually(c.t, method+" is among what the callee has received", func() error { // its trace comes by another way
			if len(c.seen("ue:"+to.Name(), func(m *sip.Message) bool { return m.Method() == method && m.CallID() == call.CallID })) == 0 {
				return errors.New("there is none")
			}
			return nil
		})
	}
	if err := call.Hold(ctx); err != nil {
		c.t.Errorf("re-INVITE: %v", err)
	}
	if err := call.Hangup(ctx); err != nil {
		c.t.Fatal(err)
	}
	wait(ctx, c.t, "the callee has the BYE", in.Done())
}

// hungUpByCallee: the BYE takes the other direction.
func (c *core) hungUpByCallee(ctx context.Context, from, to *ue.Phone) {
	c.t.Helper()
	call, err := from.Call(ctx, impu(to), ue.CallOptions{NoPreconditions: true})
	if err != nil {
		c.t.Fatal(err)
	}
	in := next(ctx, c.t, to.Calls())
	wait(ctx, c.t, "the callee has the ACK", in.Answered())
	if err := in.Hangup(ctx); err != nil {
		c.t.Fatal(err)
	}
	wait(ctx, c.t, "the caller has the BYE", call.Done())
}

func (c *core) message(ctx context.Context, from, to *ue.Phone) {
	c.t.Helper()
	if err := from.Message(ctx, impu(to), "Good morning"); err != nil {
		c.t.Fatal(err)
	}
	if m := next(ctx, c.t, to.Messages()); m.Body != "Good morning" || m.From != impu(from) {
		c.t.Errorf("%s got %+v", to.Name(), m)
	}
}

// cancelled: the caller gives up while it rings.
func (c *core) cancelled(ctx context.Context, from, to *ue.Phone) {
	c.t.Helper()
	to.SetAnswer(ue.Answer{Action: ue.NoAnswer})
	defer to.SetAnswer(ue.Answer{})
	call, err := from.Dial(impu(to), ue.CallOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	wait(ctx, c.t, "it rings", call.Ringing())
	call.Cancel()
	wait(ctx, c.t, "the call has ended", call.Done())
	if call.End().Status != 487 {
		c.t.Errorf("the cancelled call ended with %+v", call.End())
	}
	wait(ctx, c.t, "the callee has the CANCEL", next(ctx, c.t, to.Calls()).Done())
}

func (c *core) busy(ctx context.Context, from, to *ue.Phone) {
	c.t.Helper()
	to.SetAnswer(ue.Answer{Action: ue.Busy})
	defer to.SetAnswer(ue.Answer{})
	c.refused(ctx, from, impu(to), 486)
	next(ctx, c.t, to.Calls())
}

// refused: a call gets one of these responses.
func (c *core) refused(ctx context.Context, from *ue.Phone, target string, statuses ...int) {
	c.t.Helper()
	call, err := from.Call(ctx, target, ue.CallOptions{})
	var e *ue.Error
	if !errors.As(err, &e) || !slices.Contains(statuses, e.Status) {
		c.t.Errorf("the call to %s got %v, %v; wanted one of %v", target, call, err, statuses)
	}
}

// deregister ends the registration of a phone that wants so.
func (c *core) deregister(ctx context.Context, p *ue.Phone) {
	c.t.Helper()
	if err := p.Deregister(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.gone(p)
	if c.is(lab.NameS) { // Kamailio does not tell who ended it himself
		c.notified(p, reginfo.Terminated)
	}
}

// ended: the HSS ends the registration, and the phone hears of it.
func (c *core) ended(ctx context.Context, p *ue.Phone) {
	c.t.Helper()
	st, _ := c.hss.State(impu(p))
	_, err := c.hss.SendRTR(ctx, st.IMPIs[0], cx.DeregistrationReason{Code: cx.PermanentTermination, Info: "the subscription has ended"}, st.IMPUs...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.gone(p)
	eventually(c.t, p.Name()+" knows that it is not registered any more", func() error {
		if g := p.Registration(); g != nil {
			return fmt.Errorf("it has %+v", g)
		}
		return nil
	})
}

// profileChanged: the HSS pushes a profile.
func (c *core) profileChanged(ctx context.Context, p *ue.Phone) {
	c.t.Helper()
	st, _ := c.hss.State(impu(p))
	if _, err := c.hss.SendPPR(ctx, st.IMPIs[0]); err != nil {
		c.t.Fatal(err)
	}
}

// gone waits until nobody has the registration of a phone any more.
func (c *core) gone(p *ue.Phone) {
	c.t.Helper()
	eventually(c.t, "the HSS has "+p.Name()+" as not registered", func() error {
		if st, _ := c.hss.State(impu(p)); st.State != hss.NotRegistered {
			return fmt.Errorf("the state is %+v", st)
		}
		return nil
	})
}

// resynchronised: the SIM has seen higher sequence numbers than the HSS has used.
func (c *core) resynchronised(ctx context.Context, p *ue.Phone) {
	c.t.Helper()
	if err := p.SetFaults(ue.Faults{SQNAhead: 1 << 30}); err != nil {
		c.t.Fatal(err)
	}
	g, err := p.Register(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	if !g.Resynchronised || g.Challenges != 2 {
		c.t.Errorf("%s was granted %+v", p.Name(), g)
	}
}

// stranger: a phone with another answer than the HSS expects is sent away.
func (c *core) stranger(ctx context.Context, p *ue.Phone) {
	c.t.Helper()
	if err := p.SetFaults(ue.Faults{WrongRES: true}); err != nil {
		c.t.Fatal(err)
	}
	_, err := p.Register(ctx)
	var e *ue.Error
	if !errors.As(err, &e) || e.Status != 403 || errors.Is(err, aka.ErrMACFailure) {
		c.t.Errorf("a wrong answer got %v", err)
	}
	if err := p.SetFaults(ue.Faults{}); err != nil {
		c.t.Fatal(err)
	}
}

// wait waits for an event of a phone.
func wait(ctx context.Context, t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("waited in vain until %s", what)
	}
}

// next takes what comes to a phone.
func next[T any](ctx context.Context, t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-ctx.Done():
		t.Fatalf("waited in vain for a %T", *new(T))
	}
	panic("unreachable")
}
