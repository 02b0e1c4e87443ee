package profile

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds on what an HSS may make us hold.
const (
	MaxSize      = 256 << 10 // octets of a document
	maxDepth     = 32        // nested elements
	maxElements  = 20000
	maxProfiles  = 64
	maxPublicIDs = 1000 // in all service profiles together
	maxCriteria  = 256  // in one service profile
	maxSPTs      = 256  // in one trigger point
	maxGroups    = 64   // of one SPT
	maxWarnings  = 16
)

// Error says where a document is wrong.
type Error struct {
	Element string // the element being read, "IMSSubscription/ServiceProfile/…"
	Line    int
	Column  int
	Err     error
}

func (e *Error) Error() string {
	return fmt.Sprintf("user profile: %s, line %d column %d: %v", e.Element, e.Line, e.Column, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// ErrTooBig is what a document beyond one of the bounds is refused with.
var ErrTooBig = errors.New("too big")

// reader walks a document. It is a pull parser over encoding/xml that knows the
// path it is on, skips what it is not asked about, and counts.
type reader struct {
	d        *xml.Decoder
	path     []string
	elements int
	warnings []string
}

func newReader(doc []byte) (*reader, error) {
	r := &reader{}
	if len(doc) > MaxSize {
		r.d = xml.NewDecoder(bytes.NewReader(nil))
		return nil, r.fail(fmt.Errorf("%w: %d octets, more than %d", ErrTooBig, len(doc), MaxSize))
	}
	// Some HSSes send User-Data with a trailing NUL or a byte order mark.
	doc = bytes.TrimRight(doc, "\x00")
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	doc = bytes.TrimLeft(doc, " \t\r\n")
	r.d = xml.NewDecoder(bytes.NewReader(doc))
	r.d.CharsetReader = charset
	return r, nil
}

func (r *reader) fail(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	line, col := r.d.InputPos()
	path := strings.Join(r.path, "/")
	if path == "" {
		path = "document"
	}
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		err = errors.New(syntax.Msg)
	}
	return &Error{Element: path, Line: line, Column: col, Err: err}
}

func (r *reader) failf(format string, args ...any) error { return r.fail(fmt.Errorf(format, args...)) }

func (r *reader) warnf(format string, args ...any) {
	if len(r.warnings) < maxWarnings {
		line, _ := r.d.InputPos()
		r.warnings = append(r.warnings, fmt.Sprintf("%s, line %d: %s", strings.Join(r.path, "/"), line, fmt.Sprintf(format, args...)))
	}
}

// root reads up to the first element.
func (r *reader) root() (string, error) {
	for {
		t, err := r.d.Token()
		if errors.Is(err, io.EOF) {
			return "", r.failf("no element in it")
		}
		if err != nil {
			return "", r.fail(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			return t.Name.Local, r.push(t)
		case xml.Directive:
			// A document type could declare entities; a profile has none.
			return "", r.failf("document type declarations are not accepted")
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return "", r.failf("text before the first element")
			}
		}
	}
}

// end checks that nothing but space and comments follows the root element.
func (r *reader) end() error {
	for {
		t, err := r.d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.fail(err)
		}
		switch t := t.(type) {
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return r.failf("text after the last element")
			}
		case xml.StartElement, xml.Directive:
			return r.failf("more than one document")
		}
	}
}

func (r *reader) push(t xml.StartElement) error {
	r.path = append(r.path, t.Name.Local)
	r.elements++
	if len(r.path) > maxDepth {
		r.path = r.path[:8]
		return r.failf("%w: elements nested deeper than %d", ErrTooBig, maxDepth)
	}
	if r.elements > maxElements {
		return r.failf("%w: more than %d elements", ErrTooBig, maxElements)
	}
	return nil
}

// children calls child for each element inside the current one, until that
// ends. A child that does not know an element calls skip; namespaces are not
// looked at, because HSSes disagree about them.
func (r *reader) children(child func(name string) error) error {
	for {
		t, err := r.d.Token()
		if err != nil {
			return r.fail(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := r.push(t); err != nil {
				return err
			}
			if err := child(t.Name.Local); err != nil {
				return err
			}
		case xml.EndElement:
			r.pop()
			return nil
		case xml.Directive:
			return r.failf("document type declarations are not accepted")
		}
	}
}

func (r *reader) skip() error {
	return r.children(func(string) error { return r.skip() })
}

func (r *reader) pop() { r.path = r.path[:len(r.path)-1] }

// text reads the text of the current element, to its end.
func (r *reader) text() (string, error) {
	s, err := r.inner()
	if err != nil {
		return "", err
	}
	r.pop()
	return strings.TrimSpace(s), nil
}

// inner reads the text of the current element but does not leave it, so that an
// error about the text names the element.
func (r *reader) inner() (string, error) {
	var one string
	var more []byte
	for {
		t, err := r.d.Token()
		if err != nil {
			return "", r.fail(err)
		}
		switch t := t.(type) {
		case xml.CharData:
			switch {
			case more != nil:
				more = append(more, t...)
			case one != "":
				more = append([]byte(one), t...)
			default:
				one = string(t)
			}
		case xml.StartElement:
			if err := r.push(t); err != nil {
				return "", err
			}
			if err := r.skip(); err != nil {
				return "", err
			}
		case xml.EndElement:
			if more != nil {
				return string(more), nil
			}
			return one, nil
		case xml.Directive:
			return "", r.failf("document type declarations are not accepted")
		}
	}
}

// boolean reads an xs:boolean.
func (r *reader) boolean() (bool, error) {
	s, err := r.inner()
	if err != nil {
		return false, err
	}
	var v bool
	switch s = strings.TrimSpace(s); s {
	case "1", "true":
		v = true
	case "0", "false":
	case "":
		r.warnf("empty, read as 0")
	default:
		return false, r.failf("%.40q is neither 0 nor 1", s)
	}
	r.pop()
	return v, nil
}

// number reads an integer from 0 to limit.
func (r *reader) number(limit int64) (int64, error) {
	s, err := r.inner()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > limit {
		return 0, r.failf("%.40q is not a number from 0 to %d", s, limit)
	}
	r.pop()
	return n, nil
}
