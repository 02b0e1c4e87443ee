package sip

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// diff returns the lines of b that are not in a, and those of a not in b, in order.
func lineDiff(a, b string) []string {
	var out []string
	x, y := strings.SplitAfter(a, "\r\n"), strings.SplitAfter(b, "\r\n")
	for _, l := range x {
		if i := slices.Index(y, l); i >= 0 {
			for _, n := range y[:i] {
				out = append(out, "+"+n)
			}
			y = y[i+1:]
		} else {
			out = append(out, "-"+l)
		}
	}
	for _, n := range y {
		out = append(out, "+"+n)
	}
	return slices.DeleteFunc(out, func(s string) bool { return len(s) == 1 }) // no body
}

// Each edit changes its own line; all others leave octet by octet.
func TestEachEdit(t *testing.T) {
	m := mustParse(t, tortuous)
	for _, tt := range []struct {
		name string
		edit func(*Edits)
		want []string
	}{
		{"nothing", func(*Edits) {}, nil},
		{"Request-URI", func(e *Edits) { e.RequestURI("sip:new@h") },
			[]string{"-MESSAGE sip:b@h SIP/2.0\r\n", "+MESSAGE sip:new@h SIP/2.0\r\n"}},
		{"Request-URI with spaces and line ends", func(e *Edits) { e.RequestURI("sip:a b\r\nX: y") },
			[]string{"-MESSAGE sip:b@h SIP/2.0\r\n", "+MESSAGE sip:a%20b%0D%0AX:%20y SIP/2.0\r\n"}},
		{"Status of a request", func(e *Edits) { e.Status(200, "") }, nil},
		{"Remove", func(e *Edits) { e.Remove(HRoute) },
			[]string{"-ROUTE :  <sip:r1;lr>,\r\n", "-  <sip:r2;lr>\r\n", "-route: <sip:r3;lr>\r\n"}},
		{"RemoveName of an unknown header", func(e *Edits) { e.RemoveName("x-one") }, []string{"-X-One:1\r\n", "-X-One: 2\r\n"}},
		{"RemoveName in long form", func(e *Edits) { e.RemoveName("Call-id") }, []string{"-i:id@h\r\n"}},
		{"RemoveLine", func(e *Edits) { e.RemoveLine(2) }, []string{"-ROUTE :  <sip:r1;lr>,\r\n", "-  <sip:r2;lr>\r\n"}},
		{"ReplaceLine keeps the name", func(e *Edits) { e.ReplaceLine(2, "<sip:n>") },
			[]string{"-ROUTE :  <sip:r1;lr>,\r\n", "-  <sip:r2;lr>\r\n", "+ROUTE: <sip:n>\r\n"}},
		{"Set replaces the first and removes the others", func(e *Edits) { e.Set(HVia, "x") },
			[]string{"-v: SIP/2.0/UDP a;branch=z9hG4bK1 ,SIP/2.0/TCP b;branch=z9hG4bK2\r\n", "-Via: SIP/2.0/UDP c;branch=z9hG4bK3\r\n", "+v: x\r\n"}},
		{"Set adds", func(e *Edits) { e.Set(HExpires, "9") }, []string{"+Expires: 9\r\n"}},
		{"Add behind the last", func(e *Edits) { e.Add(HVia, "x") }, []string{"+Via: x\r\n"}},
		{"AddName", func(e *Edits) { e.AddName("X-ONE", "3") }, []string{"+X-ONE: 3\r\n"}},
		{"AddName that is no token", func(e *Edits) { e.AddName("X\r\nY", "3"); e.AddName("", "") }, nil},
		{"Prepend Via", func(e *Edits) { e.Prepend(HVia, "x") }, []string{"+Via: x\r\n"}},
		{"Prepend Record-Route", func(e *Edits) { e.Prepend(HRecordRoute, "<sip:me;lr>") }, []string{"+Record-Route: <sip:me;lr>\r\n"}},
		{"PopFirst of two on a line", func(e *Edits) { e.PopFirst(HVia) },
			[]string{"-v: SIP/2.0/UDP a;branch=z9hG4bK1 ,SIP/2.0/TCP b;branch=z9hG4bK2\r\n", "+v: SIP/2.0/TCP b;branch=z9hG4bK2\r\n"}},
		{"PopFirst over a fold", func(e *Edits) { e.PopFirst(HRoute) },
			[]string{"-ROUTE :  <sip:r1;lr>,\r\n", "-  <sip:r2;lr>\r\n", "+ROUTE: <sip:r2;lr>\r\n"}},
		{"PopFirst three times", func(e *Edits) { e.PopFirst(HRoute); e.PopFirst(HRoute); e.PopFirst(HRoute); e.PopFirst(HRoute) },
			[]string{"-ROUTE :  <sip:r1;lr>,\r\n", "-  <sip:r2;lr>\r\n", "-route: <sip:r3;lr>\r\n"}},
		{"PopFirst of a header that is no list", func(e *Edits) { e.PopFirst(HFrom) }, []string{"-f:<sip:a@h>;tag=1\r\n"}},
		{"Body", func(e *Edits) { e.Body("text/plain", "longer") },
			[]string{"-l: 2\r\n", "-hi", "+l: 6\r\n", "+Content-Type: text/plain\r\n", "+longer"}},
		{"no body", func(e *Edits) { e.Body("", "") }, []string{"-l: 2\r\n", "-hi", "+l: 0\r\n"}},
		{"EnsureLength has nothing to do", func(e *Edits) { e.EnsureLength() }, nil},
		{"removed and added again", func(e *Edits) { e.Remove(HRoute); e.Add(HRoute, "<sip:n>") },
			[]string{"-ROUTE :  <sip:r1;lr>,\r\n", "-  <sip:r2;lr>\r\n", "-route: <sip:r3;lr>\r\n", "+Route: <sip:n>\r\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e Edits
			tt.edit(&e)
			got := string(m.AppendTo(nil, &e))
			want := slices.Clone(tt.want)
			have := lineDiff(tortuous, got)
			slices.Sort(want)
			slices.Sort(have)
			if d := cmp.Diff(want, have); d != "" {
				t.Error(d)
			}
			if _, err := m.Apply(&e); err != nil {
				t.Error(err)
			}
		})
	}
}

// Where new lines go.
func TestEditPositions(t *testing.T) {
	m := mustParse(t, tortuous)
	names := func(edit func(*Edits)) string {
		var e Edits
		edit(&e)
		a, err := m.Apply(&e)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for i := range a.Len() {
			id, name, v := a.Line(i)
			if id != Other {
				name = id.String()
			}
			if v == "new" {
				name = "*" + name
			}
			out = append(out, name)
		}
		return strings.Join(out, " ")
	}
	const rest = "From To Call-ID CSeq X-One Content-Length"
	for _, tt := range []struct {
		name string
		edit func(*Edits)
		want string
	}{
		{"Via on top", func(e *Edits) { e.Prepend(HVia, "new") }, "*Via Via X-One Route x-tWo Via Route " + rest},
		{"Route before the first", func(e *Edits) { e.Prepend(HRoute, "new") }, "Via X-One *Route Route x-tWo Via Route " + rest},
		{"Path behind the Vias", func(e *Edits) { e.Prepend(HPath, "new") }, "Via X-One Route x-tWo Via *Path Route " + rest},
		{"Route behind the last", func(e *Edits) { e.Add(HRoute, "new") }, "Via X-One Route x-tWo Via Route *Route " + rest},
		{"unknown name behind the last", func(e *Edits) { e.AddName("x-two", "new") }, "Via X-One Route x-tWo *x-two Via Route " + rest},
		{"Reason at the end", func(e *Edits) { e.Add(HReason, "new") }, "Via X-One Route x-tWo Via Route " + rest + " *Reason"},
		{"the later Prepend is above", func(e *Edits) { e.Prepend(HVia, "x"); e.Prepend(HVia, "new") }, "*Via Via Via X-One Route x-tWo Via Route " + rest},
	} {
		if got := names(tt.edit); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestStatusEdit(t *testing.T) {
	m := mustParse(t, "SIP/2.0 503 Busy\r\nVia: x\r\nl: 0\r\n\r\n")
	var e Edits
	e.Status(500, "")
	if got := string(m.AppendTo(nil, &e)); got != "SIP/2.0 500 Server Internal Error\r\nVia: x\r\nl: 0\r\n\r\n" {
		t.Errorf("%q", got)
	}
	e.Status(600, "a\r\nb")
	if got := string(m.AppendTo(nil, &e)); !strings.HasPrefix(got, "SIP/2.0 600 a  b\r\n") {
		t.Errorf("%q", got)
	}
}

func TestEnsureLength(t *testing.T) {
	m := mustParse(t, "MESSAGE sip:h SIP/2.0\r\nVia: x\r\n\r\nbody")
	var e Edits
	e.EnsureLength()
	if got := string(m.AppendTo(nil, &e)); got != "MESSAGE sip:h SIP/2.0\r\nVia: x\r\nContent-Length: 4\r\n\r\nbody" {
		t.Errorf("%q", got)
	}
}

// A value that came from outside cannot begin a line of its own.
func TestEditValuesCannotAddLines(t *testing.T) {
	m := mustParse(t, tortuous)
	for _, v := range []string{"a\r\nEvil: 1", "a\nEvil: 1", "a\rEvil: 1", "a\r\n\r\nEvil: 1", "a\r\n", "\r\n\r\n", "a\r\n ", "a\r\n \r\n\r\nEvil: 1", "\n Evil: 1"} {
		for name, edit := range map[string]func(*Edits){
			"Set": func(e *Edits) { e.Set(HSubject, v) }, "Add": func(e *Edits) { e.Add(HRoute, v) }, "Prepend": func(e *Edits) { e.Prepend(HVia, v) },
			"AddName": func(e *Edits) { e.AddName("X-New", v) },
		} {
			var e Edits
			edit(&e)
			a, err := m.Apply(&e)
			if err != nil {
				t.Fatalf("%s %q: %v", name, v, err)
			}
			if a.Len() != m.Len()+1 || a.GetName("Evil") != "" || a.Body() != "hi" {
				t.Errorf("%s of %q makes %q", name, v, a.Raw())
			}
		}
	}
	// Folding that was in a received value may stay.
	var e Edits
	e.Set(HSubject, "a\r\n b")
	if got := string(m.AppendTo(nil, &e)); !strings.Contains(got, "Subject: a\r\n b\r\n") {
		t.Errorf("%q", got)
	}
}

func TestCloneIsIndependent(t *testing.T) {
	m := mustParse(t, tortuous)
	var e Edits
	e.Add(HReason, "base")
	a, b := e.Clone(), e.Clone()
	a.Add(HReason, "a")
	e.Add(HReason, "e")
	b.Add(HReason, "b")
	for want, e := range map[string]*Edits{"base a": &a, "base b": &b, "base e": &e} {
		got, err := m.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(slices.Collect(got.Values(HReason)), " "); s != want {
			t.Errorf("got %s, want %s", s, want)
		}
	}
}

// Generators of messages and edits for the properties below.

var genLine = rapid.Custom(func(t *rapid.T) string {
	name := rapid.SampledFrom([]string{"Via", "v", "VIA", "Route", "route", "Record-Route", "f", "To", "X-Unknown", "x-other", "Supported", "k", "Subject", "s", "Contact", "m"}).Draw(t, "name")
	colon := rapid.SampledFrom([]string{":", ": ", " :", "\t : ", ":\r\n "}).Draw(t, "colon")
	values := rapid.SliceOfN(rapid.SampledFrom([]string{"<sip:a,b;lr>", "\"q,\\\"\" <sip:c>", "SIP/2.0/UDP h (c,d)", "token", "", "a  b", ";;,"}), 1, 4).Draw(t, "values")
	sep := rapid.SampledFrom([]string{",", ", ", " ,\r\n\t", ",,"}).Draw(t, "sep")
	return name + colon + strings.Join(values, sep) + rapid.SampledFrom([]string{"\r\n", " \r\n", "\r\n \r\n"}).Draw(t, "end")
})

var genMessage = rapid.Custom(func(t *rapid.T) string {
	start := rapid.SampledFrom([]string{"INVITE sip:a@b SIP/2.0\r\n", "SIP/2.0 200 OK\r\n", "SIP/2.0 100 \r\n", "odd  tel:1  SIP/2.0 \r\n"}).Draw(t, "start")
	lines := rapid.SliceOfN(genLine, 0, 60).Draw(t, "lines")
	body := rapid.SampledFrom([]string{"", "v=0\r\n", "\r\n\r\nx: y\r\n\r\n"}).Draw(t, "body")
	length := "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	at := rapid.IntRange(0, len(lines)).Draw(t, "at")
	lines = slices.Insert(lines, at, length)
	return start + strings.Join(lines, "") + "\r\n" + body
})

type genOp struct {
	id    ID // what it may touch; Other: everything
	name  string
	apply func(*Edits)
}

// genEdit draws one edit that does not name a line by its number.
var genEdit = rapid.Custom(func(t *rapid.T) genOp {
	id := rapid.SampledFrom([]ID{HVia, HRoute, HRecordRoute, HFrom, HSupported, HSubject, HContact, HPath}).Draw(t, "id")
	name := rapid.SampledFrom([]string{"x-unknown", "X-New", "k"}).Draw(t, "name")
	v := rapid.SampledFrom([]string{"<sip:n>", "a, b", "", "x\r\n y", "e\r\nvil: 1"}).Draw(t, "value")
	switch rapid.IntRange(0, 6).Draw(t, "op") {
	case 0:
		return genOp{id, "", func(e *Edits) { e.Remove(id) }}
	case 1:
		return genOp{IDOf(name), name, func(e *Edits) { e.RemoveName(name) }}
	case 2:
		return genOp{id, "", func(e *Edits) { e.Set(id, v) }}
	case 3:
		return genOp{id, "", func(e *Edits) { e.Add(id, v) }}
	case 4:
		return genOp{id, "", func(e *Edits) { e.Prepend(id, v) }}
	case 5:
		return genOp{IDOf(name), name, func(e *Edits) { e.AddName(name, v) }}
	}
	return genOp{id, "", func(e *Edits) { e.PopFirst(id) }}
})

func TestUneditedMessagesLeaveAsTheyCame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := genMessage.Draw(t, "message")
		m, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(m.AppendTo([]byte("before"), &Edits{})); got != "before"+raw {
			t.Fatalf("%q leaves as %q", raw, got)
		}
	})
}

// An edit of one header leaves every other line, known or not, octet by octet and
// in order.
func TestEditsTouchNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := Parse(genMessage.Draw(t, "message"))
		if err != nil {
			t.Fatal(err)
		}
		op := genEdit.Draw(t, "edit")
		var e Edits
		op.apply(&e)
		a, err := m.Apply(&e)
		if err != nil {
			t.Fatal(err)
		}
		others := func(m *Message) (out []string) {
			for i := range m.Len() {
				id, name, _ := m.Line(i)
				if id != op.id || id == Other && !equalFold(name, op.name) {
					out = append(out, m.RawLine(i))
				}
			}
			return append(out, m.StartLine(), m.Body())
		}
		if d := cmp.Diff(others(m), others(a)); d != "" {
			t.Fatal(d)
		}
	})
}

// Edits carried out together are the same as one after the other.
func TestEditsCompose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := Parse(genMessage.Draw(t, "message"))
		if err != nil {
			t.Fatal(err)
		}
		var all Edits
		step := m
		for _, op := range rapid.SliceOfN(genEdit, 1, 8).Draw(t, "edits") {
			op.apply(&all)
			var one Edits
			op.apply(&one)
			if step, err = step.Apply(&one); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(step.Raw(), string(m.AppendTo(nil, &all))); d != "" {
			t.Fatal(d)
		}
	})
}

// PopFirst drops what Values yields first.
func TestPopFirstDropsTheFirstValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := Parse(genMessage.Draw(t, "message"))
		if err != nil {
			t.Fatal(err)
		}
		id := rapid.SampledFrom([]ID{HVia, HRoute, HRecordRoute, HSupported, HContact}).Draw(t, "id")
		var e Edits
		e.PopFirst(id)
		a, err := m.Apply(&e)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Collect(m.Values(id))
		if len(want) > 0 {
			want = want[1:]
		}
		if d := cmp.Diff(want, slices.Collect(a.Values(id))); d != "" && len(want) > 0 {
			t.Fatal(d)
		}
	})
}
