package sip

import "testing"

func TestFirstEdited(t *testing.T) {
	const raw = "MESSAGE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nRoute: <sip:a;lr>, <sip:b;lr>\r\nRoute: <sip:c;lr>\r\n" +
		"From: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
	m, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		edit func(*Edits)
		want string
	}{
		{"none", func(*Edits) {}, "<sip:a;lr>"},
		{"another header", func(e *Edits) { e.Set(HMaxForwards, "9") }, "<sip:a;lr>"},
		{"popped", func(e *Edits) { e.PopFirst(HRoute) }, "<sip:b;lr>"},
		{"popped to the next line", func(e *Edits) { e.PopFirst(HRoute); e.PopFirst(HRoute) }, "<sip:c;lr>"},
		{"popped empty", func(e *Edits) { e.PopFirst(HRoute); e.PopFirst(HRoute); e.PopFirst(HRoute) }, ""},
		{"prepended", func(e *Edits) { e.PopFirst(HRoute); e.Prepend(HRoute, "<sip:x;lr>, <sip:y;lr>") }, "<sip:x;lr>"},
		{"removed", func(e *Edits) { e.Remove(HRoute) }, ""},
		{"set", func(e *Edits) { e.Set(HRoute, "<sip:s;lr>") }, "<sip:s;lr>"},
		{"line removed", func(e *Edits) { e.RemoveLine(m.Find(HRoute, 0)) }, "<sip:c;lr>"},
	} {
		var e Edits
		tt.edit(&e)
		if got := m.FirstEdited(HRoute, &e); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		a, err := m.Apply(&e)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.First(HRoute); got != tt.want {
			t.Errorf("%s: %q after Apply, want %q", tt.name, got, tt.want)
		}
	}
}
