package sip

import "slices"

// Edits is a list of changes to a message, carried out in order while the
// message is written. The zero value changes nothing. It does not refer to a
// message except by line numbers, so one Edits fits one Message.
//
// Values may come from outside: line ends in them that would begin a new header
// line are written as spaces.
type Edits struct {
	ops    []op
	uri    string
	rest   *rest
	ensure bool
}

// rest is what is seldom changed. It is never changed itself: clones share it.
type rest struct {
	code        int
	text        string // reason phrase
	ctype, body string
	hasBody     bool
}

func (e *Edits) seldom() rest {
	if e.rest != nil {
		return *e.rest
	}
	return rest{}
}

// op is one change to the header. Ops are only ever appended, which is what
// makes Clone cheap.
type op struct {
	kind  opKind
	id    ID
	line  uint16
	name  *string // of opAdd, as it is to be written
	value string  // of opRemove with id Other: the name
}

type opKind uint8

const (
	opRemove opKind = iota
	opRemoveLine
	opReplaceLine
	opSet
	opAdd
	opPrepend
	opPopFirst
)

// Clone returns a copy that can be changed without changing e, and the other
// way round. It does not copy the list.
func (e *Edits) Clone() Edits {
	c := *e
	c.ops = slices.Clip(c.ops)
	return c
}

// Copy returns a copy with a list of its own.
func (e *Edits) Copy() Edits {
	c := *e
	c.ops = slices.Clone(e.ops)
	return c
}

// Reset makes e change nothing, and keeps its room, if it is of the usual size.
func (e *Edits) Reset() {
	if cap(e.ops) > 64 {
		e.ops = nil
	}
	clear(e.ops)
	*e = Edits{ops: e.ops[:0]}
}

// IsZero reports whether nothing would change.
func (e *Edits) IsZero() bool {
	return e == nil || len(e.ops) == 0 && e.uri == "" && e.rest == nil && !e.ensure
}

// Grow makes room for n more changes: who knows how many there will be spares
// allocations.
func (e *Edits) Grow(n int) { e.ops = slices.Grow(e.ops, n) }

func (e *Edits) add(o op) {
	if e.ops == nil {
		e.ops = make([]op, 0, 8) // what a proxy adds to a request, in one allocation
	}
	e.ops = append(e.ops, o)
}

// RequestURI replaces the Request-URI. It has no effect on a response.
func (e *Edits) RequestURI(uri string) { e.uri = uri }

// NewRequestURI returns what RequestURI was given last, "" when it was not called.
func (e *Edits) NewRequestURI() string { return e.uri }

// Status replaces status code and reason phrase, "" meaning the usual one. It
// has no effect on a request.
func (e *Edits) Status(code int, reason string) {
	if reason == "" {
		reason = StatusText(code)
	}
	r := e.seldom()
	r.code, r.text = code, reason
	e.rest = &r
}

// Remove drops every line of that identity.
func (e *Edits) Remove(id ID) { e.add(op{kind: opRemove, id: id}) }

// RemoveName drops every line of that name, in any letter case and, for known
// headers, in either form.
func (e *Edits) RemoveName(name string) {
	e.add(op{kind: opRemove, id: IDOf(name), value: name})
}

// RemoveLine drops line i of the message as it came.
func (e *Edits) RemoveLine(i int) { e.add(op{kind: opRemoveLine, line: uint16(i)}) }

// ReplaceLine gives line i of the message as it came a new value; the name stays
// as written.
func (e *Edits) ReplaceLine(i int, value string) {
	e.add(op{kind: opReplaceLine, line: uint16(i), value: value})
}

// Set makes value the only one: the first line is replaced and the others
// removed, or a line is added at the end.
func (e *Edits) Set(id ID, value string) { e.add(op{kind: opSet, id: id, value: value}) }

// Add adds a line behind the last one of that identity, else at the end.
func (e *Edits) Add(id ID, value string) { e.add(op{kind: opAdd, id: id, value: value}) }

// AddName adds a line of that name behind the last one of it, else at the end.
// A name that is no token is ignored.
func (e *Edits) AddName(name, value string) {
	if isToken(name) {
		e.add(op{kind: opAdd, id: IDOf(name), name: &name, value: value})
	}
}

// Prepend adds a line before the first one of that identity. Without one, Via
// goes to the top, anything else behind the Vias: what proxies read comes first
// (RFC 3261 §7.3.1).
func (e *Edits) Prepend(id ID, value string) {
	e.add(op{kind: opPrepend, id: id, value: value})
}

// PopFirst drops the first comma-separated value of that identity, and its line
// when it was the only one there.
func (e *Edits) PopFirst(id ID) { e.add(op{kind: opPopFirst, id: id}) }

// Body replaces the body and Content-Type; Content-Length follows by itself. An
// empty contentType keeps the Content-Type of a body that is not empty, and
// removes it with the body.
func (e *Edits) Body(contentType, body string) {
	r := e.seldom()
	r.ctype, r.body, r.hasBody = contentType, body, true
	e.rest = &r
}

// EnsureLength adds a Content-Length when the message has none, as it must have
// on a stream (RFC 3261 §18.3).
func (e *Edits) EnsureLength() { e.ensure = true }
