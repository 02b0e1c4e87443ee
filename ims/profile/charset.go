package profile

import (
	"fmt"
	"io"
	"strings"
)

// charset takes the encodings that are subsets of Unicode octet by octet;
// encoding/xml itself handles UTF-8 and does not ask.
func charset(label string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "us-ascii", "ascii", "utf8":
		return in, nil
	case "iso-8859-1", "latin1":
		return &latin1{in: in}, nil
	}
	return nil, fmt.Errorf("encoding %q is none of utf-8, us-ascii, iso-8859-1", label)
}

// latin1 turns ISO-8859-1 into UTF-8.
type latin1 struct {
	in   io.Reader
	tail byte // second octet of a character that did not fit, 0 if none
}

func (l *latin1) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n := 0
	if l.tail != 0 {
		p[0], l.tail, n = l.tail, 0, 1
	}
	var b [1]byte
	for n < len(p) {
		if _, err := io.ReadFull(l.in, b[:]); err != nil {
			if n > 0 {
				err = nil
			}
			return n, err
		}
		if b[0] < 0x80 {
			p[n] = b[0]
			n++
			continue
		}
		p[n] = 0xc0 | b[0]>>6
		n++
		if low := 0x80 | b[0]&0x3f; n < len(p) {
			p[n] = low
			n++
		} else {
			l.tail = low
		}
	}
	return n, nil
}
