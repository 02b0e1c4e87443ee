package transport

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/gocscf/gocscf/ims/sip"
)

const (
	streamMin = 4 << 10 // buffer of a connection on which something comes
	streamMax = sip.MaxMessage + sip.MaxHeader
)

var streamBufs = sync.Pool{New: func() any { return new([streamMin]byte) }}

// stream cuts what a connection brings into messages (RFC 3261 §18.3). The same
// octets give the same messages in whatever pieces they come.
//
// A message is looked at when it begins, when its first line is whole, when its
// header is and when it is complete, not with each piece: a peer that sends
// single octets makes no more work than one that does not.
type stream struct {
	of   *conn // that is told how buf grows; nil: nobody
	buf  []byte
	r, w int // buf[r:w] is not yet consumed

	line    bool // the first line was seen and passed
	scanned int  // so much behind r holds nothing that is waited for
	need    int  // octets of the message, once its header is whole
}

// space returns room to read into, at least a kilobyte.
func (s *stream) space() []byte {
	const least = 1 << 10
	if s.r == s.w {
		s.r, s.w = 0, 0
		if cap(s.buf) > 4*streamMin {
			s.buf = nil // a long message came by; do not keep its room for ever
		}
	}
	if s.buf == nil {
		s.buf = streamBufs.Get().(*[streamMin]byte)[:]
	}
	if len(s.buf)-s.w < least && s.r > 0 {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	if len(s.buf)-s.w < least {
		grown := make([]byte, min(2*len(s.buf), streamMax))
		s.w = copy(grown, s.buf[s.r:s.w])
		s.r = 0
		s.buf = grown
		if s.of != nil {
			s.of.holds(s.grown())
		}
	}
	return s.buf[s.w:]
}

// grown is the length of a buffer that is longer than each connection's first.
func (s *stream) grown() int {
	if len(s.buf) > streamMin {
		return len(s.buf)
	}
	return 0
}

// fed says that n octets were read into space.
func (s *stream) fed(n int) { s.w += n }

// rest gives the buffer back where nothing is in it, and reports whether.
func (s *stream) rest() bool {
	if s.r != s.w {
		return false
	}
	if len(s.buf) == streamMin {
		streamBufs.Put((*[streamMin]byte)(s.buf))
	}
	s.buf, s.r, s.w = nil, 0, 0
	return true
}

// started reports whether a message has begun and is not complete. Line ends
// alone are none.
func (s *stream) started() bool {
	for _, c := range s.buf[s.r:s.w] {
		if c != '\r' && c != '\n' {
			return true
		}
	}
	return false
}

// next returns the next whole message, "" when more must be read, and how many
// keep-alive pings came before it (RFC 5626 §4.4.1). After an error nothing
// more can be framed; raw is then what there is.
func (s *stream) next() (raw string, pings int, err error) {
	b := s.buf[s.r:s.w]
	if !s.ready(b) {
		return "", 0, nil
	}
	n, skip, err := sip.Frame(b)
	pings = sip.Pings(skip)
	s.r += skip
	b = b[skip:]
	if err != nil {
		return string(b), pings, err
	}
	if n > 0 {
		s.r += n
		s.line, s.scanned, s.need = false, 0, 0
		return string(b[:n]), pings, nil
	}
	s.line = bytes.IndexByte(b, '\n') >= 0
	if end := headerEnd(b); end > 0 {
		s.need = end + contentLength(b[:end])
	} else if s.scanned = len(b); len(b) == 1 && b[0] == '\r' {
		s.scanned = 0 // half a line end: whatever comes next has to be looked at
	}
	return "", pings, nil
}

// ready reports whether b is worth another look.
func (s *stream) ready(b []byte) bool {
	switch {
	case len(b) == 0, len(b) == 1 && b[0] == '\r':
		return false
	case len(b) > 1 && b[0] == '\r' && b[1] == '\n', len(b) > sip.MaxHeader && s.need == 0:
		return true
	case s.need > 0:
		return len(b) >= s.need
	case s.scanned == 0:
		return true
	}
	from := s.scanned
	s.scanned = len(b)
	if !s.line {
		return bytes.IndexByte(b[from:], '\n') >= 0
	}
	return headerEnd(b[max(0, from-3):]) > 0
}

// headerEnd returns the length of the header with its empty line, 0 without.
func headerEnd(b []byte) int {
	for i := 0; ; {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return 0
		}
		i += j + 1
		switch {
		case i < len(b) && b[i] == '\n':
			return i + 1
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			return i + 2
		}
	}
}

// contentLength returns the Content-Length of a header that [sip.Frame] has
// accepted, or 0: then each piece that follows is looked at.
func contentLength(header []byte) int {
	var m sip.Message
	if m.Index(string(header)) != nil {
		return 0
	}
	n, err := strconv.Atoi(m.Get(sip.HContentLength))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
