package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/ladder"
)

// TestDemonstration runs what `go run ./testbed` runs, with phones on UDP and on
// TCP, over IPsec and in clear, and holds the report against what must have happened.
func TestDemonstration(t *testing.T) {
	for _, tc := range []struct {
		name  string
		proto sip.Proto
		clear bool
		// Two registrations and two de-registrations, each of two REGISTERs in clear;
		// over IPsec a de-registration is not challenged.
		uar, mar int
		ipsec    IPsecReport
	}{
		{"UDP", sip.UDP, false, 6, 2, IPsecReport{Backend: "user", SASets: 2}},
		{"TCP", sip.TCP, false, 6, 2, IPsecReport{Backend: "user", SASets: 2}},
		{"UDP in clear", sip.UDP, true, 8, 4, IPsecReport{Backend: "none"}},
		{"TCP in clear", sip.TCP, true, 8, 4, IPsecReport{Backend: "none"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			stream := &trace.Stream{}
			sub := stream.Subscribe(traceBuffer)
			d := NewDemo(DemoConfig{Domain: DefaultDomain, Stream: stream, Transport: tc.proto, Clear: tc.clear})
			err := d.Run(ctx)
			sub.Close()
			d.Close()
			drawn := draw(t, sub)
			if err != nil {
				t.Fatalf("%v\n%s", err, drawn)
			}
			r := d.Report
			if !r.OK || r.Error != "" || r.PhonesRegistered != 2 || r.CallsCompleted != 1 || r.SIP.Gm == 0 || r.SIP.Mw == 0 || r.SIP.ISC == 0 {
				t.Errorf("report: %+v", r)
			}
			// A call to a SIP URI, one to a number and a message.
			if r.Cx["UAR"] != tc.uar || r.Cx["MAR"] != tc.mar || r.Cx["SAR"] != 4 || r.Cx["LIR"] != 3 || r.Cx["RTR"] != 0 || r.Cx["PPR"] != 0 {
				t.Errorf("Cx: %v", r.Cx)
			}
			// All but the first REGISTER of each phone and its 401, at both ends.
			if tc.ipsec.ProtectedMessages = 0; !tc.clear {
				tc.ipsec.ProtectedMessages = r.SIP.Gm - 4
			}
			if r.IPsec != tc.ipsec {
				t.Errorf("IPsec: %+v, want %+v; on Gm %d", r.IPsec, tc.ipsec, r.SIP.Gm)
			}
			for _, want := range []string{"UAA 2001", "MAA 2001", "SAA 2001", "LIA 2001", "183 INVITE", "PRACK", "UPDATE", "180 INVITE", "486 INVITE", "NOTIFY", "BYE", "MESSAGE", "Filter criterion of sip:alice"} {
				if !strings.Contains(drawn, want) {
					t.Errorf("the ladder shows no %s", want)
				}
			}
		})
	}
}

// draw draws what a closed subscription holds.
func draw(t *testing.T, sub *trace.Subscription) string {
	t.Helper()
	var b strings.Builder
	l := ladder.New(&b, ladder.Options{})
	if err := ladder.Merge(t.Context(), sub.C(), l.Write); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	return b.String()
}

// TestNoCoreHeaderReachesAPhone looks at every message that the phones of a
// demonstration get.
func TestNoCoreHeaderReachesAPhone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	stream := &trace.Stream{}
	sub := stream.Subscribe(traceBuffer)
	d := NewDemo(DemoConfig{Domain: DefaultDomain, Stream: stream})
	err := d.Run(ctx)
	sub.Close()
	d.Close()
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	for e := range sub.C() {
		if e.Kind != trace.SIP || e.Dir != trace.In || !strings.HasPrefix(e.Node, phonePrefix) {
			continue
		}
		messages++
		m, err := sip.Parse(string(e.Raw))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []sip.ID{sip.HPChargingVector, sip.HPChargingFunctionAddresses, sip.HPServedUser, sip.HPVisitedNetworkID, sip.HPUserDatabase, sip.HPProfileKey} {
			if m.Has(id) {
				t.Errorf("%v reached a phone in:\n%s", id, m.Raw())
			}
		}
		if bringsKeys(m) {
			t.Errorf("a key reached a phone in:\n%s", m.Raw())
		}
	}
	// All of it is 40; what is still under way when the demonstration ends, such as the
	// NOTIFY of the last de-registration, need not arrive.
	if messages < 35 {
		t.Errorf("only %d messages reached the phones", messages)
	}
}

// bringsKeys reports whether a message has CK or IK, or a challenge that cannot be read
// for them. A nonce may well end in "ck=".
func bringsKeys(m *sip.Message) bool {
	for line := range m.Lines(sip.HWWWAuthenticate) {
		if ch, err := sip.ParseChallenge(line); err != nil || ch.CK != "" || ch.IK != "" {
			return true
		}
	}
	return false
}

func TestReportIsThePublicContract(t *testing.T) {
	b, err := json.Marshal(NewDemo(DemoConfig{Domain: DefaultDomain}).Report)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"ok":false,"error":"","phones_registered":0,"calls_completed":0,"sip":{"gm":0,"mw":0,"isc":0},` +
		`"cx":{"LIR":0,"MAR":0,"PPR":0,"RTR":0,"SAR":0,"UAR":0},"steps":[],` +
		`"ipsec":{"backend":"none","sa_sets":0,"protected_messages":0,"clear_messages_after_registration":0}}`
	if string(b) != want {
		t.Errorf("report:\n%s\nwant:\n%s", b, want)
	}
}

// TestAFailedDemonstrationSaysSo: also then one report, and an error.
func TestAFailedDemonstrationSaysSo(t *testing.T) {
	var out, errOut bytes.Buffer
	c := Cmd{JSON: true, Domain: DefaultDomain, LogLevel: "error", State: "/nonexistent/directory/state"}
	if err := c.demo(t.Context(), &out, &errOut); err == nil {
		t.Error("no error")
	}
	var r Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.OK || !strings.Contains(r.Error, "/nonexistent/directory") {
		t.Errorf("report %+v (%v)", r, err)
	}
	if len(r.Steps) != 1 || r.Steps[0].OK || r.Steps[0].Error == "" {
		t.Errorf("steps %+v", r.Steps)
	}
}
