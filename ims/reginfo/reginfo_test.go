package reginfo_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gocscf/gocscf/ims/reginfo"
)

func sample() *reginfo.Document {
	return &reginfo.Document{
		Version: 1,
		Registrations: []reginfo.Registration{
			{
				AOR: "sip:alice@example.org", ID: "a1", State: reginfo.Active,
				Contacts: []reginfo.Contact{{
					ID: "c1", State: reginfo.Active, Event: reginfo.Registered,
					URI:     "sip:001010000000001@192.0.2.1:5060;transport=tcp",
					Expires: 3600, DurationRegistered: 7, Q: "0.5", CallID: "x@y", CSeq: 2, DisplayName: `A & "B"`,
					UnknownParams: []reginfo.Param{
						{Name: "+sip.instance", Value: `"<urn:gsma:imei:35209900-176148-0>"`}, {Name: "+g.3gpp.smsip"}},
					PubGRUU:  "sip:alice@example.org;gr=urn:gsma:imei:35209900-176148-0",
					TempGRUU: "sip:tgruu.7hs@example.org;gr", TempGRUUFirstCSeq: 54301,
				}},
			},
			{
				AOR: "sip:list1@example.org", ID: "a2", State: reginfo.Active, WildcardedIdentity: "sip:list!.*!@example.org",
				Contacts: []reginfo.Contact{{ID: "c2", State: reginfo.Active, Event: reginfo.Created, URI: "sip:h", Expires: 3600}},
			},
			{AOR: "tel:+49123", ID: "a3", State: reginfo.Init},
		},
	}
}

func TestDocument(t *testing.T) {
	got := string(sample().Append(nil))
	want, err := os.ReadFile("testdata/sample.xml")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), ">"), strings.Split(got, ">")); d != "" {
		t.Errorf("(-testdata/sample.xml +written):\n%s", d)
	}
	back, err := reginfo.Parse([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sample(), back); d != "" {
		t.Errorf("reads back (-want +got):\n%s", d)
	}
}

func TestNamespacesOnlyWhereUsed(t *testing.T) {
	d := sample()
	d.Partial = true
	d.Registrations = d.Registrations[2:]
	got := string(d.Append(nil))
	if strings.Contains(got, "gruuinfo") || strings.Contains(got, "extRegExp") {
		t.Errorf("an unused namespace is declared: %s", got)
	}
	if !strings.Contains(got, `version="1" state="partial"`) {
		t.Errorf("not partial: %s", got)
	}
	if zero := string((&reginfo.Document{}).Append(nil)); !strings.Contains(zero, `version="0" state="full"`) {
		t.Errorf("first document: %s", zero)
	}
}

// As much is written as there is room for, and no less.
func TestAppendMost(t *testing.T) {
	d := &reginfo.Document{}
	for i := range 4 {
		r := reginfo.Registration{AOR: fmt.Sprint("sip:a", i, "@h"), ID: fmt.Sprint(i), State: reginfo.Active}
		for _, u := range []string{"sip:c", strings.Repeat("&", 30)} {
			r.Contacts = append(r.Contacts, reginfo.Contact{ID: "c", State: reginfo.Active, Event: reginfo.Created, URI: u})
		}
		d.Registrations = append(d.Registrations, r)
	}
	upTo := func(n int) int {
		return len((&reginfo.Document{Registrations: d.Registrations[:n]}).Append(nil))
	}
	for most := range upTo(4) + 2 {
		before := "before"
		out, n, whole := d.AppendMost([]byte(before), most)
		doc, err := reginfo.Parse(out[len(before):])
		if err != nil || len(doc.Registrations) != n {
			t.Fatalf("%d octets: %d registrations, %v in %s", most, n, err, out)
		}
		if n < 1 || whole != (most >= upTo(1)) || whole && upTo(n) > most || n < 4 && upTo(n+1) <= most {
			t.Errorf("%d octets: %d registrations, whole %v, in %d", most, n, whole, len(out)-len(before))
		}
		if c := doc.Registrations[0].Contacts; !whole && len(c) == 2 || len(c) == 1 && (c[0].URI != "sip:c" || len(out)-len(before) > most) {
			t.Errorf("%d octets: contacts %v", most, c)
		}
	}
	d.Registrations = make([]reginfo.Registration, 300)
	for i := range d.Registrations {
		d.Registrations[i].AOR = "sip:a@h"
	}
	out, n, _ := d.AppendMost(nil, reginfo.MaxSize)
	if doc, err := reginfo.Parse(out); err != nil || len(doc.Registrations) != n || n < 200 {
		t.Errorf("%d of 300 registrations, %v", n, err)
	}
}

// Every event of RFC 3680 survives, with the state it leads to.
func TestEvents(t *testing.T) {
	for event, want := range map[reginfo.Event]struct {
		text  string
		state reginfo.State
	}{
		reginfo.Registered:   {"registered", reginfo.Active},
		reginfo.Created:      {"created", reginfo.Active},
		reginfo.Refreshed:    {"refreshed", reginfo.Active},
		reginfo.Shortened:    {"shortened", reginfo.Active},
		reginfo.Expired:      {"expired", reginfo.Terminated},
		reginfo.Deactivated:  {"deactivated", reginfo.Terminated},
		reginfo.Probation:    {"probation", reginfo.Terminated},
		reginfo.Unregistered: {"unregistered", reginfo.Terminated},
		reginfo.Rejected:     {"rejected", reginfo.Terminated},
	} {
		d := &reginfo.Document{Registrations: []reginfo.Registration{{AOR: "sip:a@h", ID: "1", State: event.State(),
			Contacts: []reginfo.Contact{{ID: "2", URI: "sip:c", Event: event, State: event.State(), Expires: 9, RetryAfter: 8}}}}}
		got := string(d.Append(nil))
		if event.State() != want.state || !strings.Contains(got, fmt.Sprintf(`state=%q event=%q`, want.state, want.text)) {
			t.Errorf("%v: %s", event, got)
		}
		if back, err := reginfo.Parse([]byte(got)); err != nil || !cmp.Equal(d, back) {
			t.Errorf("%v reads as %+v, %v", event, back, err)
		}
	}
}

func TestParseOthersDocuments(t *testing.T) {
	got, err := reginfo.Parse([]byte(`<?xml version="1.0" encoding="us-ascii"?>
<r:reginfo xmlns:r="urn:ietf:params:xml:ns:reginfo" xmlns:o="urn:o" version="0" state="full">
  <r:registration aor="sip:a@h" id="1" state="active" o:x="y">
    <o:contact id="9" state="moon"/>
    <r:contact id="2" state="active" event="registered" expires="600000">
      <r:uri>
        sip:a@192.0.2.1
      </r:uri>
      <o:uri>sip:not@this</o:uri>
      <r:display-name xml:lang="en">A</r:display-name>
      <o:any><o:more/></o:any>
    </r:contact>
  </r:registration>
  <o:registration aor="sip:b@h" state="none"/>
</r:reginfo>`))
	if err != nil {
		t.Fatal(err)
	}
	c := got.Registrations[0].Contacts
	if len(got.Registrations) != 1 || len(c) != 1 || c[0].Expires != 600000 || c[0].DisplayName != "A" {
		t.Errorf("%+v", got)
	}
	if c[0].URI != "sip:a@192.0.2.1" {
		t.Errorf("uri %q, of another namespace or with its spaces", c[0].URI)
	}
}

func TestParseErrors(t *testing.T) {
	contact := func(attrs, inside string) string {
		return `<reginfo version="0" state="full"><registration aor="sip:a@h" id="1" state="active"><contact id="2" ` + attrs + `>` + inside + `</contact></registration></reginfo>`
	}
	for _, tc := range []struct{ name, doc, says string }{
		{"empty", "", "EOF"},
		{"other root", "<presence/>", "<presence>"},
		{"other namespace", `<reginfo xmlns="urn:x" version="0" state="full"/>`, "root element"},
		{"no version", `<reginfo state="full"/>`, "version"},
		{"version", `<reginfo version="-1" state="full"/>`, `"-1"`},
		{"state", `<reginfo version="0" state="half"/>`, `"half"`},
		{"cut off", `<reginfo version="0" state="full">`, "line 1"},
		{"registration without aor", `<reginfo version="0" state="full"><registration state="active"/></reginfo>`, "registration"},
		{"registration state", `<reginfo version="0" state="full"><registration aor="sip:a@h" state="x"/></reginfo>`, `"x"`},
		{"contact state", contact(`state="init" event="registered"`, "<uri>sip:c</uri>"), `"init"`},
		{"event", contact(`state="active" event="moved"`, "<uri>sip:c</uri>"), `"moved"`},
		{"no uri", contact(`state="active" event="registered"`, ""), "no uri"},
		{"expires", contact(`state="active" event="registered" expires="4294967296"`, "<uri>sip:c</uri>"), "expires"},
		{"document type", `<!DOCTYPE a><reginfo version="0" state="full"/>`, "document type"},
		{"entity", contact(`state="active" event="registered"`, "<uri>&x;</uri>"), "entity"},
		{"encoding", `<?xml version="1.0" encoding="utf-16"?><reginfo version="0" state="full"/>`, "utf-16"},
		{"parameters", contact(`state="active" event="registered"`, "<uri>sip:c</uri>"+strings.Repeat(`<unknown-param name="x"/>`, 65)), "unknown-param"},
		{"registrations", `<reginfo version="0" state="full">` + strings.Repeat(`<registration aor="sip:a@h" state="active"/>`, 257) + `</reginfo>`, "more than"},
		{"size", strings.Repeat(" ", reginfo.MaxSize+1), "octets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := reginfo.Parse([]byte(tc.doc))
			if !errors.Is(err, reginfo.ErrDocument) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%+v, %v; want ErrDocument that says %q", d, err, tc.says)
			}
		})
	}
}

func TestView(t *testing.T) {
	reg := func(aor, id string, s reginfo.State) reginfo.Registration {
		return reginfo.Registration{AOR: aor, ID: id, State: s}
	}
	var v reginfo.View
	for _, step := range []struct {
		name string
		doc  reginfo.Document
		want reginfo.Result
		a, b string // state of the two registrations afterwards, empty if unknown
	}{
		{"partial first", reginfo.Document{Version: 0, Partial: true}, reginfo.Gap, "", ""},
		{"full", reginfo.Document{Version: 3, Registrations: []reginfo.Registration{reg("a", "1", reginfo.Active)}}, reginfo.Applied, "active", ""},
		{"repeated", reginfo.Document{Version: 3}, reginfo.Stale, "active", ""},
		{"older", reginfo.Document{Version: 2}, reginfo.Stale, "active", ""},
		{"partial adds", reginfo.Document{Version: 4, Partial: true, Registrations: []reginfo.Registration{reg("b", "2", reginfo.Active)}}, reginfo.Applied, "active", "active"},
		{"gap", reginfo.Document{Version: 6, Partial: true, Registrations: []reginfo.Registration{reg("a", "1", reginfo.Terminated)}}, reginfo.Gap, "active", "active"},
		{"partial changes", reginfo.Document{Version: 5, Partial: true, Registrations: []reginfo.Registration{reg("a", "1", reginfo.Terminated)}}, reginfo.Applied, "terminated", "active"},
		{"full jumps and replaces", reginfo.Document{Version: 9, Registrations: []reginfo.Registration{reg("b", "2", reginfo.Init)}}, reginfo.Applied, "", "init"},
	} {
		if got := v.Apply(&step.doc); got != step.want {
			t.Errorf("%s: result %d, want %d", step.name, got, step.want)
		}
		for aor, want := range map[string]string{"a": step.a, "b": step.b} {
			got := ""
			if r := v.Find(aor); r != nil {
				got = r.State.String()
			}
			if got != want {
				t.Errorf("%s: %s is %q, want %q", step.name, aor, got, want)
			}
		}
	}
	if len(v.Registrations()) != 1 {
		t.Errorf("%+v", v.Registrations())
	}
}

// Whatever a phone put into its Contact, the document stays well-formed and
// says nothing more than it should.
func TestHostileValuesStayValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[<>&"'/ a\n\t=]{0,20}`),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) })).Draw(t, "value")
		d := sample()
		c := &d.Registrations[0].Contacts[0]
		c.CallID, c.DisplayName, c.PubGRUU, c.URI = s, s, s, "sip:"+s
		c.UnknownParams[0] = reginfo.Param{Name: s, Value: s}
		doc := d.Append(nil)
		back, err := reginfo.Parse(doc)
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		valid := valid(s)
		got := back.Registrations[0].Contacts[0]
		if got.UnknownParams[0] != (reginfo.Param{Name: valid, Value: valid}) || got.CallID != valid || got.PubGRUU != valid {
			t.Fatalf("%q came back as %+v", valid, got)
		}
		if len(back.Registrations) != 3 || len(back.Registrations[0].Contacts) != 1 {
			t.Fatalf("structure changed:\n%s", doc)
		}
	})
}

// valid is what XML 1.0 can carry of s.
func valid(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	var v struct {
		S string `xml:",chardata"`
	}
	if err := xml.Unmarshal([]byte("<a>"+b.String()+"</a>"), &v); err != nil {
		panic(err)
	}
	return v.S
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Append(nil))
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, err := reginfo.Parse(doc)
		if err != nil {
			return
		}
		out := d.Append(nil)
		if len(out) > reginfo.MaxSize {
			return
		}
		again, err := reginfo.Parse(out)
		if err != nil {
			t.Fatalf("own document: %v\n%s", err, out)
		}
		if !cmp.Equal(d, again) {
			t.Fatalf("not stable: %s\n%s", cmp.Diff(d, again), out)
		}
	})
}

func TestAppendAllocatesNothing(t *testing.T) {
	d := sample()
	buf := make([]byte, 0, 8192)
	if n := testing.AllocsPerRun(50, func() { buf = d.Append(buf[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	d := sample()
	buf := make([]byte, 0, 8192)
	b.ReportAllocs()
	for b.Loop() {
		buf = d.Append(buf[:0])
	}
}
