package sip

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/testbed/conformance"
)

// The grammars of RFC 7315 §4 and §5: token or quoted, several values, unknown
// parameters.
func TestPHeaderGrammar(t *testing.T) {
	conformance.Shows(t, "HD-01")
	m, err := Parse("REGISTER sip:h SIP/2.0\r\n" +
		"P-Associated-URI: <sip:a@h>;unknown=\"x,y\" , <tel:+1>\r\nP-Associated-URI: \"A, B\" <sip:b@h;user=phone>\r\n" +
		"P-Called-Party-ID: \"A\" <sip:a@h;gr=1>;npi=RFC5341;unknown\r\n" +
		"P-Visited-Network-ID: visited.example, \"Visited network number 1\";unknown=1\r\nP-Visited-Network-ID: Other network\r\n" +
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010000101 ;unknown=\"a;b\",\r\n  IEEE-802.11;i-wlan-node-id=\"aa\";network-provided\r\n" +
		"P-Charging-Function-Addresses: ccf=192.0.2.1; ccf=\"[2001:db8::1]:3868\";ecf=ocf.example;unknown=1\r\n" +
		"P-Charging-Vector: icid-value=\"ab;cd\";icid-generated-at=192.0.2.1;orig-ioi=\"Type 3home1.net\";unknown=1;term-ioi=visited\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("P-Associated-URI", func(t *testing.T) {
		var got []string
		for v := range m.Values(HPAssociatedURI) {
			a, err := ParseNameAddr(v)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, a.Display+"|"+a.URI+"|"+string(a.Params))
		}
		want := []string{`|sip:a@h|;unknown="x,y"`, "|tel:+1|", "A, B|sip:b@h;user=phone|"}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
	t.Run("P-Called-Party-ID", func(t *testing.T) {
		a, err := ParseNameAddr(m.Get(HPCalledPartyID))
		if err != nil || a.URI != "sip:a@h;gr=1" || !a.Params.Has("unknown") {
			t.Errorf("%+v %v", a, err)
		}
	})
	t.Run("P-Visited-Network-ID", func(t *testing.T) {
		var got []string
		for v := range m.Values(HPVisitedNetworkID) {
			id, err := ParseVisitedNetworkID(v)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, id.ID, id.String())
		}
		want := []string{"visited.example", "visited.example", "Visited network number 1", `"Visited network number 1";unknown=1`,
			"Other network", `"Other network"`}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
	t.Run("P-Access-Network-Info", func(t *testing.T) {
		vs := slices.Collect(m.Values(HPAccessNetworkInfo))
		if len(vs) != 2 {
			t.Fatalf("%d values", len(vs))
		}
		a, err := ParseAccessNetworkInfo(vs[0])
		if err != nil || a.Type != "3GPP-E-UTRAN-FDD" || a.CellID() != "0010100010000101" || a.NetworkProvided() {
			t.Errorf("%+v %v", a, err)
		}
		if v, _ := a.Params.Get("unknown"); v != "a;b" {
			t.Errorf("unknown parameter %q", v)
		}
		b, err := ParseAccessNetworkInfo(vs[1])
		if err != nil || b.Type != "IEEE-802.11" || b.CellID() != "aa" || !b.NetworkProvided() {
			t.Errorf("%+v %v", b, err)
		}
	})
	t.Run("P-Charging-Function-Addresses", func(t *testing.T) {
		c, err := ParseChargingAddresses(m.Get(HPChargingFunctionAddresses))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"192.0.2.1", "[2001:db8::1]:3868"}, slices.Collect(c.CCF())); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{"ocf.example"}, slices.Collect(c.ECF())); d != "" {
			t.Error(d)
		}
		if _, err := ParseChargingAddresses("unknown=1"); err == nil {
			t.Error("a value without ccf and ecf is read")
		}
	})
	t.Run("P-Charging-Vector", func(t *testing.T) {
		c, err := ParseChargingVector(m.Get(HPChargingVector))
		if err != nil {
			t.Fatal(err)
		}
		want := ChargingVector{ICID: "ab;cd", GeneratedAt: "192.0.2.1", OrigIOI: "Type 3home1.net", TermIOI: "visited"}
		if d := cmp.Diff(want, c, noParams); d != "" {
			t.Error(d)
		}
		const out = `icid-value="ab;cd";icid-generated-at=192.0.2.1;orig-ioi="Type 3home1.net";term-ioi="visited";unknown=1`
		if got := c.String(); got != out {
			t.Errorf("got %s", got)
		}
		if _, err := ParseChargingVector("orig-ioi=x"); err == nil {
			t.Error("a value without icid-value is read")
		}
	})
}

func TestIOIType(t *testing.T) {
	for in, want := range map[string]struct {
		typ int
		op  string
	}{
		"Type 1home1.net": {1, "home1.net"}, "type 3 home1.net": {3, "home1.net"}, "home1.net": {0, "home1.net"},
		"Type 9x": {0, "Type 9x"}, "Type 2": {2, ""}, "": {0, ""},
	} {
		if typ, op := IOIType(in); typ != want.typ || op != want.op {
			t.Errorf("%q: %d %q", in, typ, op)
		}
	}
}

func TestServedUser(t *testing.T) {
	u, err := ParseServedUser(`"U" <sip:u@h>; sescase=orig; regstate=reg;new=1;orig-cdiv`)
	if err != nil || u.Addr.URI != "sip:u@h" || u.SesCase != "orig" || u.RegState != "reg" || !u.OrigCDIV {
		t.Fatalf("%+v %v", u, err)
	}
	u.SesCase, u.OrigCDIV = "term", false
	if got, want := u.String(), `"U" <sip:u@h>;sescase=term;regstate=reg;new=1`; got != want {
		t.Errorf("%s", got)
	}
}

func TestUserDatabase(t *testing.T) {
	for in, want := range map[string]string{
		"<aaa://hss1.example.org>": "hss1.example.org", " <AAAS://h-1_a.x:3868;transport=tcp> ": "h-1_a.x", UserDatabase("hss2"): "hss2",
		"": "", "aaa://h": "", "<aaa://>": "", "<sip:h>": "", "<aaa://a b>": "", "<aaa://h\r\n>": "", "<>": "",
		"<aaa://" + strings.Repeat("a", 256) + ">": "",
	} {
		if got, err := ParseUserDatabase(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q names %q, %v", in, got, err)
		}
	}
}
