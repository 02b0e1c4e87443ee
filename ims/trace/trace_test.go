package trace

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryReaderGetsEveryEventInOrder(t *testing.T) {
	var s Stream
	if s.On() {
		t.Fatal("a stream without readers is on")
	}
	a, b := s.Subscribe(8), s.Subscribe(8)
	n := Node{Stream: &s, Name: "pcscf"}
	for _, text := range []string{"one", "two"} {
		n.Emit(Event{Kind: Decision, Text: text})
	}
	a.Close()
	n.Emit(Event{Kind: Decision, Text: "three"})
	b.Close()
	if s.On() {
		t.Error("the stream is on after its last reader left")
	}
	texts := func(u *Subscription) (out []string) {
		for e := range u.C() {
			if e.Node != "pcscf" || e.Time.IsZero() {
				t.Errorf("event %q: node %q, time %v", e.Text, e.Node, e.Time)
			}
			out = append(out, e.Text)
		}
		return out
	}
	if d := cmp.Diff([]string{"one", "two"}, texts(a)); d != "" {
		t.Error("first reader:", d)
	}
	if d := cmp.Diff([]string{"one", "two", "three"}, texts(b)); d != "" {
		t.Error("second reader:", d)
	}
}

func TestASlowReaderLosesEventsAndHoldsUpNobody(t *testing.T) {
	var s Stream
	slow := s.Subscribe(1)
	defer slow.Close()
	for range 5 {
		s.Emit(Event{Kind: State})
	}
	if slow.Lost() != 4 {
		t.Errorf("lost %d events, want 4", slow.Lost())
	}
}

func TestOffCostsNoAllocation(t *testing.T) {
	var off *Stream
	n := Node{Stream: off, Name: "x"}
	if a := testing.AllocsPerRun(100, func() { n.Emit(Event{Kind: SIP}) }); a != 0 {
		t.Errorf("emitting to nobody allocates %v times", a)
	}
}

func TestNDJSONRoundTrip(t *testing.T) {
	in := []Event{
		{Node: "hss", Kind: Diameter, Dir: Out, Raw: []byte{1, 0, 0, 20}, Peer: "scscf.example"},
		{Node: "scscf", Kind: Failure, IMPI: "a@b", Text: "line\nbreak", Next: "check K"},
	}
	var b bytes.Buffer
	for _, e := range in {
		if err := WriteNDJSON(&b, e); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(b.String(), "\n"); got != len(in) {
		t.Errorf("%d lines for %d events", got, len(in))
	}
	var out []Event
	if err := ReadNDJSON(&b, func(e Event) bool { out = append(out, e); return true }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, out); d != "" {
		t.Error(d)
	}
	if err := ReadNDJSON(strings.NewReader("{}\nnot json\n"), func(Event) bool { return true }); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error %v does not name line 2", err)
	}
}

func TestRedactSIP(t *testing.T) {
	const head = "SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\""
	tests := []struct{ name, in, want string }{
		{"quoted", head + `, ck="0011", ik="2233"` + "\r\n", head + `, ck="xxxx", ik="xxxx"` + "\r\n"},
		{"tokens, no space, capitals", head + ",CK=0011,Ik=2233\r\n", head + ",CK=xxxx,Ik=xxxx\r\n"},
		{"folded", head + ",\r\n ik=\"ab\"\r\n", head + ",\r\n ik=\"xx\"\r\n"},
		{"unfinished quote", head + `, ik="ab`, head + `, ik="xx`},
		{"other names that end alike", head + ", click=1, thik=2\r\n", head + ", click=1, thik=2\r\n"},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := []byte(tt.in)
			if got := string(RedactSIP(in)); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if string(in) != tt.in {
				t.Error("the caller's message was changed")
			}
		})
	}
}

func avp(code uint32, vendor bool, data ...byte) []byte {
	head := 8
	if vendor {
		head = 12
	}
	b := make([]byte, head)
	binary.BigEndian.PutUint32(b, code)
	binary.BigEndian.PutUint32(b[4:], uint32(head+len(data)))
	if vendor {
		b[4] = 0xc0
		binary.BigEndian.PutUint32(b[8:], 10415)
	}
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestRedactDiameter(t *testing.T) {
	secret := []byte("SECRETS!")
	item := avp(612, true, bytes.Join([][]byte{
		avp(613, true, 0, 0, 0, 1), avp(609, true, []byte("challenge")...),
		avp(610, true, secret...), avp(625, true, secret...), avp(626, true, secret...),
	}, nil)...)
	msg := bytes.Join([][]byte{make([]byte, 20), avp(1, false, []byte("impi")...), item, avp(610, true, secret...)}, nil)
	got := RedactDiameter(msg)
	if bytes.Contains(got, secret) {
		t.Error("a key is still there")
	}
	if len(got) != len(msg) || !bytes.Contains(got, []byte("challenge")) || !bytes.Contains(got, []byte("impi")) {
		t.Error("more than the keys was changed")
	}
	if !bytes.Contains(msg, secret) {
		t.Error("the caller's message was changed")
	}
	for cut := 21; cut < len(msg); cut++ {
		if out := RedactDiameter(msg[:cut]); bytes.Contains(out, secret) {
			t.Fatalf("a message cut after %d octets shows a key", cut)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte("SIP/2.0 401 U\r\nWWW-Authenticate: Digest ck=\"00\", ik=\"11\"\r\n\r\n"))
	f.Add(append(make([]byte, 20), avp(612, true, avp(610, true, 1, 2, 3)...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(RedactSIP(b)) != len(b) || len(RedactDiameter(b)) != len(b) {
			t.Error("the length changed")
		}
	})
}
