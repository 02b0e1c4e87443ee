package as

import (
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"
)

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		in, uri, params, untagged string
	}{
		{"sip:a@b", "sip:a@b", "", "sip:a@b"},
		{"sip:a@b;tag=1;x", "sip:a@b", "tag=1|x", "sip:a@b;x"},
		{"<sip:a@b;lr>;Tag=1", "sip:a@b;lr", "Tag=1", "<sip:a@b;lr>"},
		{`"A; <\"x\">;tag=9" <tel:+1;phone-context=x> ; tag = 1 ;y="p;tag=3>"`, "tel:+1;phone-context=x", `tag = 1|y="p;tag=3>"`,
			`"A; <\"x\">;tag=9" <tel:+1;phone-context=x>;y="p;tag=3>"`},
		{`<sip:a@b>;+sip.instance="<urn:a;b>";q=0.5`, "sip:a@b", `+sip.instance="<urn:a;b>"|q=0.5`, `<sip:a@b>;+sip.instance="<urn:a;b>";q=0.5`},
		{"", "", "", ""},
		{"<", "<", "", "<"},
		{`"`, `"`, "", `"`},
		{`<a>;"\`, "a", `"\`, `<a>;"\`},
	} {
		t.Run(tt.in, func(t *testing.T) {
			equal(t, "URI", addrText(tt.in), tt.uri)
			equal(t, "parameters", strings.Join(addrParams(tt.in), "|"), tt.params)
			equal(t, "without its tag", untagged(tt.in), tt.untagged)
		})
	}
}

func TestTidyFindsEveryHeaderByItsLongName(t *testing.T) {
	const raw = "OPTIONS sip:as SIP/2.0\r\nv: SIP/2.0/UDP a;x=\"1,2\" , SIP/2.0/TCP b\r\nVIA: SIP/2.0/UDP c\r\nk: x\r\nL: 0\r\nOdd:  y \r\n\r\n"
	m, err := newParser().ParseSIP([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range tidyRequest(m.(*sip.Request)).Headers() {
		got = append(got, h.Name()+": "+h.Value())
	}
	want := []string{`Via: SIP/2.0/UDP a;x="1,2"`, "Via: SIP/2.0/TCP b", "Via: SIP/2.0/UDP c", "Supported: x", "Content-Length: 0", "Odd: y"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// FuzzAddress holds the small parsers of addresses to their bounds.
func FuzzAddress(f *testing.F) {
	f.Add(`"A; <\"x\">" <tel:+1> ; tag = 1 ;y="p;tag=3>"`)
	f.Add(`<sip:a@b>;+sip.instance="<urn:a;b>";q=0.5`)
	f.Add(`"\`)
	f.Fuzz(func(t *testing.T, s string) {
		uri, end := cutAddr(s)
		if end < 0 || end > len(s) || len(uri) > len(s) {
			t.Fatalf("cutAddr(%q) = %q, %d", s, uri, end)
		}
		if again := untagged(untagged(s)); again != untagged(s) {
			t.Errorf("untagged(%q) = %q, and again %q", s, untagged(s), again)
		}
		rewriteRAck(s, 1)
		oneLine(s)
	})
}

func TestRAckIsRewritten(t *testing.T) {
	for in, want := range map[string]string{"900 7 INVITE": "900 42 INVITE", "": "", "900 7": "900 7"} {
		equal(t, in, rewriteRAck(in, 42), want)
	}
}
