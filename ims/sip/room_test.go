package sip

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// However many lines a message has, and whatever its Message has held before, the index
// is the same.
func TestIndexInAnyRoom(t *testing.T) {
	var inRoom struct {
		Message
		room Room
	}
	inRoom.Use(&inRoom.room)
	var used Message
	for _, n := range []int{0, 1, 15, 16, 17, 24, 25, 32, 33, 34, 100, MaxLines, 3} {
		var b strings.Builder
		b.WriteString("MESSAGE sip:b@h SIP/2.0\r\n")
		for i := range n {
			if i%5 == 4 {
				fmt.Fprintf(&b, "Subject: folded\r\n %d\r\n", i)
			} else {
				fmt.Fprintf(&b, "X-%d: %d\r\n", i, i)
			}
		}
		b.WriteString("\r\nbody\r\nof lines\r\n")
		raw := b.String()
		parsed, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []*Message{&inRoom.Message, &used} {
			if err := m.Index(raw); err != nil {
				t.Fatal(err)
			}
		}
		for name, m := range map[string]*Message{"Parse": parsed, "in a Room": &inRoom.Message, "used before": &used} {
			if m.Len() != n || m.Method() != "MESSAGE" || m.RequestURI() != "sip:b@h" || m.Version() != "SIP/2.0" || m.Reason() != "" || m.Body() != "body\r\nof lines\r\n" {
				t.Fatalf("%s, %d lines: %d lines, %q %q %q %q, body %q", name, n, m.Len(), m.Method(), m.RequestURI(), m.Version(), m.Reason(), m.Body())
			}
			for i := range n {
				want := fmt.Sprintf("X-%d|%d", i, i)
				if i%5 == 4 {
					want = fmt.Sprintf("Subject|folded %d", i)
				}
				if _, name, v := m.Line(i); name+"|"+v != want {
					t.Fatalf("%s, %d lines: line %d is %s|%s", name, n, i, name, v)
				}
			}
		}
	}
	// What cannot be indexed leaves nothing of itself, nor of what was before.
	for _, raw := range []string{"", "nonsense", "INVITE sip:b@h SIP/2.0\r\n" + strings.Repeat("a: b\r\n", MaxLines+1) + "\r\n"} {
		m := &inRoom.Message
		if err := m.Index(raw); err == nil || m.Len() != 0 || m.Raw() != "" || m.RequestURI() != "" || m.Version() != "" || m.Reason() != "" || m.Status() != 0 || m.Has(HSubject) {
			t.Errorf("%.20q leaves %+v, err %v", raw, m, err)
		}
	}
}

// The parts of a start line are where they are, with any white space between them.
func TestStartLineParts(t *testing.T) {
	for _, tt := range []struct{ line, method, uri, version, reason string }{
		{"INVITE sip:b@h SIP/2.0", "INVITE", "sip:b@h", "SIP/2.0", ""},
		{"INVITE   sip:b@h; lr=\"x y\"   SIP/2.0  ", "INVITE", "sip:b@h; lr=\"x y\"", "SIP/2.0", ""},
		{"INVITE\t sip:b@h SIP/7.0", "", "", "", ""},
		{"SIP/2.0 200 OK", "", "", "SIP/2.0", "OK"},
		{"SIP/2.0 200", "", "", "SIP/2.0", ""},
		{"SIP/2.0 200 ", "", "", "SIP/2.0", ""},
		{"SIP/2.0   486  Busy  Here", "", "", "SIP/2.0", " Busy  Here"},
		{"sip/2.0 183 Séance\tin progress ", "", "", "sip/2.0", "Séance\tin progress "},
	} {
		m, err := Parse(tt.line + "\r\nCSeq: 7 INVITE\r\n\r\n")
		if tt.version == "" {
			if err == nil && m.method() == "INVITE" {
				t.Errorf("%q is read as %q", tt.line, m.method())
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
			continue
		}
		if m.method() != tt.method || m.RequestURI() != tt.uri || m.Version() != tt.version || m.Reason() != tt.reason {
			t.Errorf("%q is %q, %q, %q, %q", tt.line, m.method(), m.RequestURI(), m.Version(), m.Reason())
		}
	}
}

// A message of the usual length is one allocation, no larger than its index.
func TestParseOctets(t *testing.T) {
	for _, tt := range []struct {
		lines  int
		octets uint64 // of Go's size classes
	}{{10, 384}, {16, 384}, {20, 480}, {24, 480}, {32, 576}} {
		raw := "SIP/2.0 200 OK\r\n" + strings.Repeat("X-Name: value\r\n", tt.lines) + "\r\n"
		if n := testing.AllocsPerRun(100, func() { mustParse(t, raw) }); n != 1 {
			t.Errorf("%d lines take %v allocations", tt.lines, n)
		}
		const n = 1000
		got := uint64(1 << 20)
		for range 5 { // something else may allocate meanwhile
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range n {
				mustParse(t, raw)
			}
			runtime.ReadMemStats(&after)
			got = min(got, (after.TotalAlloc-before.TotalAlloc)/n)
		}
		if got > tt.octets+8 {
			t.Errorf("%d lines take %d octets, want %d", tt.lines, got, tt.octets)
		}
	}
}
