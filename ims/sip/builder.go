package sip

import (
	"strconv"
	"strings"
	"sync"
)

// Field is a header field to be written. Name is used when ID is Other.
type Field struct {
	ID    ID
	Name  string
	Value string
}

// Builder makes a message that we originate ourselves. Header lines appear in
// the order in which they are added; Content-Length is written by itself.
type Builder struct {
	head        []byte   // start line and header lines
	scratch     *scratch // where head is, until Bytes or Free
	ctype, body string
}

// scratch is where the header of a message grows, in place of an allocation that is too
// small for some and too large for others. A Builder that is abandoned keeps its.
type scratch [2048]byte

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func newBuilder() *Builder {
	s := scratches.Get().(*scratch)
	return &Builder{head: s[:0], scratch: s}
}

// NewRequest begins a request.
func NewRequest(method, uri string) *Builder {
	b := newBuilder()
	b.head = append(append(b.head, method...), ' ')
	b.head = appendStartText(b.head, uri, true)
	b.head = append(b.head, " SIP/2.0\r\n"...)
	return b
}

// NewResponse begins a response to req as RFC 3261 §8.2.6 has it: Via, From, To,
// Call-ID and CSeq as they came. toTag is added to a To without a tag, unless the
// status is 100. A 100 gets the Timestamp; a 101–299 to a request that forms a
// dialog gets the Record-Route (§12.1.1). reason "" is the usual one.
func NewResponse(req *Message, status int, reason, toTag string) *Builder {
	if reason == "" {
		reason = StatusText(status)
	}
	b := newBuilder()
	b.head = strconv.AppendInt(append(b.head, "SIP/2.0 "...), int64(status), 10)
	b.head = appendStartText(append(b.head, ' '), reason, false)
	b.head = append(b.head, "\r\n"...)
	b.copyLines(req, HVia)
	if status > 100 && status < 300 && formsDialog(req.Method()) {
		b.copyLines(req, HRecordRoute)
	}
	if i := req.Find(HFrom, 0); i >= 0 {
		b.copyLine(req, i, "")
	}
	if i := req.Find(HTo, 0); i >= 0 {
		tag := ""
		if status > 100 && toTag != "" && req.ToTag() == "" {
			tag = toTag
		}
		b.copyLine(req, i, tag)
	}
	for _, id := range [...]ID{HCallID, HCSeq} {
		if i := req.Find(id, 0); i >= 0 {
			b.copyLine(req, i, "")
		}
	}
	if status == 100 {
		b.copyLines(req, HTimestamp)
	}
	return b
}

// formsDialog reports whether a 2xx to the method makes a dialog.
func formsDialog(method string) bool {
	return method == "INVITE" || method == "SUBSCRIBE" || method == "REFER" || method == "NOTIFY"
}

func (b *Builder) copyLines(m *Message, id ID) {
	for i := m.Find(id, 0); i >= 0; i = m.Find(id, i+1) {
		b.copyLine(m, i, "")
	}
}

// copyLine copies a line as it came, with ";tag=…" behind its value if wanted.
func (b *Builder) copyLine(m *Message, i int, tag string) {
	l := &m.lines[i]
	b.head = append(b.head, m.raw[l.start:l.nameEnd]...)
	b.head = append(b.head, ": "...)
	if value := m.raw[l.valStart:l.valEnd]; tag == "" {
		b.head = appendValue(b.head, value)
	} else {
		b.head = append(append(appendValue(b.head, beforeTag(value)), ";tag="...), tag...)
	}
	b.head = append(b.head, "\r\n"...)
}

// Tagged is the value of a To or From that has no tag with one.
func Tagged(value, tag string) string { return beforeTag(value) + ";tag=" + tag }

// beforeTag is the value without a semicolon at its end, which some phones send: with
// the tag's own behind it there were two, and an empty parameter is malformed.
func beforeTag(value string) string {
	return trimRightLWS(strings.TrimSuffix(trimRightLWS(value), ";"))
}

// Add adds a header line.
func (b *Builder) Add(id ID, value string) *Builder {
	if id != Other && id < idCount {
		b.line(idNames[id], value)
	}
	return b
}

// AddName adds a header line of any name. A name that is no token is ignored.
func (b *Builder) AddName(name, value string) *Builder {
	if isToken(name) {
		b.line(name, value)
	}
	return b
}

// AddFields adds header lines.
func (b *Builder) AddFields(fields ...Field) *Builder {
	for _, f := range fields {
		if f.ID != Other {
			b.Add(f.ID, f.Value)
		} else {
			b.AddName(f.Name, f.Value)
		}
	}
	return b
}

func (b *Builder) line(name, value string) {
	b.head = append(append(b.head, name...), ": "...)
	b.head = append(appendValue(b.head, value), "\r\n"...)
}

// Body sets the body and its Content-Type.
func (b *Builder) Body(contentType, body string) *Builder {
	b.ctype, b.body = contentType, body
	return b
}

// Bytes returns the message, which is the caller's.
func (b *Builder) Bytes() []byte {
	out := append(make([]byte, 0, b.size()), b.head...)
	b.head = out[:len(out):len(out)] // what is behind it is the caller's now
	b.letGo()
	return b.finish(out)
}

// Buffer returns the message in a Buffer that is the caller's. The Builder stays as it is.
func (b *Builder) Buffer() *Buffer {
	out := NewBuffer(b.size())
	out.data = b.finish(append(out.data, b.head...))
	return out
}

// Free gives back what the Builder needs, who has nothing in it any more. It is for who
// has made it, and not a duty.
func (b *Builder) Free() {
	b.letGo()
	*b = Builder{}
}

func (b *Builder) letGo() {
	if b.scratch == nil {
		return
	}
	wipe(b.scratch[:])
	scratches.Put(b.scratch)
	b.scratch = nil
}

// size is how many octets the message takes at most.
func (b *Builder) size() int { return len(b.head) + len(b.ctype) + len(b.body) + 48 }

// finish appends all that follows head.
func (b *Builder) finish(out []byte) []byte {
	if b.ctype != "" {
		out = append(appendValue(append(out, "Content-Type: "...), b.ctype), "\r\n"...)
	}
	out = append(out, "Content-Length: "...)
	out = strconv.AppendInt(out, int64(len(b.body)), 10)
	out = append(out, "\r\n\r\n"...)
	return append(out, b.body...)
}

// Message returns the message indexed.
func (b *Builder) Message() (*Message, error) { return Parse(string(b.Bytes())) }
