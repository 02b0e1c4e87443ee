package scscf

import (
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// FuzzSDPLines: whatever the body, what filter criteria are shown of its SDP are
// lines of it, none twice, and not a multipart's other parts.
func FuzzSDPLines(f *testing.F) {
	f.Add("application/sdp", "v=0\r\nm=audio 1 RTP/AVP 0\r\n\r\na=x")
	f.Add(`multipart/mixed;boundary="b"`, "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\nc: text/plain\r\n\r\nno\r\n--b--")
	f.Add("multipart/mixed;boundary=b", "x\n--b\n--b\n\n--b")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		if strings.ContainsAny(contentType, "\r\n") {
			return
		}
		m, err := sip.Parse("INVITE sip:h SIP/2.0\r\nContent-Type: " + contentType + "\r\n\r\n" + body)
		if err != nil {
			return
		}
		r := &request{x: &proxy.Exchange{}}
		r.x.Req = m
		room, lines := 0, 0
		r.SDPLines(func(line string) bool {
			if line == "" || strings.Contains(line, "\n") || !strings.Contains(body, line) {
				t.Fatalf("%q is shown as a line of %q", line, body)
			}
			room += len(line) + 1
			lines++
			return true
		})
		if room > len(body)+1 {
			t.Fatalf("%d octets of lines in a body of %d", room, len(body))
		}
		if lines > 1 {
			n := 0
			r.SDPLines(func(string) bool { n++; return false })
			if n != 1 {
				t.Fatalf("%d lines after the criterion had enough", n)
			}
		}
	})
}
