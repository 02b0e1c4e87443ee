package sip

import "testing"

func TestParseNameAddr(t *testing.T) {
	for _, tt := range []struct{ name, in, display, uri, params string }{
		{"addr-spec", "sip:a@b", "", "sip:a@b", ""},
		{"addr-spec with header parameters", "sip:a@b;tag=1", "", "sip:a@b", ";tag=1"},
		{"URI parameters", "<sip:a@b;lr>;tag=1", "", "sip:a@b;lr", ";tag=1"},
		{"quoted name", `"A \"B\" <c>" <sip:a@b>;x`, `A "B" <c>`, "sip:a@b", ";x"},
		{"quoted name without space", `"A"<sip:a@b>`, "A", "sip:a@b", ""},
		{"tokens as name", "A. G. Bell <sip:a@b>", "A. G. Bell", "sip:a@b", ""},
		{"name without space", "caller<sip:a@b>;tag=323", "caller", "sip:a@b", ";tag=323"},
		{"UTF-8 name without quotes", "Jörg <sip:a@b>", "Jörg", "sip:a@b", ""},
		{"tel", "<tel:+15551234;phone-context=x>", "", "tel:+15551234;phone-context=x", ""},
		{"comma in the user part", "<sip:a,b@c>", "", "sip:a,b@c", ""},
		{"quoted parameter with a bracket", `sip:a@b;+sip.instance="<urn:x>"`, "", "sip:a@b", `;+sip.instance="<urn:x>"`},
		{"spaces", "  < sip:a@b >  ; tag = 1 ", "", "sip:a@b", "; tag = 1"},
		{"empty name", `"" <sip:a@b>`, "", "sip:a@b", ""},
	} {
		a, err := ParseNameAddr(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if a.Display != tt.display || a.URI != tt.uri || string(a.Params) != tt.params {
			t.Errorf("%s: %q %q %q", tt.name, a.Display, a.URI, a.Params)
		}
	}
	for _, in := range []string{
		"", "<>", `"A <sip:a@b>`, `"A" sip:a@b`, "<sip:a@b", "A <sip:a@b>x", ";tag=1", "sip:a@b c", `"A"`,
	} {
		if a, err := ParseNameAddr(in); err == nil {
			t.Errorf("%q is read as %+v", in, a)
		}
	}
}

func TestNameAddrParams(t *testing.T) {
	a, err := ParseNameAddr(`<sip:a@b>; Tag = x ;+sip.instance="<urn:gsma:imei:1>";expires=600000;q="a\"b"`)
	if err != nil {
		t.Fatal(err)
	}
	if a.Tag() != "x" {
		t.Errorf("tag %q", a.Tag())
	}
	if v, ok := a.Param("+SIP.instance"); !ok || v != "<urn:gsma:imei:1>" {
		t.Errorf("instance %q", v)
	}
	if v, _ := a.Param("q"); v != `a"b` {
		t.Errorf("escaped %q", v)
	}
	if n, ok := a.Expires(); !ok || n != 600000 {
		t.Errorf("expires %d", n)
	}
	if v, ok := a.Param("lr"); ok {
		t.Errorf("lr is there: %q", v)
	}
}

func TestNameAddrAppend(t *testing.T) {
	a := NameAddr{Display: `A "B" \`, URI: "sip:a@b", Params: "tag=1"}
	if got, want := a.String(), `"A \"B\" \\" <sip:a@b>;tag=1`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
