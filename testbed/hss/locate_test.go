package hss

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// bring takes alice, who was not registered, into one of the states of the tables:
// "not registered", "pending", "registered", "unregistered", all at scscf1.
func (h *testHSS) bring(scscf *cscf, state string) {
	h.t.Helper()
	var got *cx.AnswerHeader
	switch state {
	case "not registered":
		return
	case "pending":
		got = &scscf.mar(h.t, cx.MAR{}).AnswerHeader
	case "registered":
		got = &scscf.sar(h.t, cx.SAR{Type: cx.AssignRegistration}).AnswerHeader
	case "unregistered":
		got = &scscf.sar(h.t, cx.SAR{Type: cx.UnregisteredUser}).AnswerHeader
	default:
		h.t.Fatalf("no state %q", state)
	}
	if !got.Result.Is(diameter.Success) {
		h.t.Fatalf("on the way to %q: %v", state, cx.ResultName(got.Result))
	}
}

func (h *testHSS) renew(s Subscriber) {
	h.t.Helper()
	h.Remove(s.IMPI)
	if err := h.Put(s); err != nil {
		h.t.Fatal(err)
	}
}

var (
	ok2001     = diameter.Base(diameter.Success)
	ok2001caps = &cx.ServerCapabilities{Mandatory: []uint32{1}, Optional: []uint32{2, 3}, ServerNames: []string{scscf2}}
)

func withCapabilities(c *Config) {
	c.Capabilities = Capabilities{Mandatory: []uint32{1}, Optional: []uint32{2, 3}}
	c.SCSCFNames = []string{scscf2}
	c.VisitedNetworks = []string{"visited.example.org"}
}

func TestUARChecksInOrder(t *testing.T) {
	conformance.Shows(t, "CX-03")
	const bob, carol = "bob@" + domain, "carol@" + domain
	h := start(t, withCapabilities, subscriber(nil),
		subscriber(func(s *Subscriber) { s.IMPI, s.IMPUs, s.Barred = bob, []string{"sip:bob@" + domain}, nil }),
		subscriber(func(s *Subscriber) {
			s.IMPI, s.IMPUs, s.Barred = carol, []string{"sip:carol@" + domain}, []string{"sip:carol@" + domain}
			s.Roaming = []string{"only.example.org"}
		}))
	icscf := h.connect("icscf", nil)
	tests := []struct {
		name string
		q    cx.UAR
		want diameter.Result
	}{
		{"unknown IMPI before everything else", cx.UAR{UserName: "nobody@" + domain, PublicIdentity: "sip:bob@" + domain, VisitedNetworkID: "elsewhere"}, cx.ErrorUserUnknown.Result()},
		{"User-Name that is no IMPI", cx.UAR{UserName: "alice"}, cx.ErrorUserUnknown.Result()},
		{"unknown IMPU", cx.UAR{PublicIdentity: "sip:nobody@" + domain}, cx.ErrorUserUnknown.Result()},
		{"IMPU that is no URI", cx.UAR{PublicIdentity: "\x00"}, cx.ErrorUserUnknown.Result()},
		{"IMPU of another, before roaming", cx.UAR{PublicIdentity: "sip:bob@" + domain, VisitedNetworkID: "elsewhere"}, cx.ErrorIdentitiesDontMatch.Result()},
		{"all barred, before roaming: a base code", cx.UAR{UserName: carol, PublicIdentity: "sip:carol@" + domain, VisitedNetworkID: "elsewhere"}, diameter.Base(diameter.AuthorizationRejected)},
		{"all barred, deregistration too", cx.UAR{UserName: carol, PublicIdentity: "sip:carol@" + domain, Type: cx.Deregistration}, diameter.Base(diameter.AuthorizationRejected)},
		{"all barred, but for emergency", cx.UAR{UserName: carol, PublicIdentity: "sip:carol@" + domain, VisitedNetworkID: "elsewhere", Flags: cx.UAREmergencyRegistration}, cx.FirstRegistration.Result()},
		{"barred, but others of the set are not", cx.UAR{PublicIdentity: aliceTmp}, cx.FirstRegistration.Result()},
		{"roaming not allowed", cx.UAR{VisitedNetworkID: "elsewhere"}, cx.ErrorRoamingNotAllowed.Result()},
		{"roaming not allowed, for capabilities", cx.UAR{VisitedNetworkID: "elsewhere", Type: cx.RegistrationAndCapabilities}, cx.ErrorRoamingNotAllowed.Result()},
		{"roaming is no matter for deregistration", cx.UAR{VisitedNetworkID: "elsewhere", Type: cx.Deregistration}, cx.ErrorIdentityNotRegistered.Result()},
		{"roaming allowed", cx.UAR{VisitedNetworkID: "Visited.example.org"}, cx.FirstRegistration.Result()},
		{"network in quotes, as it stands in P-Visited-Network-ID", cx.UAR{VisitedNetworkID: `"visited.example.org"`}, cx.FirstRegistration.Result()},
		{"home network", cx.UAR{VisitedNetworkID: domain}, cx.FirstRegistration.Result()},
		{"no such type", cx.UAR{Type: 7}, diameter.Base(diameter.InvalidAVPValue)},
		{"parameters of the IMPU do not matter", cx.UAR{PublicIdentity: aliceSIP + ";user=phone"}, cx.FirstRegistration.Result()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := icscf.uar(t, tt.q)
			if a.Result != tt.want {
				t.Errorf("%s (%s), want %s", cx.ResultName(a.Result), a.ErrorMessage, cx.ResultName(tt.want))
			}
			if failed := !a.Result.IsSuccess(); failed != (a.ErrorMessage != "") || failed && (a.ServerName != "" || a.Capabilities != nil) {
				t.Errorf("answer %+v", a)
			}
		})
	}
}

func TestUARByState(t *testing.T) {
	conformance.Shows(t, "CX-04", "CX-05", "CX-06")
	h := start(t, withCapabilities)
	icscf, scscf := h.connect("icscf", nil), h.connect("scscf", nil)
	tests := []struct {
		typ   cx.UserAuthorizationType
		state string
		want  diameter.Result
		name  string // Server-Name
		caps  bool
	}{
		{cx.Registration, "not registered", cx.FirstRegistration.Result(), "", true},
		{cx.Registration, "pending", cx.SubsequentRegistration.Result(), scscf1, false},
		{cx.Registration, "registered", cx.SubsequentRegistration.Result(), scscf1, false},
		{cx.Registration, "unregistered", cx.SubsequentRegistration.Result(), scscf1, false},
		{cx.RegistrationAndCapabilities, "not registered", ok2001, "", true},
		{cx.RegistrationAndCapabilities, "pending", ok2001, "", true},
		{cx.RegistrationAndCapabilities, "registered", ok2001, "", true},
		{cx.RegistrationAndCapabilities, "unregistered", ok2001, "", true},
		{cx.Deregistration, "not registered", cx.ErrorIdentityNotRegistered.Result(), "", false},
		{cx.Deregistration, "pending", cx.ErrorIdentityNotRegistered.Result(), "", false},
		{cx.Deregistration, "registered", ok2001, scscf1, false},
		{cx.Deregistration, "unregistered", ok2001, scscf1, false},
	}
	for _, tt := range tests {
		t.Run(tt.typ.String()+" when "+tt.state, func(t *testing.T) {
			h.renew(subscriber(nil))
			h.bring(scscf, tt.state)
			a := icscf.uar(t, cx.UAR{Type: tt.typ})
			var caps *cx.ServerCapabilities
			if tt.caps {
				caps = ok2001caps
			}
			if diff := cmp.Diff(caps, a.Capabilities); a.Result != tt.want || a.ServerName != tt.name || diff != "" {
				t.Errorf("%s %q, want %s %q; capabilities %s", cx.ResultName(a.Result), a.ServerName, cx.ResultName(tt.want), tt.name, diff)
			}
		})
	}
}

// An HSS without capabilities leaves the choice to the I-CSCF.
func TestUARWithoutCapabilities(t *testing.T) {
	h := start(t, nil, subscriber(nil), subscriber(func(s *Subscriber) {
		s.IMPI, s.IMPUs, s.Barred = "b@"+domain, []string{"sip:b@" + domain}, nil
		s.Capabilities.Mandatory = []uint32{9}
	}))
	icscf := h.connect("icscf", nil)
	if a := icscf.uar(t, cx.UAR{}); !cx.FirstRegistration.Is(a.Result) || a.Capabilities != nil {
		t.Errorf("UAA %+v", a)
	}
	if a := icscf.uar(t, cx.UAR{Type: cx.RegistrationAndCapabilities}); !a.Result.Is(diameter.Success) || a.Capabilities == nil {
		t.Errorf("UAA %+v", a)
	}
	a := icscf.uar(t, cx.UAR{UserName: "b@" + domain, PublicIdentity: "sip:b@" + domain})
	if a.Capabilities == nil || !slices.Equal(a.Capabilities.Mandatory, []uint32{9}) {
		t.Errorf("capabilities %+v", a.Capabilities)
	}
}

// A second SIM of the subscription registers where the first did.
func TestUAROfASharedSubscription(t *testing.T) {
	second := subscriber(func(s *Subscriber) {
		s.IMPI, s.IMPUs, s.Barred = "b@"+domain, []string{"sip:b@" + domain, aliceTel}, nil
	})
	h := start(t, nil, subscriber(nil), second)
	icscf, scscf := h.connect("icscf", nil), h.connect("scscf", nil)
	h.bring(scscf, "registered")
	a := icscf.uar(t, cx.UAR{UserName: "b@" + domain, PublicIdentity: "sip:b@" + domain})
	if !cx.SubsequentRegistration.Is(a.Result) || a.ServerName != scscf1 {
		t.Errorf("UAA %s %q", cx.ResultName(a.Result), a.ServerName)
	}
	saa := scscf.sar(t, cx.SAR{Type: cx.AssignReRegistration})
	want := &cx.Identities{UserNames: []string{alice, "b@" + domain}}
	if diff := cmp.Diff(want, saa.AssociatedIdentities); diff != "" {
		t.Error(diff)
	}
	// The first one goes; the S-CSCF stays while the other is registered.
	scscf.sar(t, cx.SAR{UserName: "b@" + domain, PublicIdentities: []string{"sip:b@" + domain}, Type: cx.AssignRegistration})
	scscf.sar(t, cx.SAR{Type: cx.UserDeregistration})
	h.wantState(NotRegistered, false, scscf1)
	if a := icscf.lir(t, cx.LIR{PublicIdentity: aliceTel}); !a.Result.Is(diameter.Success) || a.ServerName != scscf1 {
		t.Errorf("LIA %s %q", cx.ResultName(a.Result), a.ServerName)
	}
}

func TestLIRByState(t *testing.T) {
	conformance.Shows(t, "CX-19", "CX-20")
	h := start(t, withCapabilities)
	icscf, scscf := h.connect("icscf", nil), h.connect("scscf", nil)
	plain := subscriber(nil)
	mail := subscriber(func(s *Subscriber) { s.IFC = []string{mailIFC} })
	capabilities := cx.RegistrationAndCapabilities
	tests := []struct {
		name  string
		sub   Subscriber
		state string
		q     cx.LIR
		want  diameter.Result
		scscf string
		caps  bool
	}{
		{"unknown", plain, "not registered", cx.LIR{PublicIdentity: "sip:nobody@" + domain}, cx.ErrorUserUnknown.Result(), "", false},
		{"registered", plain, "registered", cx.LIR{}, ok2001, scscf1, false},
		{"registered, by the other identity", plain, "registered", cx.LIR{PublicIdentity: aliceTel}, ok2001, scscf1, false},
		{"unregistered with a name", plain, "unregistered", cx.LIR{}, ok2001, scscf1, false},
		{"not registered, no services", plain, "not registered", cx.LIR{}, cx.ErrorIdentityNotRegistered.Result(), "", false},
		{"not registered, services", mail, "not registered", cx.LIR{}, cx.UnregisteredService.Result(), "", true},
		{"pending, no services", plain, "pending", cx.LIR{}, cx.ErrorIdentityNotRegistered.Result(), "", false},
		{"pending, services: the S-CSCF of the subscription", mail, "pending", cx.LIR{}, ok2001, scscf1, false},
		{"originating, not registered", plain, "not registered", cx.LIR{Originating: true}, cx.UnregisteredService.Result(), "", true},
		{"originating, registered", plain, "registered", cx.LIR{Originating: true}, ok2001, scscf1, false},
		{"capabilities asked for", plain, "registered", cx.LIR{Type: &capabilities}, ok2001, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h.renew(tt.sub)
			h.bring(scscf, tt.state)
			a := icscf.lir(t, tt.q)
			var caps *cx.ServerCapabilities
			if tt.caps {
				caps = ok2001caps
			}
			if diff := cmp.Diff(caps, a.Capabilities); a.Result != tt.want || a.ServerName != tt.scscf || diff != "" {
				t.Errorf("%s %q, want %s %q; capabilities %s", cx.ResultName(a.Result), a.ServerName, cx.ResultName(tt.want), tt.scscf, diff)
			}
		})
	}
}
