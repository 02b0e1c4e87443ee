package sip

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestIndexRefusesWhatIsNoMessage(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     error
	}{
		{"nothing", "", ErrEmpty},
		{"a keep-alive", "\r\n\r\n", ErrEmpty},
		{"NUL keep-alive", "\x00\x00\x00\x00", ErrStartLine},
		{"HTTP", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", ErrStartLine},
		{"a word", "hello\r\n\r\n", ErrStartLine},
		{"no URI", "INVITE SIP/2.0\r\n\r\n", ErrStartLine},
		{"no method", " sip:a SIP/2.0\r\n\r\n", ErrStartLine},
		{"too long", "A sip:a SIP/2.0\r\nX: " + strings.Repeat("x", MaxMessage) + "\r\n\r\n", ErrTooLarge},
		{"too many lines", "A sip:a SIP/2.0\r\n" + strings.Repeat("X: y\r\n", MaxLines+1) + "\r\n", ErrTooMany},
	} {
		if m, err := Parse(tt.in); !errors.Is(err, tt.want) || m != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if m := mustParse(t, "A sip:a SIP/2.0\r\n"+strings.Repeat("X: y\r\n", MaxLines)+"\r\n"); m.Len() != MaxLines {
		t.Errorf("%d lines", m.Len())
	}
	if _, err := Parse("A sip:a SIP/2.0\r\nX:" + strings.Repeat("x", MaxMessage-23) + "\r\n\r\n"); err != nil {
		t.Errorf("a message of just the allowed size: %v", err)
	}
}

func TestIndexSkipsLineEndsBeforeTheMessage(t *testing.T) { // RFC 3261 §7.5
	if m := mustParse(t, "\r\n\r\n"+sampleRegister); m.Raw() != sampleRegister {
		t.Errorf("%q", m.Raw())
	}
}

func TestIndexCutsWhatFollowsTheBody(t *testing.T) { // RFC 3261 §18.3
	if m := mustParse(t, tortuous+" and more"); m.Body() != "hi" || m.Raw() != tortuous {
		t.Errorf("%q", m.Body())
	}
	if m := mustParse(t, "A sip:a SIP/2.0\r\n\r\nall of it"); m.Body() != "all of it" {
		t.Errorf("without Content-Length: %q", m.Body())
	}
}

func TestIndexLines(t *testing.T) {
	m := mustParse(t, tortuous)
	want := []string{
		"Via|v|SIP/2.0/UDP a;branch=z9hG4bK1 ,SIP/2.0/TCP b;branch=z9hG4bK2",
		"other header|X-One|1",
		"Route|ROUTE|<sip:r1;lr>, <sip:r2;lr>",
		"other header|x-tWo|spaced",
		"Via|Via|SIP/2.0/UDP c;branch=z9hG4bK3",
		"Route|route|<sip:r3;lr>",
		"From|f|<sip:a@h>;tag=1",
		"To|t|<sip:b@h>",
		"Call-ID|i|id@h",
		"CSeq|cseq|7 MESSAGE",
		"other header|X-One|2",
		"Content-Length|l|2",
	}
	if m.Len() != len(want) {
		t.Fatalf("%d lines", m.Len())
	}
	for i, w := range want {
		id, name, value := m.Line(i)
		if got := fmt.Sprintf("%v|%s|%s", id, name, value); got != w {
			t.Errorf("line %d: %s, want %s", i, got, w)
		}
	}
}

// A Message can be used again: nothing of the old one is left.
func TestIndexAnew(t *testing.T) {
	var m Message
	for range 2 {
		if err := m.Index(sampleInvite); err != nil {
			t.Fatal(err)
		}
		if err := m.Index("SIP/2.0 200 OK\r\nl: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if m.IsRequest() || m.RequestURI() != "" || m.Has(HRoute) || m.Len() != 1 {
			t.Fatalf("left over: %v %q %d", m.IsRequest(), m.RequestURI(), m.Len())
		}
		if err := m.Index("nonsense"); err == nil || m.Len() != 0 || m.Raw() != "" {
			t.Fatalf("%v %d", err, m.Len())
		}
	}
}

func TestIDOf(t *testing.T) {
	seen := map[string]bool{}
	for id := Other + 1; id < idCount; id++ {
		name := id.String()
		if seen[name] || name == "" {
			t.Fatalf("%d: %q twice or empty", id, name)
		}
		seen[name] = true
		for _, s := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := IDOf(s); got != id {
				t.Errorf("%s is %v", s, got)
			}
		}
		for _, s := range []string{name + "x", "x" + name, name[:len(name)-1], name[:1] + "\xff" + name[2:]} {
			if got := IDOf(s); got == id && len(s) > 1 {
				t.Errorf("%q is %v", s, got)
			}
		}
	}
	for s, want := range map[string]ID{
		"v": HVia, "V": HVia, "f": HFrom, "t": HTo, "i": HCallID, "m": HContact, "l": HContentLength, "c": HContentType, "e": HContentEncoding,
		"k": HSupported, "s": HSubject, "a": HAcceptContact, "u": HAllowEvents, "o": HEvent, "r": HReferTo, "b": HReferredBy,
		"j": HRejectContact, "d": HRequestDisposition, "x": HSessionExpires, "y": HIdentity, "n": HIdentityInfo,
		"": Other, "z": Other, "1": Other, "[": Other, "{": Other, "X-Unknown": Other,
	} {
		if got := IDOf(s); got != want {
			t.Errorf("%q is %v, want %v", s, got, want)
		}
	}
}
