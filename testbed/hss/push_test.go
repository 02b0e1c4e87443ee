package hss

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/profile"
)

// pushed plays the S-CSCF that the HSS asks, and keeps what it was asked.
type pushed struct {
	mu     sync.Mutex
	rtr    []*cx.RTR
	ppr    []*cx.PPR
	result diameter.Result
}

func (p *pushed) RTR(_ *diameter.Request, q *cx.RTR, answer func(*cx.RTA) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rtr = append(p.rtr, q)
	a := &cx.RTA{}
	a.Result = p.result
	_ = answer(a)
}

func (p *pushed) PPR(_ *diameter.Request, q *cx.PPR, answer func(*cx.PPA) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ppr = append(p.ppr, q)
	a := &cx.PPA{}
	a.Result = p.result
	_ = answer(a)
}

func TestRTRAndPPR(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h := start(t, nil, subscriber(nil))
	one, two := &pushed{result: ok2001}, &pushed{result: ok2001}
	first, second := h.connect("scscf1", one), h.connect("scscf2", two)
	reason := cx.DeregistrationReason{Code: cx.PermanentTermination, Info: "the contract has ended"}

	if _, err := h.SendRTR(ctx, alice, reason); err == nil {
		t.Error("an RTR for a user without S-CSCF succeeds")
	}
	if _, err := h.SendPPR(ctx, "nobody@"+domain); err == nil {
		t.Error("a PPR for an unknown user succeeds")
	}

	// The profile goes to the host that sent the SAR, as it is now.
	h.bring(first, "registered")
	if err := h.Put(subscriber(func(s *Subscriber) { s.IFC, s.Charging.CCF = []string{mailIFC}, "aaa://ccf" })); err != nil {
		t.Fatal(err)
	}
	h.wantState(Registered, false, scscf1)
	if _, err := h.SendPPR(ctx, alice); err != nil {
		t.Fatal(err)
	}
	if len(one.ppr) != 1 || len(two.ppr) != 0 {
		t.Fatalf("%d and %d PPRs", len(one.ppr), len(two.ppr))
	}
	q := one.ppr[0]
	p, err := profile.Parse(q.UserData)
	if err != nil || len(p.ServiceProfiles[0].InitialFilterCriteria) != 1 || q.UserName != alice || q.Charging.PrimaryCollection != "aaa://ccf" ||
		q.DestinationHost != "scscf1."+domain || q.DestinationRealm != domain {
		t.Errorf("PPR %+v, %v", q, err)
	}

	// An S-CSCF that fails leaves the registration as it is.
	one.result = cx.ErrorNotSupportedUserData.Result()
	var refused *diameter.ResultError
	if _, err := h.SendPPR(ctx, alice); !errors.As(err, &refused) || !cx.IsResult(err, cx.ErrorNotSupportedUserData) {
		t.Errorf("refused PPR: %v", err)
	}
	one.result = diameter.Base(diameter.UnableToComply)
	if _, err := h.SendRTR(ctx, alice, reason); !errors.As(err, &refused) {
		t.Errorf("refused RTR: %v", err)
	}
	h.wantState(Registered, false, scscf1)

	// Another S-CSCF takes over by a MAR: the RTR goes there.
	second.mar(t, cx.MAR{ServerName: scscf2})
	if _, err := h.SendRTR(ctx, alice, reason); err != nil {
		t.Fatal(err)
	}
	if len(two.rtr) != 1 || two.rtr[0].Reason != reason || two.rtr[0].UserName != alice || len(two.rtr[0].PublicIdentities) != 0 {
		t.Errorf("RTR %+v", two.rtr)
	}
	h.wantState(NotRegistered, false, "")

	// NEW_SERVER_ASSIGNED goes to the one before, with identities, and changes nothing.
	one.result = ok2001
	replaced := cx.DeregistrationReason{Code: cx.NewServerAssigned}
	h.bring(first, "registered")
	if _, err := h.SendRTR(ctx, alice, replaced); err == nil {
		t.Error("nobody served the user before, and the RTR succeeds")
	}
	second.mar(t, cx.MAR{ServerName: scscf2})
	second.sar(t, cx.SAR{ServerName: scscf2, Type: cx.AssignRegistration})
	if _, err := h.SendRTR(ctx, alice, replaced); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{aliceTmp, aliceSIP, aliceTel}, one.rtr[len(one.rtr)-1].PublicIdentities); diff != "" {
		t.Error(diff)
	}
	h.wantState(Registered, false, scscf2)
	got := h.Counts()
	if got["RTR"] != 3 || got["PPR"] != 2 {
		t.Errorf("counts %v", got)
	}

	// Gone from the list, gone from the answers.
	if !h.Remove(alice) || h.Remove(alice) {
		t.Error("Remove does not tell whether there was one")
	}
	if a := first.lir(t, cx.LIR{}); !cx.ErrorUserUnknown.Is(a.Result) {
		t.Errorf("after Remove: %s", cx.ResultName(a.Result))
	}
}

func TestPushToAnSCSCFThatIsGone(t *testing.T) {
	h := start(t, nil, subscriber(nil))
	scscf := h.connect("scscf", &pushed{})
	h.bring(scscf, "registered")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := scscf.node.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := h.SendRTR(ctx, alice, cx.DeregistrationReason{}); err == nil {
		t.Error("no error")
	}
	h.wantState(Registered, false, scscf1)
	if n := h.Counts()["RTR"]; n != 0 {
		t.Errorf("%d answers counted", n)
	}
}
