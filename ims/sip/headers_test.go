package sip

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reads checks what a parser makes of values, and that it refuses others.
func reads[T any](t *testing.T, parse func(string) (T, error), good map[string]T, bad ...string) {
	t.Helper()
	for in, want := range good {
		got, err := parse(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		} else if d := cmp.Diff(want, got, noParams); d != "" {
			t.Errorf("%q: %s", in, d)
		}
	}
	for _, in := range bad {
		if got, err := parse(in); err == nil {
			t.Errorf("%q is read as %+v", in, got)
		}
	}
}

func TestParseCSeq(t *testing.T) {
	reads(t, ParseCSeq, map[string]CSeq{
		"1 INVITE": {1, "INVITE"}, " 0009 \r\n  INVITE ": {9, "INVITE"}, "2147483647 !odd~": {2147483647, "!odd~"},
	}, "", "1", "INVITE", "2147483648 INVITE", "-1 INVITE", "1 INVITE x", "1, INVITE", "1INVITE")
}

func TestParseRAck(t *testing.T) {
	reads(t, ParseRAck, map[string]RAck{"776656 1 INVITE": {776656, CSeq{1, "INVITE"}}},
		"", "1", "1 INVITE", "0 1 INVITE", "4294967296 1 INVITE")
}

func TestParseEvent(t *testing.T) {
	reads(t, ParseEvent, map[string]Event{
		"reg": {Package: "reg"}, "presence.winfo ;id=\"7\"": {Package: "presence.winfo", ID: "7"},
	}, "", ";id=1", "a b")
}

func TestParseSubscriptionState(t *testing.T) {
	reads(t, ParseSubscriptionState, map[string]SubscriptionState{
		"active;expires=3600":                        {State: "active", Expires: 3600, HasExpires: true},
		"terminated;reason=noresource":               {State: "terminated", Reason: "noresource"},
		"terminated;reason=probation;retry-after=10": {State: "terminated", Reason: "probation", RetryAfter: 10},
		"active;expires=x":                           {State: "active"},
	}, "", ";expires=1")
}

func TestParseContentType(t *testing.T) {
	reads(t, ParseContentType, map[string]ContentType{
		"application/sdp":                     {Type: "application", Subtype: "sdp"},
		"multipart / mixed; boundary=\"a;b\"": {Type: "multipart", Subtype: "mixed"},
	}, "", "application", "application/", "/sdp", "a b/c")
	c, _ := ParseContentType("Application/SDP;charset=utf-8")
	if !c.Is("application/sdp") || c.Is("application/xml") {
		t.Error("Is compares wrongly")
	}
}

func TestParseReason(t *testing.T) {
	reads(t, ParseReason, map[string]ReasonValue{
		`SIP ;cause=580 ;text="Precondition \"Failure\""`: {Protocol: "SIP", Cause: 580, HasCause: true, Text: `Precondition "Failure"`},
		"Q.850;cause=16":   {Protocol: "Q.850", Cause: 16, HasCause: true},
		"SIP;text=\"x,y\"": {Protocol: "SIP", Text: "x,y"},
	}, "", ";cause=1", "SIP;cause=x", "SIP;cause=70000")
}

func TestParseSessionExpires(t *testing.T) {
	reads(t, ParseSessionExpires, map[string]SessionExpires{
		"1800": {Delta: 1800}, "90 ; Refresher = uas": {Delta: 90, Refresher: "uas"}, "99999999999": {Delta: 4294967295},
	}, "", "x", ";refresher=uac", "-1")
}

func TestParseHistoryInfo(t *testing.T) {
	const v = "<sip:bob@h?Reason=SIP%3Bcause%3D302%3Btext%3D%22Moved%22&privacy=history>;index=1.1;rc=1;new"
	h, err := ParseHistoryInfo(v)
	if err != nil || h.Index != "1.1" || h.Tag != "rc" || h.From != "1" {
		t.Fatalf("%+v %v", h, err)
	}
	if r, ok := h.Reason(); !ok || r.Cause != 302 || r.Text != "Moved" {
		t.Errorf("%+v %v", r, ok)
	}
	if h.Privacy() != "history" {
		t.Errorf("privacy %q", h.Privacy())
	}
	if h.String() != v {
		t.Errorf("written as %s", h)
	}
	for _, in := range []string{"", "<sip:a>;index=1..2", "<sip:a>;index=.1", "<sip:a>;index=1.", "<sip:a>;index=a"} {
		if h, err := ParseHistoryInfo(in); err == nil {
			t.Errorf("%q is read as %+v", in, h)
		}
	}
}

func TestParseAcceptContact(t *testing.T) {
	a, err := ParseAcceptContact(`*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel,urn%3aother";audio;require;explicit`)
	if err != nil || !a.Require || !a.Explicit {
		t.Fatalf("%+v %v", a, err)
	}
	for _, tt := range []struct {
		tag, value string
		want       bool
	}{
		{"+g.3gpp.icsi-ref", "urn:urn-7:3gpp-service.ims.icsi.mmtel", true},
		{"+G.3gpp.icsi-ref", "urn%3Aother", true},
		{"+g.3gpp.icsi-ref", "urn:urn-7:3gpp-service.ims.icsi", false},
		{"audio", "", true},
		{"video", "", false},
		{"+g.3gpp.icsi-ref", "", false},
	} {
		if got := a.Features.Contains(tt.tag, tt.value); got != tt.want {
			t.Errorf("%s=%s: %v", tt.tag, tt.value, got)
		}
	}
	const want = `*;require;explicit;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel,urn%3aother";audio`
	if a.String() != want {
		t.Errorf("written as %s", a)
	}
	if _, err := ParseAcceptContact("+g.x"); err == nil {
		t.Error("a value without asterisk is read")
	}
}

func TestParseDelta(t *testing.T) {
	for in, want := range map[string]struct {
		n  uint32
		ok bool
	}{
		"0": {0, true}, " 600000 ": {600000, true}, "4294967296": {4294967295, true}, "99999999999999999999999": {4294967295, true},
		"": {}, "-1": {}, "1.5": {}, "x": {},
	} {
		if n, ok := ParseDelta(in); n != want.n || ok != want.ok {
			t.Errorf("%q: %d %v", in, n, ok)
		}
	}
	for in, want := range map[string]uint32{"18000;duration=3600": 18000, "120 (I'm in a meeting)": 120, "5": 5} {
		if n, ok := ParseRetryAfter(in); !ok || n != want {
			t.Errorf("%q: %d %v", in, n, ok)
		}
	}
}

func TestListsOfTokens(t *testing.T) {
	m, err := Parse("INVITE sip:h SIP/2.0\r\nk: 100rel, Path\r\nSupported: sec-agree,timer\r\nAllow: INVITE,ACK\r\nPrivacy: header; id\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]bool{"path": true, "SEC-AGREE": true, "gruu": false, "": false} {
		if m.HasOption(HSupported, tag) != want {
			t.Errorf("option %q", tag)
		}
	}
	if !m.AllowsMethod("ACK") || m.AllowsMethod("ack") || m.AllowsMethod("PRACK") {
		t.Error("Allow")
	}
	if !m.WantsPrivacy("id") || !m.WantsPrivacy("Header") || m.WantsPrivacy("user") {
		t.Error("Privacy")
	}
}

func TestParams(t *testing.T) {
	const p = Params(`; a = 1 ;;b;c="x;\"y";D=[::1]:5060;`)
	for name, want := range map[string]string{"A": "1", "b": "", "c": `x;"y`, "d": "[::1]:5060"} {
		if v, ok := p.Get(name); !ok || v != want {
			t.Errorf("%s is %q, %v", name, v, ok)
		}
	}
	if p.Has("e") || p.Has("") {
		t.Error("a parameter that is not there")
	}
	if v, _ := p.Raw("c"); v != `"x;\"y"` {
		t.Errorf("raw %s", v)
	}
	n := 0
	for range p.All() {
		n++
	}
	if n != 4 {
		t.Errorf("%d parameters", n)
	}
}
