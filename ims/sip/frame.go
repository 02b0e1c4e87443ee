package sip

import (
	"bytes"
	"errors"
	"fmt"
)

// MaxHeader bounds the header of a message on a stream, in octets.
const MaxHeader = 32 << 10

// FrameError says why a stream cannot be cut into messages. Nothing that follows
// can be trusted: the connection is closed, after an answer of Status when that
// is not 0 and the header is whole.
type FrameError struct {
	Status int
	Reason string
	Detail string
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("sip: cannot frame the stream: %s (%d %s)", e.Detail, e.Status, e.Reason)
}

// Frame finds the first message in what a stream has brought so far (RFC 3261
// §18.3).
//
// skip counts line ends before the message, which carry no message (§7.5). Two
// of them, CRLF CRLF, are a keep-alive ping, to be answered with one CRLF
// (RFC 5626 §3.5.1): see [Pings]. A lone CRLF at the end of buf may be half a
// ping or the pong to ours; it is not counted until more has come.
//
// n is the length of the message behind that: it is buf[skip:skip+n]. It is 0
// while the message is incomplete. An error is a [*FrameError]; n is then the
// length of the header, 0 when not even that has an end.
func Frame(buf []byte) (n, skip int, err error) {
	for len(buf)-skip >= 2 && buf[skip] == '\r' && buf[skip+1] == '\n' {
		skip += 2
	}
	rest := buf[skip:]
	if len(rest) == 0 || len(rest) == 1 && rest[0] == '\r' {
		return 0, skip - skip%4, nil
	}
	n, err = frame(rest)
	return n, skip, err
}

// Pings returns how many keep-alive pings the skip of [Frame] holds.
func Pings(skip int) int { return skip / 4 }

func frame(buf []byte) (int, error) {
	if !tokenChars[buf[0]] {
		return 0, &FrameError{Detail: "the first octet is not of SIP"} // TLS, for one
	}
	nl := bytes.IndexByte(buf, '\n')
	if nl < 0 {
		if len(buf) > MaxHeader {
			return 0, tooLarge("a start line without end")
		}
		return 0, nil
	}
	if !sipLine(buf[:nl]) {
		return 0, &FrameError{Detail: "the first line is not of SIP"}
	}
	length := -1
	for pos := nl + 1; ; {
		nl := bytes.IndexByte(buf[pos:], '\n')
		if nl < 0 || pos+nl > MaxHeader {
			if len(buf) > MaxHeader {
				return 0, tooLarge("a header without end")
			}
			return 0, nil
		}
		nl += pos
		if nl == pos || nl == pos+1 && buf[pos] == '\r' {
			return frameBody(buf, nl+1, length)
		}
		next := nl + 1
		for {
			if next == len(buf) {
				return 0, nil // the next octet decides whether the line goes on
			}
			if buf[next] != ' ' && buf[next] != '\t' {
				break
			}
			nl := bytes.IndexByte(buf[next:], '\n')
			if nl < 0 {
				if len(buf) > MaxHeader {
					return 0, tooLarge("a header line without end")
				}
				return 0, nil
			}
			next += nl + 1
		}
		if v, ok := lengthLine(buf[pos:next]); ok {
			n, ok := parseUint(string(bytes.Trim(v, " \t\r\n")), MaxMessage)
			if !ok || length >= 0 && int(n) != length {
				length = -2
			} else if length != -2 {
				length = int(n)
			}
		}
		pos = next
	}
}

func frameBody(buf []byte, header, length int) (int, error) {
	switch {
	case length == -1:
		return header, &FrameError{400, "Missing Content-Length", "no Content-Length on a stream"}
	case length < 0:
		return header, &FrameError{400, "Bad Content-Length", "Content-Length is no number, too large, or there are two"}
	case header+length > MaxMessage:
		return header, tooLarge("the body")
	case len(buf) < header+length:
		return 0, nil
	}
	return header + length, nil
}

// TooLarge reports whether [Frame] would refuse a message, which is whole, as too large:
// on a stream it would end the connection, and with it what others have sent there.
func TooLarge(data []byte) bool {
	if len(data) <= MaxHeader || len(data) > MaxMessage {
		return len(data) > MaxMessage
	}
	var e *FrameError
	_, err := frame(data)
	return errors.As(err, &e) && e.Status == 513
}

func tooLarge(what string) error {
	return &FrameError{513, StatusText(513), what + " exceeds the bound"}
}

// sipLine reports whether a first line can be a SIP start line at all: a TLS or
// HTTP client is told from a SIP peer before anything is waited for.
func sipLine(l []byte) bool {
	l = bytes.TrimRight(l, " \t\r")
	if i := bytes.LastIndexByte(l, ' '); i >= 0 && isVersionBytes(l[i+1:]) {
		return true
	}
	return isVersionBytes(l)
}

func isVersionBytes(l []byte) bool {
	return len(l) > 4 && l[3] == '/' && bytes.EqualFold(l[:3], []byte("SIP"))
}

// lengthLine returns the value of a Content-Length line.
func lengthLine(l []byte) ([]byte, bool) {
	if l[0]|0x20 != 'c' && l[0]|0x20 != 'l' {
		return nil, false
	}
	name, v, ok := bytes.Cut(l, []byte(":"))
	if !ok {
		return nil, false
	}
	name = bytes.TrimRight(name, " \t\r\n")
	if len(name) == 1 && name[0]|0x20 == 'l' || bytes.EqualFold(name, []byte("Content-Length")) {
		return v, true
	}
	return nil, false
}
