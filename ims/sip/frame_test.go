package sip

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestFrame(t *testing.T) {
	const msg = "MESSAGE sip:h SIP/2.0\r\nl: 2\r\n\r\nhi"
	for _, tt := range []struct {
		name, in string
		n, skip  int
	}{
		{"nothing", "", 0, 0},
		{"a message", msg, len(msg), 0},
		{"two messages", msg + msg, len(msg), 0},
		{"body missing in part", msg[:len(msg)-1], 0, 0},
		{"header missing in part", msg[:30], 0, 0},
		{"start line missing in part", msg[:5], 0, 0},
		{"a line end before the message", "\r\n" + msg, len(msg), 2},
		{"a ping", "\r\n\r\n", 0, 4},
		{"half a ping", "\r\n", 0, 0},
		{"a quarter of a ping", "\r", 0, 0},
		{"a ping and a half", "\r\n\r\n\r\n", 0, 4},
		{"a ping and a quarter", "\r\n\r\n\r", 0, 4},
		{"a ping before a message", "\r\n\r\n" + msg, len(msg), 4},
		{"Content-Length over a fold", "A sip:h SIP/2.0\r\nContent-Length :\r\n 2\r\n\r\nhi", 43, 0},
		{"the same Content-Length twice", "A sip:h SIP/2.0\r\nl:2\r\nl: 02\r\n\r\nhi", 33, 0},
		{"a line that looks like it, folded", "A sip:h SIP/2.0\r\nX: y\r\n l: 9\r\nl: 0\r\n\r\n", 38, 0},
		{"a response", "SIP/2.0 200 OK\r\nl: 0\r\n\r\n", 24, 0},
		{"another version, for its 505", "A sip:h SIP/7.0\r\nl: 0\r\n\r\n", 25, 0},
	} {
		n, skip, err := Frame([]byte(tt.in))
		if err != nil || n != tt.n || skip != tt.skip {
			t.Errorf("%s: %d, %d, %v", tt.name, n, skip, err)
		}
	}
	if Pings(4) != 1 || Pings(2) != 0 || Pings(10) != 2 {
		t.Error("Pings")
	}
}

func TestFrameErrors(t *testing.T) {
	for _, tt := range []struct {
		name, in  string
		status, n int
	}{
		{"no Content-Length", "A sip:h SIP/2.0\r\nVia: x\r\n\r\n", 400, 27},
		{"Content-Length is no number", "A sip:h SIP/2.0\r\nl: x\r\n\r\n", 400, 25},
		{"negative", "A sip:h SIP/2.0\r\nl: -1\r\n\r\n", 400, 26},
		{"two that differ", "A sip:h SIP/2.0\r\nl: 1\r\nContent-length: 2\r\n\r\n", 400, 44},
		{"above the bound", "A sip:h SIP/2.0\r\nl: 65536\r\n\r\n", 400, 29},
		{"header and body above the bound", "A sip:h SIP/2.0\r\nl: 65535\r\n\r\n", 513, 29},
		{"an endless start line", "A sip:" + strings.Repeat("x", MaxHeader), 513, 0},
		{"an endless header", "A sip:h SIP/2.0\r\n" + strings.Repeat("X: y\r\n", MaxHeader/6+1), 513, 0},
		{"an endless header line", "A sip:h SIP/2.0\r\nX: " + strings.Repeat("y", MaxHeader), 513, 0},
		{"an endless folded line", "A sip:h SIP/2.0\r\nX: y\r\n " + strings.Repeat("y", MaxHeader), 513, 0},
		{"HTTP", "GET / HTTP/1.1\r\n", 0, 0},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", 0, 0},
		{"a lone LF", "\nA sip:h SIP/2.0\r\nl: 0\r\n\r\n", 0, 0},
	} {
		n, _, err := Frame([]byte(tt.in))
		var fe *FrameError
		if !errors.As(err, &fe) || fe.Status != tt.status || n != tt.n || fe.Error() == "" {
			t.Errorf("%s: %d, %v", tt.name, n, err)
		}
	}
}

// What is too large is what a stream cannot be cut at.
func TestTooLarge(t *testing.T) {
	const head, end = "A sip:h SIP/2.0\r\nX: ", "\r\n\r\n"
	of := func(header, body int) string {
		length := fmt.Sprintf("\r\nl: %d", body)
		return head + strings.Repeat("y", header-len(head)-len(length)-len(end)) + length + end + strings.Repeat("z", body)
	}
	for _, tt := range []struct {
		name, in string
		want     bool
	}{
		{"short", of(100, 10), false},
		{"a header as long as it may be", of(MaxHeader+1, 100), false},
		{"a longer one", of(MaxHeader+2, 0), true},
		{"a long body", of(1000, MaxMessage-1000), false},
		{"a longer one", of(1000, MaxMessage-999), true},
		{"a header beyond any", of(2*MaxMessage, 0), true},
	} {
		data := []byte(tt.in)
		if got := TooLarge(data); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		n, _, err := Frame(data)
		if framed := err == nil && n == len(data); framed == tt.want {
			t.Errorf("%s: Frame returns %d of %d, %v", tt.name, n, len(data), err)
		}
	}
}

// However a stream is cut into segments, the same messages and pings come out.
func TestFrameDoesNotDependOnSegments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []string
		pings := 0
		for range rapid.IntRange(1, 6).Draw(t, "messages") {
			if rapid.Bool().Draw(t, "ping") {
				stream = append(stream, "\r\n\r\n"...)
				pings++
			}
			msg := genMessage.Draw(t, "message")
			stream = append(stream, msg...)
			want = append(want, msg)
		}
		var buf []byte
		var got []string
		for len(stream) > 0 {
			n := rapid.IntRange(1, len(stream)).Draw(t, "segment")
			buf = append(buf, stream[:n]...)
			stream = stream[n:]
			for {
				n, skip, err := Frame(buf)
				if err != nil {
					t.Fatal(err)
				}
				pings -= Pings(skip)
				got = append(got, string(buf[skip:skip+n]))
				buf = buf[skip+n:]
				if n == 0 {
					got = got[:len(got)-1]
					break
				}
			}
		}
		if d := cmp.Diff(want, got); d != "" || pings != 0 {
			t.Fatalf("pings off by %d; %s", pings, d)
		}
	})
}
