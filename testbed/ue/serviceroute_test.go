package ue

import (
	"errors"
	"slices"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// A phone's requests go to its P-CSCF, and on along the Service-Route as it was
// granted, entry by entry (RFC 3608 5, TS 24.229 5.1.2A.1.1). With the registration
// it goes.
func TestServiceRouteIsTheWayBehindThePCSCF(t *testing.T) {
	conformance.Shows(t, "HD-04") // the P-CSCF's use of it: TestBindingFollowsThe200, TestDeregistration (ims/pcscf)
	bubble(t, func(t *testing.T, w *world) {
		w.mu.Lock()
		w.beyond = `,<sip:second@192.0.2.98;lr>, "the third" <sip:third@[2001:db8::1]:5070;lr;x="a,b">`
		w.intercept = func(x *proxy.Exchange) bool {
			here := x.Req.Method() == "MESSAGE"
			if here {
				x.Reply(200, "")
			}
			return here
		}
		w.mu.Unlock()
		p := w.phone(aliceConfig())
		if _, err := p.Register(w.ctx()); err != nil {
			t.Fatal(err)
		}
		if err := p.Message(w.ctx(), "sip:bob@"+domain, "hello"); err != nil {
			t.Fatal(err)
		}
		want := []string{"<sip:" + netAddr.String() + ";lr>", "<sip:orig@" + netAddr.String() + ";lr>",
			"<sip:second@192.0.2.98;lr>", `"the third" <sip:third@[2001:db8::1]:5070;lr;x="a,b">`}
		var routes [][]string
		w.mu.Lock()
		for _, m := range w.last {
			routes = append(routes, slices.Collect(m.Values(sip.HRoute)))
		}
		w.mu.Unlock()
		if len(routes) < 2 { // SUBSCRIBE and MESSAGE
			t.Fatalf("%d requests", len(routes))
		}
		for _, r := range routes {
			if !slices.Equal(r, want) {
				t.Errorf("Route %q, want %q", r, want)
			}
		}
		if err := p.Deregister(w.ctx()); err != nil {
			t.Fatal(err)
		}
		if err := p.Message(w.ctx(), "sip:bob@"+domain, "hello"); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("after the registration has ended: %v", err)
		}
	})
}
