package lab

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/as"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// startECSCF starts an application server that answers calls, in the place of an
// E-CSCF with its emergency centre.
func startECSCF(t *testing.T) *as.Server {
	t.Helper()
	cfg := as.DefaultConfig()
	cfg.Name, cfg.Mode = "psap", as.Answer
	s, err := as.New(cfg, node.Deps{Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// emergencyCall makes a call to urn:service:sos, ends it, and checks both answers.
func (p *simPhone) emergencyCall() {
	p.t.Helper()
	const sos = "urn:service:sos"
	contact := "Contact: <" + p.contact() + ">"
	ok := p.send("INVITE", sos, []string{"To: <" + sos + ">", contact}, 6*time.Second)
	if ok.Status() != 200 {
		p.t.Fatalf("the emergency call got:\n%s", ok.Raw())
	}
	target, err := sip.ParseNameAddr(ok.First(sip.HContact))
	if err != nil {
		p.t.Fatal(err)
	}
	routes := slices.Collect(ok.Values(sip.HRecordRoute))
	slices.Reverse(routes)
	within := []string{"To: " + ok.Get(sip.HTo), contact, "Route: " + strings.Join(routes, ", ")}
	p.ack(target.URI, within)
	if m := p.send("BYE", target.URI, within, 6*time.Second); m.Status() != 200 {
		p.t.Fatalf("its BYE got:\n%s", m.Raw())
	}
}

// With IPsec asked of everybody, a phone without a subscription gets through to the
// emergency centre, in clear, and to nobody else.
func TestEmergencyCallWithoutASubscription(t *testing.T) {
	conformance.Partly(t, "PE-01", "PE-04", "IP-12")
	psap := startECSCF(t)
	b := startSecure(t, demo(), func(c *Configs) {
		c.P.Emergency.ECSCF, c.P.Emergency.Anonymous = pcscf.Addresses{psap.Addr()}, true
	})
	p := newSIMPhone(t, b.bench, 0)
	p.impu = "sip:anonymous@anonymous.invalid"
	p.emergencyCall()
	if n := psap.Counts().Requests["BYE"]; n != 1 {
		t.Errorf("the emergency centre got %d BYEs, want 1", n)
	}
	if m := p.send("INVITE", "sip:bob@"+DefaultDomain, []string{"To: <sip:bob@" + DefaultDomain + ">", "Contact: <" + p.contact() + ">"}, 6*time.Second); m.Status() != 403 {
		t.Errorf("another call got:\n%s", m.Raw())
	}
}

// A subscriber who may not roam here registers for emergencies, and calls.
func TestEmergencyRegistrationWhereNobodyMayRoam(t *testing.T) {
	conformance.Shows(t, "PE-03")
	psap := startECSCF(t)
	subscribers := demo()
	subscribers[0].Roaming = []string{"elsewhere.example.org"}
	b := startBench(t, subscribers, func(c *Configs) {
		c.P.VisitedNetwork = "visited.example.org"
		c.P.Emergency.ECSCF = pcscf.Addresses{psap.Addr()}
	})
	p := newSIMPhone(t, b, 0)
	if m := p.register(p.initial(), 600); m.Status() != 403 {
		t.Fatalf("an ordinary registration got:\n%s", m.Raw())
	}
	p.sos = true
	if m := p.registerFully(); !strings.Contains(m.Get(sip.HContact), ";sos") {
		t.Errorf("the registered contact is not marked:\n%s", m.Raw())
	}
	p.emergencyCall()
	asserted := ""
	for _, r := range psap.Requests() {
		if r.Method == "INVITE" {
			m, err := sip.Parse(r.Raw)
			if err != nil {
				t.Fatal(err)
			}
			asserted = strings.Join(slices.Collect(m.Values(sip.HPAssertedIdentity)), ", ")
		}
	}
	if !strings.Contains(asserted, "<sip:") || !strings.Contains(asserted, "<tel:") {
		t.Errorf("the emergency centre is told %q, want a sip and a tel identity", asserted)
	}
}
