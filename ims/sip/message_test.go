package sip

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestMessageAccessors(t *testing.T) {
	m := mustParse(t, sampleInvite)
	if !m.IsRequest() || m.Method() != "INVITE" || m.RequestURI() != "tel:+15550002;phone-context=ims.example" || m.Status() != 0 {
		t.Errorf("%s", m.StartLine())
	}
	if m.CallID() != "tq8xVYw6mQ0KpPz1@10.45.0.2" || m.FromTag() != "b1c3d5e7" || m.ToTag() != "" {
		t.Errorf("dialog %q %q %q", m.CallID(), m.FromTag(), m.ToTag())
	}
	if m.Body() != sampleSDP {
		t.Errorf("body %q", m.Body())
	}
	if v, err := m.TopVia(); err != nil || v.Port != 6300 || !v.HasRPort {
		t.Errorf("%+v %v", v, err)
	}
	if m.Count(HRoute) != 2 || m.Count(HPath) != 0 || m.Has(HPath) || !m.Has(HAcceptContact) {
		t.Error("counts")
	}
	if m.Get(HPath) != "" || m.First(HPath) != "" || m.GetName("No-Such") != "" {
		t.Error("a header that is not there has a value")
	}
	if d := cmp.Diff([]string{"<sip:192.0.2.10:6100;lr>", "<sip:orig@scscf.ims.example:5060;lr>"}, slices.Collect(m.Lines(HRoute))); d != "" {
		t.Error(d)
	}
	for range m.Values(HSupported) {
		break // an iterator may be left early
	}
}

func TestResponseAccessors(t *testing.T) {
	m := mustParse(t, "SIP/2.0 183 Session Progress\r\nCSeq: 5 PRACK\r\n\r\n")
	if m.IsRequest() || m.Status() != 183 || m.Reason() != "Session Progress" || m.Method() != "PRACK" || m.RequestURI() != "" {
		t.Errorf("%q %d %q %q", m.StartLine(), m.Status(), m.Reason(), m.Method())
	}
	if _, err := m.TopVia(); err == nil {
		t.Error("a Via where there is none")
	}
	if m := mustParse(t, "SIP/2.0 200\r\n\r\n"); m.Status() != 200 || m.Reason() != "" || m.Method() != "" {
		t.Errorf("%d %q %q", m.Status(), m.Reason(), m.Method())
	}
}

func TestValuesSplitWhereCommasSeparate(t *testing.T) {
	m := mustParse(t, crlf("MESSAGE sip:h SIP/2.0",
		`Contact: "A, B" <sip:a,b@c?x=1,2>;p="q,r" ,, <sip:d>`, `m: <sip:e>,`,
		"Via: SIP/2.0/UDP a (one, two);branch=1,SIP/2.0/UDP b",
		"Date: Sat, 13 Nov 2010 23:29:00 GMT", `Authorization: Digest username="a", realm="b"`, "Subject: one, two", "X-List: a, b",
		`Call-Info: <http://h/(a>, <http://h/b)>`, ""))
	for id, want := range map[ID][]string{
		HContact:       {`"A, B" <sip:a,b@c?x=1,2>;p="q,r"`, "<sip:d>", "<sip:e>"},
		HVia:           {"SIP/2.0/UDP a (one, two);branch=1", "SIP/2.0/UDP b"},
		HDate:          {"Sat, 13 Nov 2010 23:29:00 GMT"},
		HAuthorization: {`Digest username="a", realm="b"`},
		HSubject:       {"one, two"},
		HCallInfo:      {"<http://h/(a>", "<http://h/b)>"},
		Other:          {"a, b"}, // who does not know a header does not split it
	} {
		if d := cmp.Diff(want, slices.Collect(m.Values(id))); d != "" {
			t.Errorf("%v: %s", id, d)
		}
	}
}

// TR-01: compact forms, folding, any case, unknown headers and URI parameters are
// read, and leave a proxy's edits unchanged and in order.
func TestForwardingKeepsWhatItDoesNotKnow(t *testing.T) {
	conformance.Shows(t, "TR-01")
	raw := crlf("INVITE sip:b@h;unknown-param=%22x%22;other SIP/2.0",
		"v: SIP/2.0/UDP a;branch=z9hG4bK1",
		"X-First :  one, two",
		"ROUTE: <sip:me;lr>,",
		"\t<sip:next;lr;unknown=1>",
		"mAX-fORWARDS: 70",
		"f: \"A\" <sip:a@h;strange>;tag=1;odd=\"=\"",
		"t:",
		"  <sip:b@h>",
		"i: 1@h",
		"CSEQ: 1 INVITE",
		"x-FIRST: three",
		"m: <sip:a@h;unknown>;+g.new=\"<x>\";flag",
		"l: 0", "")
	m := mustParse(t, raw)
	if p := Validate(m); p != nil {
		t.Fatal(p)
	}
	if got := slices.Collect(m.Values(HRoute)); len(got) != 2 || got[1] != "<sip:next;lr;unknown=1>" {
		t.Errorf("routes %q", got)
	}
	if n, ok := m.MaxForwards(); !ok || n != 70 {
		t.Errorf("Max-Forwards %d", n)
	}
	if to, err := ParseNameAddr(m.Get(HTo)); err != nil || to.URI != "sip:b@h" {
		t.Errorf("To %+v %v", to, err)
	}
	if m.GetName("X-First") != "one, two" || m.CallID() != "1@h" || m.FromTag() != "1" {
		t.Error("unknown or compact headers are read wrongly")
	}
	var e Edits
	e.PopFirst(HRoute)
	e.Set(HMaxForwards, "69")
	e.Prepend(HVia, "SIP/2.0/UDP p;branch=z9hG4bK2")
	e.Prepend(HRecordRoute, "<sip:p;lr>")
	want := strings.NewReplacer(
		"v: SIP", "Via: SIP/2.0/UDP p;branch=z9hG4bK2\r\nv: SIP",
		"branch=z9hG4bK1\r\n", "branch=z9hG4bK1\r\nRecord-Route: <sip:p;lr>\r\n",
		"ROUTE: <sip:me;lr>,\r\n\t<sip:next", "ROUTE: <sip:next",
		"mAX-fORWARDS: 70", "mAX-fORWARDS: 69",
	).Replace(raw)
	if d := cmp.Diff(want, string(m.AppendTo(nil, &e))); d != "" {
		t.Error(d)
	}
}
