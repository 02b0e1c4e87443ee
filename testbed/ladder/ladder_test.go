package ladder

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/ims/trace"
)

const (
	phone  = "127.0.0.1:40001"
	gm     = "127.0.0.1:5060"
	mw     = "127.0.0.1:5070"
	icscf  = "127.0.0.1:5080"
	hssTCP = "127.0.0.1:50999" // the I-CSCF's own end of the connection
)

func nodes() []Node {
	return []Node{
		{Name: "ue:alice", Title: "alice"},
		{Name: "pcscf", Title: "P-CSCF", Addrs: []string{gm, mw}},
		{Name: "icscf", Title: "I-CSCF", Addrs: []string{icscf}, DiameterHost: "icscf.example"},
		{Name: "hss", Title: "HSS", DiameterHost: "hss.example"},
	}
}

func sipText(first string, headers ...string) []byte {
	return []byte(first + "\r\n" + strings.Join(headers, "\r\n") + "\r\nContent-Length: 0\r\n\r\n")
}

func register(branch string, more ...string) []byte {
	return sipText("REGISTER sip:example SIP/2.0", append([]string{
		"Via: SIP/2.0/UDP " + phone + ";branch=z9hG4bK" + branch, "From: <sip:alice@example>;tag=1", "To: <sip:alice@example>",
		"Call-ID: c1", "CSeq: 1 REGISTER", "Max-Forwards: 70"}, more...)...)
}

func reply(code, branch string, more ...string) []byte {
	return sipText("SIP/2.0 "+code, append([]string{
		"Via: SIP/2.0/UDP " + phone + ";branch=z9hG4bK" + branch, "From: <sip:alice@example>;tag=1", "To: <sip:alice@example>;tag=2",
		"Call-ID: c1", "CSeq: 1 REGISTER"}, more...)...)
}

func diam(code uint32, request bool, avps ...byte) []byte {
	b := make([]byte, 20, 20+len(avps))
	binary.BigEndian.PutUint32(b, 1<<24|uint32(20+len(avps)))
	binary.BigEndian.PutUint32(b[4:], code)
	if request {
		b[4] = 0x80
	}
	return append(b, avps...)
}

func avp32(code, v uint32) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint32(b, code)
	binary.BigEndian.PutUint32(b[4:], 12)
	binary.BigEndian.PutUint32(b[8:], v)
	return b
}

func experimental(v uint32) []byte {
	b := append(make([]byte, 8), append(avp32(266, 10415), avp32(298, v)...)...)
	binary.BigEndian.PutUint32(b, 297)
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)))
	return b
}

// TestLadder draws a registration that fails, as a terminal of 150 columns shows
// it, and compares with testdata/registration.txt.
func TestLadder(t *testing.T) {
	ms := func(n int) time.Time { return time.UnixMilli(1_000_000 + int64(n)) }
	in := func(at int, node, local, remote string, raw []byte) trace.Event {
		return trace.Event{Time: ms(at), Node: node, Kind: trace.SIP, Dir: trace.In, Proto: "udp", Local: local, Remote: remote, Raw: raw}
	}
	out := func(at int, node, local, remote string, raw []byte) trace.Event {
		e := in(at, node, local, remote, raw)
		e.Dir = trace.Out
		return e
	}
	cx := func(at int, node, peer string, raw []byte) trace.Event {
		return trace.Event{Time: ms(at), Node: node, Kind: trace.Diameter, Dir: trace.In, Peer: peer, Local: "127.0.0.1:3868", Remote: hssTCP, Raw: raw}
	}
	events := []trace.Event{
		out(0, "ue:alice", phone, gm, register("a")),
		in(1, "pcscf", gm, phone, register("a")),
		in(2, "icscf", icscf, mw, register("b", "Path: <sip:t@"+mw+";lr>")),
		cx(3, "hss", "icscf.example", diam(300, true)),
		cx(4, "icscf", "hss.example", diam(300, false, experimental(2001)...)),
		in(1001, "pcscf", gm, phone, register("a")),
		in(1005, "pcscf", mw, icscf, reply("401 Unauthorized", "b", `WWW-Authenticate: Digest realm="example", nonce="n", ck="00", ik="00"`)),
		in(1006, "ue:alice", phone, gm, reply("401 Unauthorized", "a", `WWW-Authenticate: Digest realm="example", nonce="n"`)),
		in(1010, "pcscf", gm, phone, register("c", `Authorization: Digest username="alice@example", realm="example", nonce="n", uri="sip:example", response=""`)),
		{Time: ms(1011), Node: "pcscf", Kind: trace.Failure, Text: "The UE reported MAC failure: K or OPc of alice@example differs between the SIM and the HSS.", Clause: "TS 33.203 6.1.2.2", Next: "Compare opc in subscribers.yaml with the card."},
		in(1012, "ue:alice", phone, gm, reply("403 Forbidden", "c", `Warning: 399 pcscf "MAC failure reported by the UE"`)),
		cx(1013, "hss", "icscf.example", diam(302, true)),
		cx(1014, "icscf", "hss.example", diam(302, false, experimental(5001)...)),
		out(1015, "icscf", icscf, "127.0.0.9:5060", sipText("MESSAGE sip:bob@example SIP/2.0", "Via: SIP/2.0/UDP "+icscf+";branch=z9hG4bKq", "Call-ID: m", "CSeq: 1 MESSAGE", "From: <sip:a@x>;tag=1", "To: <sip:bob@example>")),
	}
	var b bytes.Buffer
	l := New(&b, Options{Nodes: nodes(), Width: 150})
	for _, e := range events {
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "registration.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("the drawing differs (UPDATE_GOLDEN=1 writes it anew):\n%s\n%s", d, &b)
	}
}

func TestAMessageIsDrawnOnce(t *testing.T) {
	var b bytes.Buffer
	l := New(&b, Options{Nodes: nodes()})
	for _, e := range []trace.Event{
		{Node: "pcscf", Kind: trace.SIP, Dir: trace.Out, Local: mw, Remote: icscf, Raw: register("x")},
		{Node: "icscf", Kind: trace.SIP, Dir: trace.In, Local: icscf, Remote: mw, Raw: register("x")},
	} {
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(b.String(), "REGISTER"); n != 1 {
		t.Errorf("drawn %d times:\n%s", n, &b)
	}
}

// TestNodesAreRecognised: nothing is known of addresses beforehand. What goes to
// a node that tells its own events makes no column for its address; what goes to
// a stranger does, once.
func TestNodesAreRecognised(t *testing.T) {
	var b bytes.Buffer
	l := New(&b, Options{})
	at := func(n int) time.Time { return time.UnixMilli(int64(1000 + n)) }
	const stranger = "127.0.0.9:5060"
	for i, e := range []trace.Event{
		{Node: "pcscf", Dir: trace.Out, Local: mw, Remote: icscf},
		{Node: "icscf", Dir: trace.In, Local: icscf, Remote: mw},
		{Node: "pcscf", Dir: trace.Out, Local: gm, Remote: stranger},
		{Node: "pcscf", Dir: trace.In, Local: gm, Remote: stranger},
		{Node: "pcscf", Dir: trace.Out, Local: gm, Remote: stranger},
	} {
		e.Kind, e.Time, e.Raw = trace.SIP, at(i), register(strings.Repeat("x", i+1))
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"pcscf", "icscf", stranger}, l.cols); d != "" {
		t.Error(d)
	}
	if n := strings.Count(b.String(), "REGISTER"); n != 4 {
		t.Errorf("%d arrows for 4 messages:\n%s", n, &b)
	}
	if !strings.Contains(b.String(), "asks to register") {
		t.Errorf("a stranger who talks to the P-CSCF is no phone:\n%s", &b)
	}
}

func TestColumnsAreBounded(t *testing.T) {
	var b bytes.Buffer
	l := New(&b, Options{Nodes: nodes()})
	for i := range 100 {
		e := trace.Event{Node: "pcscf", Kind: trace.SIP, Dir: trace.In, Local: gm, Remote: "127.0.0.1:" + string(rune('a'+i)), Raw: register("x")}
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.cols) > maxColumns {
		t.Errorf("%d columns", len(l.cols))
	}
}

func TestDiameterResults(t *testing.T) {
	tests := []struct {
		name   string
		raw    []byte
		label  string
		failed bool
	}{
		{"base success", diam(303, false, avp32(268, 2001)...), "MAA 2001", false},
		{"first registration", diam(300, false, experimental(2001)...), "UAA 2001", false},
		{"unknown user", diam(300, false, experimental(5001)...), "UAA 5001", true},
		{"no result", diam(301, false), "SAA", true},
		{"cut AVP", diam(301, false, 0, 0, 1, 12, 0, 0, 0, 99), "SAA", true},
		{"not Cx", diam(999, true), "cmd 999", false},
		{"short", []byte{1}, "?", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := describeDiameter(tt.raw)
			if m.label != tt.label || m.failed != tt.failed {
				t.Errorf("label %q, failed %v", m.label, m.failed)
			}
		})
	}
}

func FuzzLadder(f *testing.F) {
	f.Add(register("a"), true)
	f.Add(diam(300, false, experimental(5001)...), false)
	f.Fuzz(func(t *testing.T, raw []byte, isSIP bool) {
		kind := trace.Diameter
		if isSIP {
			kind = trace.SIP
		}
		l := New(&bytes.Buffer{}, Options{Nodes: nodes(), Width: 100})
		for _, dir := range []string{trace.In, trace.Out} {
			if err := l.Write(trace.Event{Node: "pcscf", Kind: kind, Dir: dir, Local: gm, Remote: phone, Raw: raw}); err != nil {
				t.Error(err)
			}
		}
	})
}

// Somebody sets the clock back: a message that waits for its receiver is drawn all the same.
func TestTheClockIsSetBack(t *testing.T) {
	var b bytes.Buffer
	l := New(&b, Options{})
	now := time.UnixMilli(10_000_000)
	if err := l.Write(trace.Event{Time: now, Node: "pcscf", Kind: trace.SIP, Dir: trace.Out, Local: gm, Remote: phone, Raw: register("a")}); err != nil {
		t.Fatal(err)
	}
	for _, later := range []struct {
		by    time.Duration
		drawn bool
	}{{claim / 2, false}, {-time.Hour, true}} {
		if err := l.Write(trace.Event{Time: now.Add(later.by), Node: "pcscf", Kind: trace.State, Text: "something"}); err != nil {
			t.Fatal(err)
		}
		if drawn := strings.Contains(b.String(), "REGISTER"); drawn != later.drawn {
			t.Errorf("%v later the message is drawn: %v, want %v", later.by, drawn, later.drawn)
		}
	}
}
