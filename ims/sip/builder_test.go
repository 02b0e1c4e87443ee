package sip

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewRequest(t *testing.T) {
	got := string(NewRequest("MESSAGE", "sip:b@h").
		Add(HVia, "SIP/2.0/UDP a;branch=z9hG4bK1").
		Add(HMaxForwards, "70").
		AddName("X-New", "1").
		AddName("not a token", "2").
		Add(Other, "3").
		AddFields(Field{ID: HFrom, Value: "<sip:a@h>;tag=1"}, Field{Name: "X-Other", Value: "evil\r\nVia: x"}).
		Body("text/plain", "hello").Bytes())
	want := crlf("MESSAGE sip:b@h SIP/2.0", "Via: SIP/2.0/UDP a;branch=z9hG4bK1", "Max-Forwards: 70", "X-New: 1",
		"From: <sip:a@h>;tag=1", "X-Other: evil  Via: x", "Content-Type: text/plain", "Content-Length: 5", "") + "hello"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestNewResponse(t *testing.T) {
	const head = "v: SIP/2.0/UDP a;branch=z9hG4bK1 ,SIP/2.0/TCP b;branch=z9hG4bK2\r\nRecord-Route: <sip:p1;lr>\r\nVia: SIP/2.0/UDP c\r\nRecord-Route: <sip:p2;lr>\r\n" +
		"f: <sip:a@h>;tag=1\r\nTimestamp: 54\r\nSubject: x\r\ni: 1@h\r\n"
	for _, tt := range []struct {
		name, method, to string
		status           int
		want             []string
	}{
		{"100 has Timestamp, no tag, no Record-Route", "INVITE", "<sip:b@h>", 100,
			[]string{"SIP/2.0 100 Trying", "v|", "Via|", "f|<sip:a@h>;tag=1", "To|<sip:b@h>", "i|1@h", "CSeq|1 INVITE", "Timestamp|54", "Content-Length|0"}},
		{"180 forms a dialog", "INVITE", "<sip:b@h>", 180,
			[]string{"SIP/2.0 180 Ringing", "v|", "Via|", "Record-Route|<sip:p1;lr>", "Record-Route|<sip:p2;lr>", "f|<sip:a@h>;tag=1", "To|<sip:b@h>;tag=T", "i|1@h", "CSeq|1 INVITE", "Content-Length|0"}},
		{"a tag that is there stays", "INVITE", "<sip:b@h>;tag=2", 200,
			[]string{"SIP/2.0 200 OK", "v|", "Via|", "Record-Route|<sip:p1;lr>", "Record-Route|<sip:p2;lr>", "f|<sip:a@h>;tag=1", "To|<sip:b@h>;tag=2", "i|1@h", "CSeq|1 INVITE", "Content-Length|0"}},
		{"486 has no Record-Route", "INVITE", "<sip:b@h>", 486,
			[]string{"SIP/2.0 486 Busy Here", "v|", "Via|", "f|<sip:a@h>;tag=1", "To|<sip:b@h>;tag=T", "i|1@h", "CSeq|1 INVITE", "Content-Length|0"}},
		{"200 to MESSAGE has no Record-Route", "MESSAGE", "sip:b@h", 200,
			[]string{"SIP/2.0 200 OK", "v|", "Via|", "f|<sip:a@h>;tag=1", "To|sip:b@h;tag=T", "i|1@h", "CSeq|1 MESSAGE", "Content-Length|0"}},
		{"a semicolon that is there is the tag's", "MESSAGE", "<sip:b@h>;x=y ; ", 200,
			[]string{"SIP/2.0 200 OK", "v|", "Via|", "f|<sip:a@h>;tag=1", "To|<sip:b@h>;x=y;tag=T", "i|1@h", "CSeq|1 MESSAGE", "Content-Length|0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := mustParse(t, tt.method+" sip:b@h SIP/2.0\r\n"+head+"To: "+tt.to+"\r\nCSeq: 1 "+tt.method+"\r\n\r\n")
			m, err := NewResponse(req, tt.status, "", "T").Message()
			if err != nil {
				t.Fatal(err)
			}
			got := []string{m.StartLine()}
			for i := range m.Len() {
				id, name, v := m.Line(i)
				if id == HVia {
					v = ""
				}
				got = append(got, name+"|"+v)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(slices.Collect(req.Values(HVia)), slices.Collect(m.Values(HVia))); d != "" {
				t.Error(d)
			}
			if p := Validate(m); p != nil {
				t.Error(p)
			}
		})
	}
}

// A 400 must be possible when hardly anything can be read.
func TestNewResponseToARequestWithoutHeaders(t *testing.T) {
	req := mustParse(t, "INVITE sip:b@h SIP/2.0\r\nVia: nonsense\r\nnonsense\r\n\r\n")
	got := string(NewResponse(req, 400, "Missing From", "T").Bytes())
	if want := "SIP/2.0 400 Missing From\r\nVia: nonsense\r\nContent-Length: 0\r\n\r\n"; got != want {
		t.Errorf("%q", got)
	}
}

func TestStatusText(t *testing.T) {
	for code, want := range map[int]string{
		100: "Trying", 200: "OK", 494: "Security Agreement Required", 199: "Early Dialog Terminated", 299: "OK", 499: "Bad Request",
		150: "Session Progress", 699: "Busy Everywhere", 0: "Unknown", 700: "Unknown", -5: "Unknown",
	} {
		if got := StatusText(code); got != want {
			t.Errorf("%d is %q", code, got)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	seen := map[string]bool{}
	for range 2000 {
		for _, id := range []string{NewBranch(), NewTag(), NewCallID()} {
			if seen[id] {
				t.Fatalf("%s comes twice", id)
			}
			seen[id] = true
			if !isToken(id) {
				t.Fatalf("%q is no token", id)
			}
		}
	}
	if b := NewBranch(); !strings.HasPrefix(b, MagicCookie) || len(b) != len(MagicCookie)+24 {
		t.Errorf("branch %q", b)
	}
	if n := len(NewTag()); n != 16 {
		t.Errorf("a tag of %d letters", n)
	}
}

func TestFlow(t *testing.T) {
	for p, want := range map[Proto]string{UDP: "UDP", TCP: "TCP", TLS: "TLS", 9: "Proto(9)"} {
		if p.String() != want {
			t.Errorf("%d is %s", p, p)
		}
		if got, ok := ParseProto(strings.ToLower(want)); ok != (p < 9) || ok && got != p {
			t.Errorf("%s is read as %v, %v", want, got, ok)
		}
	}
	if UDP.Stream() || !TCP.Stream() || !TLS.Stream() {
		t.Error("Stream")
	}
	if got := (Flow{Proto: TCP, Role: RoleProtectedServer, Conn: 7}).String(); got != "protected-server TCP invalid AddrPort->invalid AddrPort#7" {
		t.Error(got)
	}
}

// What Bytes returns is the caller's: neither a later message nor what is added to the
// same Builder changes it.
func TestBytesAreTheCallers(t *testing.T) {
	long := strings.Repeat("x", len(scratch{})) // does not fit into the scratch
	for _, value := range []string{"1", long} {
		first := NewRequest("MESSAGE", "sip:b@h").AddName("X-First", value)
		got := first.Bytes()
		want := string(got)
		again := first.AddName("X-Later", "2").Body("text/plain", "more").Bytes()
		for range 4 { // whatever scratch is at hand now
			NewRequest("OPTIONS", "sip:other@h").AddName("X-Other", strings.Repeat("y", 1500)).Bytes()
		}
		if string(got) != want {
			t.Errorf("the message has changed to %.80q", got)
		}
		if s := string(again); !strings.Contains(s, "X-First: "+value+"\r\nX-Later: 2\r\n") || !strings.HasSuffix(s, "\r\n\r\nmore") {
			t.Errorf("the Builder goes on as %.80q", s)
		}
	}
}
