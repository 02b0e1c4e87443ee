package hss

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
)

func TestFaults(t *testing.T) { synctest.Test(t, testFaults) }

func testFaults(t *testing.T) {
	h := startInMemory(t, subscriber(nil))
	scscf := h.connect("scscf", nil)

	h.Inject(Fault{Command: "SAR", Times: 2, Result: cx.ErrorTooMuchData.Result()})
	h.Inject(Fault{Command: "SAR", Times: 1, Result: diameter.Base(diameter.TooBusy)})
	for i, want := range []diameter.Result{cx.ErrorTooMuchData.Result(), cx.ErrorTooMuchData.Result(), diameter.Base(diameter.TooBusy), ok2001} {
		if a := scscf.sar(t, cx.SAR{Type: cx.AssignRegistration}); a.Result != want {
			t.Errorf("answer %d is %s, want %s", i, cx.ResultName(a.Result), cx.ResultName(want))
		}
		if i < 3 {
			h.wantState(NotRegistered, false, "")
		}
	}

	h.Inject(Fault{Command: "LIR", Delay: 2 * time.Second, Times: 1})
	begin := time.Now()
	if a := scscf.lir(t, cx.LIR{}); !a.Result.Is(diameter.Success) || time.Since(begin) != 2*time.Second {
		t.Errorf("%s after %v", cx.ResultName(a.Result), time.Since(begin))
	}

	h.Inject(Fault{Drop: true})
	_, err := call(context.Background(), func(done func(*cx.LIA, error)) {
		scscf.LIR(time.Now().Add(2*time.Second), &cx.LIR{PublicIdentity: aliceSIP}, done)
	})
	var timeout *diameter.TimeoutError
	if !errors.As(err, &timeout) {
		t.Errorf("dropped: %v", err)
	}
	h.ClearFaults()
	if a := scscf.lir(t, cx.LIR{}); !a.Result.Is(diameter.Success) {
		t.Errorf("after ClearFaults: %s", cx.ResultName(a.Result))
	}
	if got := h.Counts(); got["LIR"] != 2 || got["SAR"] != 4 {
		t.Errorf("counts %v", got)
	}

	// What is dropped or delayed does not hold up the end.
	h.Inject(Fault{Command: "LIR", Drop: true})
	h.Inject(Fault{Command: "UAR", Delay: time.Hour})
	scscf.LIR(time.Time{}, &cx.LIR{PublicIdentity: aliceSIP}, func(*cx.LIA, error) {})
	scscf.UAR(time.Time{}, &cx.UAR{UserName: alice, PublicIdentity: aliceSIP, VisitedNetworkID: domain}, func(*cx.UAA, error) {})
	synctest.Wait()
	begin = time.Now()
	if err := h.stop(); err != nil || time.Since(begin) > 0 {
		t.Errorf("stopped after %v: %v", time.Since(begin), err)
	}
}
