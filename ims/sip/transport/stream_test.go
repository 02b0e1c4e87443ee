package transport

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
)

// message returns a request with a body of that length.
func message(id string, body int) string {
	return fmt.Sprintf("MESSAGE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP a.example.com;branch=z9hG4bK%s\r\n"+
		"Call-ID: %s\r\nCSeq: 1 MESSAGE\r\nContent-Length: %d\r\n\r\n%s", id, id, body, strings.Repeat("x", body))
}

// cut is what a stream made of its octets.
type cut struct {
	messages []string
	pings    int
	err      error
}

// feed gives the pieces to a stream.
func feed(pieces ...string) cut {
	var s stream
	var c cut
	for _, p := range pieces {
		for len(p) > 0 {
			n := copy(s.space(), p)
			s.fed(n)
			p = p[n:]
			for {
				raw, pings, err := s.next()
				c.pings += pings
				if err != nil {
					c.err = err
					return c
				}
				if raw == "" {
					break
				}
				c.messages = append(c.messages, raw)
			}
		}
	}
	return c
}

// pieces cuts a text into pieces of n octets.
func pieces(s string, n int) []string {
	var ps []string
	for b := range slices.Chunk([]byte(s), n) {
		ps = append(ps, string(b))
	}
	return ps
}

func TestStream(t *testing.T) {
	a, b, empty := message("a", 10), message("b", 3000), message("c", 0)
	folded := strings.Replace(a, "Content-Length: 10", "Content-Length:\r\n 10", 1)
	compact := strings.Replace(a, "Content-Length: 10", "l:10", 1)
	for _, tc := range []struct {
		name  string
		in    string
		want  []string
		pings int
		err   int // status of the FrameError, -1 for none
	}{
		{"one message", a, []string{a}, 0, -1},
		{"several in one piece", a + b + empty + a, []string{a, b, empty, a}, 0, -1},
		{"folded Content-Length", folded + a, []string{folded, a}, 0, -1},
		{"compact Content-Length", compact + a, []string{compact, a}, 0, -1},
		{"line ends before a message", "\r\n" + a + "\r\n" + b, []string{a, b}, 0, -1},
		{"pings between messages", "\r\n\r\n" + a + "\r\n\r\n\r\n\r\n" + b + "\r\n\r\n", []string{a, b}, 4, -1},
		{"a pong is no ping", a + "\r\n", []string{a}, 0, -1},
		{"no Content-Length", a + strings.Replace(a, "Content-Length: 10\r\n", "", 1), []string{a}, 0, 400},
		{"two Content-Lengths", strings.Replace(a, "Content-Length: 10", "Content-Length: 10\r\nl: 11", 1), nil, 0, 400},
		{"negative Content-Length", strings.Replace(a, "Content-Length: 10", "Content-Length: -1", 1), nil, 0, 400},
		{"header without end", "OPTIONS sip:a SIP/2.0\r\n" + strings.Repeat("X: y\r\n", sip.MaxHeader/6+1), nil, 0, 513},
		{"first line without end", strings.Repeat("x", sip.MaxHeader+2), nil, 0, 513},
		{"not SIP", "GET / HTTP/1.1\r\n", nil, 0, 0},
		{"largest body", message("d", sip.MaxMessage-200) + a, []string{message("d", sip.MaxMessage-200), a}, 0, -1},
		{"too large a body", message("d", sip.MaxMessage), nil, 0, 513},
		{"half a message", a[:len(a)-1], nil, 0, -1},
	} {
		for _, size := range []int{1, 2, 3, 7, 1460, 1 << 20} {
			t.Run(fmt.Sprintf("%s by %d", tc.name, size), func(t *testing.T) {
				got := feed(pieces(tc.in, size)...)
				if !slices.Equal(got.messages, tc.want) {
					t.Errorf("%d messages %q, want %d", len(got.messages), got.messages, len(tc.want))
				}
				if got.pings != tc.pings {
					t.Errorf("%d pings, want %d", got.pings, tc.pings)
				}
				status := -1
				if fe := (*sip.FrameError)(nil); errors.As(got.err, &fe) {
					status = fe.Status
				}
				if status != tc.err {
					t.Errorf("error %v, want status %d", got.err, tc.err)
				}
			})
		}
	}
}

// A peer that sends single octets must not make Frame read its header again for
// each of them.
func TestStreamLooksSeldom(t *testing.T) {
	var s stream
	looks := 0
	for _, c := range []byte(message("a", 5000)) {
		s.space()[0] = c
		s.fed(1)
		if probe := s; probe.ready(s.buf[s.r:s.w]) {
			looks++
		}
		if _, _, err := s.next(); err != nil {
			t.Fatal(err)
		}
	}
	if looks > 4 {
		t.Errorf("looked %d times at one message, want 4: first octet, first line, header, end", looks)
	}
}

func TestStreamGivesRoomBack(t *testing.T) {
	var s stream
	for in := message("a", 60000); len(in) > 0; {
		n := copy(s.space(), in)
		s.fed(n)
		in = in[n:]
	}
	if raw, _, err := s.next(); err != nil || len(raw) < 60000 {
		t.Fatalf("message of %d octets, error %v", len(raw), err)
	}
	if n := len(s.space()); n > streamMin {
		t.Errorf("a stream at rest keeps %d octets, want %d", n, streamMin)
	}
}

// FuzzStream: whatever the octets, the pieces they come in change nothing.
func FuzzStream(f *testing.F) {
	a, b := message("a", 10), message("b", 0)
	f.Add([]byte(a+b), []byte{1, 2, 3})
	f.Add([]byte("\r\n\r\n"+a+"\r\n"+b+"\r\n\r\n\r\n"), []byte{1})
	f.Add([]byte(a[:40]+"\r\n folded\r\n"+a), []byte{40, 1, 1, 1})
	f.Add([]byte("SIP/2.0 200 OK\nl:\n 1\n\nxSIP/2.0 100\n\n"), []byte{5, 0})
	f.Add([]byte("\r\r\n\rSIP/2.0\n\n"), []byte{1})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		whole := feed(string(in))
		var ps []string
		rest := string(in)
		for i := 0; len(rest) > 0; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				n = min(n, int(cuts[i%len(cuts)])+1)
			}
			ps = append(ps, rest[:n])
			rest = rest[n:]
		}
		got := feed(ps...)
		if !slices.Equal(got.messages, whole.messages) {
			t.Errorf("messages %q in %d pieces, %q in one", got.messages, len(ps), whole.messages)
		}
		if got.pings != whole.pings {
			t.Errorf("%d pings in pieces, %d in one", got.pings, whole.pings)
		}
		if (got.err == nil) != (whole.err == nil) {
			t.Errorf("error %v in pieces, %v in one", got.err, whole.err)
		}
	})
}
