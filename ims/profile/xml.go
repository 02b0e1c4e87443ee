package profile

import (
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

// reader walks a document. It is a pull parser that knows the path it is on,
// skips what it is not asked about, and counts.
type reader struct {
	d        *xml.Decoder // nil: the document is taken for a plain one
	plain    plain
	path     []string
	elements int
	warnings []string

	holes *holes // nil: nobody wants to know
	// Of the element that inner has read last, in a plain document: its texts, and from
	// where to where the first is.
	texts int
	text1 [2]int
}

// read calls f with a reader of doc: one for plain documents, and another one if
// that fails for any reason.
func read[T any](doc string, f func(*reader) (T, error)) (T, error) {
	if len(doc) > MaxSize {
		var none T
		r := generalReader("")
		return none, r.fail(fmt.Errorf("%w: %d octets, more than %d", ErrTooBig, len(doc), MaxSize))
	}
	doc = trim(doc)
	v, err := f(plainReader(doc))
	if err == nil {
		return v, nil
	}
	return f(generalReader(doc))
}

// trim takes off what is no part of a document: some HSSes send User-Data with a trailing
// NUL or a byte order mark.
func trim(doc string) string {
	doc = strings.TrimRight(doc, "\x00")
	doc = strings.TrimPrefix(doc, "\xef\xbb\xbf")
	return strings.TrimLeft(doc, " \t\r\n")
}

func plainReader(doc string) *reader {
	r := new(struct { // one allocation
		reader
		open, path [8]string
	})
	r.plain = plain{doc: doc, open: r.open[:0]}
	r.reader.path = r.path[:0]
	return &r.reader
}

// generalReader reads any document.
func generalReader(doc string) *reader {
	r := &reader{d: xml.NewDecoder(strings.NewReader(doc))}
	r.d.CharsetReader = charset
	return r
}

// next returns the next token, io.EOF at the end.
func (r *reader) next() (token, error) {
	if r.d == nil {
		t, ok, err := r.plain.next()
		if err == nil && !ok {
			err = io.EOF
		}
		return t, err
	}
	t, err := r.d.Token()
	if err != nil {
		return token{}, err
	}
	switch t := t.(type) {
	case xml.StartElement:
		return token{start, t.Name.Local}, nil
	case xml.EndElement:
		return token{end, t.Name.Local}, nil
	case xml.CharData:
		return token{text, string(t)}, nil
	case xml.Directive:
		return token{kind: directive}, nil
	}
	return token{kind: nothing}, nil
}

// line is the line that the last token ends in.
func (r *reader) line() int {
	if r.d == nil {
		return r.plain.line()
	}
	line, _ := r.d.InputPos()
	return line
}

func (r *reader) fail(err error) error {
	if r.d == nil {
		return errNotPlain // whatever it is, the other reader says it
	}
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
		r.warnings = append(r.warnings, fmt.Sprintf("%s, line %d: %s", strings.Join(r.path, "/"), r.line(), fmt.Sprintf(format, args...)))
	}
}

// root reads up to the first element.
func (r *reader) root() (string, error) {
	for {
		t, err := r.next()
		if errors.Is(err, io.EOF) {
			return "", r.failf("no element in it")
		}
		if err != nil {
			return "", r.fail(err)
		}
		switch t.kind {
		case start:
			return t.s, r.push(t.s)
		case directive:
			// A document type could declare entities; a profile has none.
			return "", r.failf("document type declarations are not accepted")
		case text:
			if strings.TrimSpace(t.s) != "" {
				return "", r.failf("text before the first element")
			}
		}
	}
}

// end checks that nothing but space and comments follows the root element.
func (r *reader) end() error {
	for {
		t, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.fail(err)
		}
		switch t.kind {
		case text:
			if strings.TrimSpace(t.s) != "" {
				return r.failf("text after the last element")
			}
		case start, directive:
			return r.failf("more than one document")
		}
	}
}

func (r *reader) push(name string) error {
	r.path = append(r.path, name)
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
		t, err := r.next()
		if err != nil {
			return r.fail(err)
		}
		switch t.kind {
		case start:
			if err := r.push(t.s); err != nil {
				return err
			}
			if err := child(t.s); err != nil {
				return err
			}
		case end:
			r.pop()
			return nil
		case directive:
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
	return strings.Clone(strings.TrimSpace(s)), nil
}

// inner reads the text of the current element but does not leave it, so that an
// error about the text names the element. Who keeps it makes a copy: it may be a
// part of the document.
func (r *reader) inner() (string, error) {
	var one string
	var more []byte
	r.texts = 0
	for {
		t, err := r.next()
		if err != nil {
			return "", r.fail(err)
		}
		switch t.kind {
		case text:
			if r.texts++; r.texts == 1 {
				r.text1 = [2]int{r.plain.pos - len(t.s), r.plain.pos}
			}
			switch {
			case more != nil:
				more = append(more, t.s...)
			case one != "":
				more = append([]byte(one), t.s...)
			default:
				one = t.s
			}
		case start:
			if err := r.push(t.s); err != nil {
				return "", err
			}
			if err := r.skip(); err != nil {
				return "", err
			}
		case end:
			if more != nil {
				return string(more), nil
			}
			return one, nil
		case directive:
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
