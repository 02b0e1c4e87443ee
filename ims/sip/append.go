package sip

import (
	"slices"
	"strconv"
	"strings"
)

// slot is one header line of the message being written: a line as it came, a
// line with another value, or a new one.
type slot struct {
	line  int16 // index into Message.lines, -1 for a new one
	id    ID
	fresh bool   // value replaces the one of the line
	name  string // of a new line with id Other, or in a spelling of its own
	value string
}

// AppendTo appends the message with the edits of e, which may be nil, to dst. It
// allocates only to grow dst, and for messages of very many lines. What e does
// not touch is copied octet by octet.
func (m *Message) AppendTo(dst []byte, e *Edits) []byte {
	if e.IsZero() {
		return append(dst, m.raw...)
	}
	var few [inlineLines + 16]slot
	slots := few[:0]
	for i := range m.lines {
		slots = append(slots, slot{line: int16(i), id: m.lines[i].id})
	}
	for i := range e.ops {
		slots = m.edit(slots, &e.ops[i])
	}
	body := m.Body()
	if e.hasBody {
		body = e.body
		slots = m.editBody(slots, e)
	} else if e.ensure && !slices.ContainsFunc(slots, func(s slot) bool { return s.id == HContentLength }) {
		slots = append(slots, lengthSlot())
	}
	dst = m.appendStart(dst, e)
	for i := range slots {
		dst = m.appendSlot(dst, &slots[i], len(body))
	}
	dst = append(dst, "\r\n"...)
	return append(dst, body...)
}

// Apply returns the edited message, indexed anew. The message itself is returned
// when e changes nothing.
func (m *Message) Apply(e *Edits) (*Message, error) {
	if e.IsZero() {
		return m, nil
	}
	return Parse(string(m.AppendTo(make([]byte, 0, len(m.raw)+256), e)))
}

// lengthMark stands for the value of a Content-Length that is not known yet.
const lengthMark = "\x00"

func lengthSlot() slot { return slot{line: -1, id: HContentLength, fresh: true, value: lengthMark} }

// edit carries out one op.
func (m *Message) edit(slots []slot, o *op) []slot {
	switch o.kind {
	case opRemove:
		return slices.DeleteFunc(slots, func(s slot) bool { return m.is(&s, o.id, o.name) })
	case opRemoveLine:
		return slices.DeleteFunc(slots, func(s slot) bool { return s.line >= 0 && uint16(s.line) == o.line })
	case opReplaceLine:
		for i := range slots {
			if s := &slots[i]; s.line >= 0 && uint16(s.line) == o.line {
				s.fresh, s.value = true, o.value
			}
		}
		return slots
	case opSet:
		return m.set(slots, o)
	case opPopFirst:
		return m.popFirst(slots, o.id)
	}
	s := slot{line: -1, id: o.id, fresh: true, name: o.name, value: o.value}
	if o.kind == opPrepend {
		at := 0
		for i := range slots {
			if m.is(&slots[i], o.id, o.name) {
				at = i
				break
			}
			if slots[i].id == HVia {
				at = i + 1
			}
		}
		return slices.Insert(slots, at, s)
	}
	for i := len(slots) - 1; i >= 0; i-- {
		if m.is(&slots[i], o.id, o.name) {
			return slices.Insert(slots, i+1, s)
		}
	}
	return append(slots, s)
}

// is reports whether a slot is of that identity; of that name when id is Other.
func (m *Message) is(s *slot, id ID, name string) bool {
	if s.id != id {
		return false
	}
	if id != Other || name == "" {
		return true
	}
	if s.line < 0 {
		return equalFold(s.name, name)
	}
	l := &m.lines[s.line]
	return equalFold(m.raw[l.start:l.nameEnd], name)
}

func (m *Message) set(slots []slot, o *op) []slot {
	done := false
	slots = slices.DeleteFunc(slots, func(s slot) bool { // keeps the order: the first one stays
		if s.id != o.id {
			return false
		}
		was := done
		done = true
		return was
	})
	for i := range slots {
		if s := &slots[i]; s.id == o.id {
			s.fresh, s.value = true, o.value
			return slots
		}
	}
	return append(slots, slot{line: -1, id: o.id, fresh: true, value: o.value})
}

// popFirst drops the first value of id. Empty elements before it go with it.
func (m *Message) popFirst(slots []slot, id ID) []slot {
	for i := 0; i < len(slots); i++ {
		s := &slots[i]
		if s.id != id {
			continue
		}
		rest := s.value
		if !s.fresh {
			l := &m.lines[s.line]
			rest = m.raw[l.valStart:l.valEnd]
		}
		if !isList(id) {
			return slices.Delete(slots, i, i+1)
		}
		var elem string
		popped, more := false, true
		for more && !popped {
			elem, rest, more = splitAt(rest, ',', inside(id))
			popped = trimLWS(elem) != ""
		}
		if rest = trimLWS(rest); strings.Trim(rest, ", \t\r\n") == "" {
			if slots = slices.Delete(slots, i, i+1); popped {
				return slots
			}
			i-- // that line held no value at all
			continue
		}
		s.fresh, s.value = true, rest
		return slots
	}
	return slots
}

// editBody makes Content-Type and Content-Length fit the new body.
func (m *Message) editBody(slots []slot, e *Edits) []slot {
	if e.ctype != "" {
		slots = m.set(slots, &op{id: HContentType, value: e.ctype})
	} else if e.body == "" {
		slots = m.edit(slots, &op{kind: opRemove, id: HContentType})
	}
	return m.set(slots, &op{id: HContentLength, value: lengthMark})
}

func (m *Message) appendStart(dst []byte, e *Edits) []byte {
	switch {
	case m.IsRequest() && e.uri != "":
		dst = append(append(dst, m.method...), ' ')
		dst = appendStartText(dst, e.uri, true)
		dst = append(append(dst, ' '), m.version...)
	case !m.IsRequest() && e.code != 0:
		dst = append(append(dst, m.version...), ' ')
		dst = strconv.AppendInt(dst, int64(e.code), 10)
		dst = appendStartText(append(dst, ' '), e.text, false)
	default:
		return appendLine(dst, m.raw[:m.first])
	}
	return append(dst, "\r\n"...)
}

// appendStartText appends s without what would end its field of the start line.
func appendStartText(dst []byte, s string, uri bool) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case uri && (c <= ' ' || c == 0x7f):
			const hex = "0123456789ABCDEF"
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		case c == '\r' || c == '\n':
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func (m *Message) appendSlot(dst []byte, s *slot, bodyLen int) []byte {
	if s.line >= 0 {
		l := &m.lines[s.line]
		if !s.fresh {
			return appendLine(dst, m.raw[l.start:l.end])
		}
		dst = append(dst, m.raw[l.start:l.nameEnd]...)
	} else if s.name != "" {
		dst = append(dst, s.name...)
	} else {
		dst = append(dst, s.id.String()...)
	}
	dst = append(dst, ": "...)
	if s.id == HContentLength && s.value == lengthMark {
		dst = strconv.AppendInt(dst, int64(bodyLen), 10)
	} else {
		dst = appendValue(dst, s.value)
	}
	return append(dst, "\r\n"...)
}

// appendLine appends a line as it came. If the message was cut off in it, it gets
// a line end: another line may follow now.
func appendLine(dst []byte, l string) []byte {
	dst = append(dst, l...)
	if l == "" || l[len(l)-1] != '\n' {
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// appendValue appends a header value. A line end stays only as folding, that is
// CRLF with white space and some text behind it: a value that came from outside
// must not be able to begin a line of its own.
func appendValue(dst []byte, v string) []byte {
	if strings.IndexByte(v, '\n') < 0 && strings.IndexByte(v, '\r') < 0 {
		return append(dst, v...)
	}
	for {
		i := strings.IndexAny(v, "\r\n")
		if i < 0 {
			return append(dst, v...)
		}
		dst = append(dst, v[:i]...)
		if v = v[i:]; len(v) > 3 && v[:2] == "\r\n" && (v[2] == ' ' || v[2] == '\t') {
			dst, v = append(dst, v[:3]...), v[3:]
		} else {
			dst, v = append(dst, ' '), v[1:]
		}
	}
}
