package hss

import (
	"context"
	"testing"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
)

// raw sends a request made of AVPs, as peers that are not ours do.
func (c *cscf) raw(t *testing.T, command uint32, avps ...*diameter.AVP) *diameter.Answer {
	t.Helper()
	m := c.node.NewRequest(cx.Application, command)
	m.Add(named("Destination-Realm", datatype.DiameterIdentity(domain)))
	m.Add(avps...)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	a, err := c.node.Call(ctx, m)
	if a == nil {
		t.Fatal(err)
	}
	return a
}

func named(name string, v datatype.Type) *diameter.AVP {
	return cx.Dictionary().Named(cx.Application, name).New(v)
}

// Kamailio leaves User-Authorization-Type out, writes the scheme "unknown", and adds
// AVP 494 of vendor 50 to its SAR.
func TestKamailioAsAClient(t *testing.T) {
	h := start(t, nil, subscriber(nil))
	c := h.connect("kamailio", nil)
	user, impu := named("User-Name", datatype.UTF8String(alice)), named("Public-Identity", datatype.UTF8String(aliceSIP))
	server := named("Server-Name", datatype.UTF8String(scscf1))
	result := func(a *diameter.Answer) string {
		r, _ := a.Result()
		return cx.ResultName(r)
	}
	a := c.raw(t, cx.UserAuthorization, user, impu, named("Visited-Network-Identifier", datatype.OctetString(domain)))
	if got := result(a); got != "DIAMETER_FIRST_REGISTRATION" {
		t.Errorf("UAA %s", got)
	}
	a = c.raw(t, cx.MultimediaAuth, user, impu, named("SIP-Number-Auth-Items", datatype.Unsigned32(1)), server,
		named("SIP-Auth-Data-Item", diameter.NewGroup(named("SIP-Authentication-Scheme", datatype.UTF8String("unknown")))))
	if got := result(a); got != "DIAMETER_SUCCESS" {
		t.Errorf("MAA %s", got)
	}
	a = c.raw(t, cx.ServerAssignment, user, impu, server, named("Server-Assignment-Type", datatype.Enumerated(cx.AssignRegistration)),
		named("User-Data-Already-Available", datatype.Enumerated(0)),
		&diameter.AVP{Code: 494, Flags: 0x80, VendorID: 50, Length: 16, Data: datatype.OctetString("x")})
	if got := result(a); got != "DIAMETER_SUCCESS" {
		t.Errorf("SAA %s", got)
	}
	h.wantState(Registered, false, scscf1)
}

func TestWhatARequestLacks(t *testing.T) {
	h := start(t, nil, subscriber(nil))
	c := h.connect("peer", nil)
	user, impu := named("User-Name", datatype.UTF8String(alice)), named("Public-Identity", datatype.UTF8String(aliceSIP))
	server := named("Server-Name", datatype.UTF8String(scscf1))
	items := named("SIP-Number-Auth-Items", datatype.Unsigned32(1))
	tests := []struct {
		name    string
		command uint32
		avps    []*diameter.AVP
		failed  string
	}{
		{"UAR without network", cx.UserAuthorization, []*diameter.AVP{user, impu}, "Visited-Network-Identifier"},
		{"UAR without user", cx.UserAuthorization, []*diameter.AVP{impu, named("Visited-Network-Identifier", datatype.OctetString("x"))}, "User-Name"},
		{"LIR without identity", cx.LocationInfo, nil, "Public-Identity"},
		{"MAR without item", cx.MultimediaAuth, []*diameter.AVP{user, impu, server, items}, "SIP-Auth-Data-Item"},
		{"MAR without scheme", cx.MultimediaAuth, []*diameter.AVP{user, impu, server, items, named("SIP-Auth-Data-Item", diameter.NewGroup(named("SIP-Item-Number", datatype.Unsigned32(1))))}, "SIP-Authentication-Scheme"},
		{"SAR without type", cx.ServerAssignment, []*diameter.AVP{user, impu, server, named("User-Data-Already-Available", datatype.Enumerated(0))}, "Server-Assignment-Type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := c.raw(t, tt.command, tt.avps...)
			r, _ := a.Result()
			failed := diameter.Group(a.Find(279, 0))
			if !r.Is(diameter.MissingAVP) || len(failed) != 1 || failed[0].Code != cx.Dictionary().Named(cx.Application, tt.failed).Code {
				t.Errorf("%s, Failed-AVP %d", cx.ResultName(r), len(failed))
			}
		})
	}
	if got := h.Counts(); got["UAR"] != 2 || got["MAR"] != 2 || got["SAR"] != 1 || got["LIR"] != 1 {
		t.Errorf("counts %v", got)
	}
}

func TestFeaturesThatAreDemanded(t *testing.T) {
	h := start(t, nil, subscriber(nil))
	c := h.connect("scscf", nil)
	q := cx.SAR{Type: cx.AssignRegistration}
	q.SupportedFeatures = []cx.SupportedFeatures{{Vendor: diameter.Vendor3GPP, ListID: 1, List: 1, Required: true}}
	a := c.sar(t, q)
	if !cx.ErrorFeatureUnsupported.Is(a.Result) || len(a.SupportedFeatures) != 1 || a.SupportedFeatures[0].List != 0 {
		t.Errorf("%s %+v", cx.ResultName(a.Result), a.SupportedFeatures)
	}
	q.SupportedFeatures[0].Required = false
	if a := c.sar(t, q); !a.Result.Is(diameter.Success) {
		t.Errorf("offered only: %s", cx.ResultName(a.Result))
	}
}
