package transaction

import (
	"strings"
	"testing"
)

func TestDelta(t *testing.T) {
	const came = "SIP/2.0 200 OK\r\nVia: a\r\nVia: b\r\nVia: c\r\nFrom: x\r\nTo: y\r\nContact: z\r\nContent-Length: 4\r\n\r\nv=0\n"
	lines := strings.SplitAfter(came, "\n")
	without := func(n ...int) string {
		all := append([]string{}, lines...)
		for _, i := range n {
			all[i] = ""
		}
		return strings.Join(all, "")
	}
	for name, to := range map[string]string{
		"the same":               came,
		"without the first Via":  without(1),
		"without two":            without(1, 6),
		"without the end":        without(9),
		"another line":           strings.Replace(came, "To: y", "To: somebody", 1),
		"one more":               strings.Replace(came, "To: y", "X: 1\r\nTo: y", 1),
		"one more, without one":  strings.Replace(without(1), "To: y", "X: 1\r\nTo: y", 1),
		"all changed":            strings.ReplaceAll(came, "\r\n", "!\r\n"),
		"another body":           came[:len(came)-4] + "v=1\n",
		"another order":          lines[0] + lines[3] + lines[2] + lines[1] + strings.Join(lines[4:], ""),
		"nothing":                "",
		"something else of text": "hello",
		"longer":                 came + "more",
		"twice":                  came + came,
	} {
		delta := appendDelta(nil, came, []byte(to))
		got, ok := applyDelta(nil, came, delta)
		if !ok || string(got) != to {
			t.Errorf("%s: %q comes back as %q, %v", name, to, got, ok)
		}
		if name == "without the first Via" && len(delta) > 12 {
			t.Errorf("%s: takes %d octets", name, len(delta))
		}
		if name == "one more, without one" && len(delta) > 3*6+len("X: 1\r\n") {
			t.Errorf("%s: takes %d octets", name, len(delta))
		}
		for n := range len(delta) { // of another message, or cut off
			applyDelta(nil, came[:len(came)/2], delta[:n])
		}
	}
	if _, ok := applyDelta(nil, "short", appendDelta(nil, came, []byte(came))); ok {
		t.Error("a delta is applied to what is too short for it")
	}
}

func FuzzDelta(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\nd\n", []byte("\x00\x00\x01\x00\x01\x00x"))
	f.Add("SIP/2.0 200 OK\r\nVia: a\r\nVia: b\r\n\r\n", "SIP/2.0 200 OK\r\nVia: b\r\nX: y\r\n\r\n", []byte{})
	f.Fuzz(func(t *testing.T, from, to string, other []byte) {
		if len(from) > 65535 || len(to) > 65535 {
			return
		}
		got, ok := applyDelta(nil, from, appendDelta(nil, from, []byte(to)))
		if !ok || string(got) != to {
			t.Fatalf("%q comes back as %q, %v", to, got, ok)
		}
		applyDelta(nil, from, other)
	})
}
