package sip

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// slot is one header line of the message being written: a line as it came, a
// line with another value, or a new one. It is small: a line put in moves those
// behind it.
type slot struct {
	line int16 // index into Message.lines, -1 for a new one
	text uint16
	id   ID
}

// text is what a slot says in place of the line, or without one.
type text struct {
	name  *string // of a new line with id Other, or in a spelling of its own
	value string
}

// draft is the header of an edited message, not yet written. Its slots refer to
// texts by index and 1; 0 is the line as it came.
type draft struct {
	m     *Message
	slots []slot
	texts []text

	few  [usualLines + 16]slot
	some [20]text
}

// drafts are used again. None keeps a message alive.
var drafts = sync.Pool{New: func() any {
	d := new(draft)
	d.slots, d.texts = d.few[:0], d.some[:0]
	return d
}}

func (m *Message) draft() *draft {
	d := drafts.Get().(*draft)
	d.m = m
	return d
}

func (d *draft) free() {
	clear(d.texts)
	d.m, d.slots, d.texts = nil, d.slots[:0], d.texts[:0]
	drafts.Put(d)
}

// AppendTo appends the message with the edits of e, which may be nil, to dst. It
// allocates only to grow dst, at once to what is needed, and for messages of very
// many lines. What e does not touch is copied octet by octet.
func (m *Message) AppendTo(dst []byte, e *Edits) []byte {
	if e.IsZero() {
		return append(dst, m.raw...)
	}
	d := m.draft()
	body := d.edit(e)
	dst = d.write(slices.Grow(dst, d.size(e)+len(body)), e, body)
	d.free()
	return dst
}

// edit fills d with what e makes of the header, and returns the body.
func (d *draft) edit(e *Edits) (body string) {
	for i := range d.m.lines {
		d.slots = append(d.slots, slot{line: int16(i), id: d.m.lines[i].id})
	}
	for i := range e.ops {
		d.do(&e.ops[i])
	}
	if e.rest != nil && e.rest.hasBody {
		d.editBody(e.rest)
		return e.rest.body
	}
	if e.ensure && !slices.ContainsFunc(d.slots, func(s slot) bool { return s.id == HContentLength }) {
		d.slots = append(d.slots, d.fresh(HContentLength, nil, lengthMark))
	}
	return d.m.Body()
}

// size is how many octets the header takes at most.
func (d *draft) size(e *Edits) int {
	const around = len(": \r\n")
	n := int(d.m.top) + len("\r\n")*2 + 3*len(e.uri)
	if e.rest != nil {
		n += len(e.rest.text) + len("600")
	}
	for i := range d.slots {
		s := &d.slots[i]
		switch {
		case s.text == 0:
			l := &d.m.lines[s.line]
			n += int(l.end - l.start)
		case s.line >= 0:
			l := &d.m.lines[s.line]
			n += int(l.nameEnd-l.start) + around + len(d.texts[s.text-1].value)
		default:
			t := &d.texts[s.text-1]
			if n += around + len(t.value); t.name != nil {
				n += len(*t.name)
			} else {
				n += len(s.id.String())
			}
		}
		if s.id == HContentLength {
			n += len("65535")
		}
	}
	return n
}

// write appends the message. Lines that stand as they came are copied together.
func (d *draft) write(dst []byte, e *Edits, body string) []byte {
	dst = d.m.appendStart(dst, e)
	for i := 0; i < len(d.slots); i++ {
		s := &d.slots[i]
		if s.text != 0 {
			dst = d.appendSlot(dst, s, len(body))
			continue
		}
		last := s.line
		for i+1 < len(d.slots) && d.slots[i+1].text == 0 && d.slots[i+1].line == last+1 {
			last++
			i++
		}
		dst = appendLine(dst, d.m.raw[d.m.lines[s.line].start:d.m.lines[last].end])
	}
	dst = append(dst, "\r\n"...)
	return append(dst, body...)
}

// Edited returns the message with the edits of e, in a Buffer that is the caller's.
func (m *Message) Edited(e *Edits) *Buffer {
	if e.IsZero() {
		b := NewBuffer(len(m.raw))
		b.data = append(b.data, m.raw...)
		return b
	}
	d := m.draft()
	body := d.edit(e)
	b := NewBuffer(d.size(e) + len(body))
	b.data = d.write(b.data, e, body)
	d.free()
	return b
}

// Apply returns the edited message, indexed anew. The message itself is returned
// when e changes nothing.
func (m *Message) Apply(e *Edits) (*Message, error) {
	if e.IsZero() {
		return m, nil
	}
	b := m.Edited(e)
	defer b.Free()
	return Parse(string(b.data))
}

// lengthMark stands for the value of a Content-Length that is not known yet.
const lengthMark = "\x00"

// fresh returns a slot for a line that was not there.
func (d *draft) fresh(id ID, name *string, value string) slot {
	return slot{line: -1, id: id, text: d.say(name, value)}
}

// say keeps a text for a slot.
func (d *draft) say(name *string, value string) uint16 {
	d.texts = append(d.texts, text{name, value})
	return uint16(len(d.texts))
}

// do carries out one op.
func (d *draft) do(o *op) {
	switch o.kind {
	case opRemove:
		if o.id == Other || d.m.Has(o.id) || len(d.texts) > 0 {
			d.slots = slices.DeleteFunc(d.slots, func(s slot) bool { return d.is(&s, o.id, o.value) })
		}
	case opRemoveLine:
		if i := d.at(o.line); i >= 0 {
			d.slots = slices.Delete(d.slots, i, i+1)
		}
	case opReplaceLine:
		if i := d.at(o.line); i >= 0 {
			d.slots[i].text = d.say(nil, o.value)
		}
	case opSet:
		d.set(o.id, o.value)
	case opPopFirst:
		d.popFirst(o.id)
	case opPrepend:
		d.slots = slices.Insert(d.slots, d.front(o.id), d.fresh(o.id, nil, o.value))
	case opAdd:
		d.slots = slices.Insert(d.slots, d.back(o), d.fresh(o.id, o.name, o.value))
	}
}

// at is where a line of the message is, -1 when it is gone.
func (d *draft) at(line uint16) int {
	for i := range d.slots {
		if s := &d.slots[i]; s.line >= 0 && uint16(s.line) == line {
			return i
		}
	}
	return -1
}

// front is where a line goes before others of its identity: behind the Vias when
// there is none.
func (d *draft) front(id ID) (at int) {
	for i := range d.slots {
		if d.slots[i].id == id {
			return i
		}
		if d.slots[i].id == HVia {
			at = i + 1
		}
	}
	return at
}

// back is where a line goes behind others of its identity, else to the end.
func (d *draft) back(o *op) int {
	name := ""
	if o.name != nil {
		name = *o.name
	}
	for i := len(d.slots) - 1; i >= 0; i-- {
		if d.is(&d.slots[i], o.id, name) {
			return i + 1
		}
	}
	return len(d.slots)
}

// is reports whether a slot is of that identity; of that name when id is Other.
func (d *draft) is(s *slot, id ID, name string) bool {
	if s.id != id {
		return false
	}
	if id != Other || name == "" {
		return true
	}
	if s.line < 0 {
		n := d.texts[s.text-1].name
		return n != nil && equalFold(*n, name)
	}
	l := &d.m.lines[s.line]
	return equalFold(d.m.raw[l.start:l.nameEnd], name)
}

func (d *draft) set(id ID, value string) {
	for i := range d.slots {
		if d.slots[i].id != id {
			continue
		}
		d.slots[i].text = d.rename(&d.slots[i], value)
		rest := slices.DeleteFunc(d.slots[i+1:], func(s slot) bool { return s.id == id })
		d.slots = d.slots[:i+1+len(rest)]
		return
	}
	d.slots = append(d.slots, d.fresh(id, nil, value))
}

// rename gives a slot another value; its name stays.
func (d *draft) rename(s *slot, value string) uint16 {
	if s.text != 0 {
		return d.say(d.texts[s.text-1].name, value)
	}
	return d.say(nil, value)
}

// popFirst drops the first value of id. Empty elements before it go with it.
func (d *draft) popFirst(id ID) {
	for i := 0; i < len(d.slots); i++ {
		s := &d.slots[i]
		if s.id != id {
			continue
		}
		var rest string
		if s.text != 0 {
			rest = d.texts[s.text-1].value
		} else {
			l := &d.m.lines[s.line]
			rest = d.m.raw[l.valStart:l.valEnd]
		}
		if !isList(id) {
			d.slots = slices.Delete(d.slots, i, i+1)
			return
		}
		var elem string
		popped, more := false, true
		for more && !popped {
			elem, rest, more = splitAt(rest, ',', inside(id))
			popped = trimLWS(elem) != ""
		}
		if rest = trimLWS(rest); rest == "" || strings.Trim(rest, ", \t\r\n") == "" {
			if d.slots = slices.Delete(d.slots, i, i+1); popped {
				return
			}
			i-- // that line held no value at all
			continue
		}
		s.text = d.rename(s, rest)
		return
	}
}

// editBody makes Content-Type and Content-Length fit the new body.
func (d *draft) editBody(r *rest) {
	if r.ctype != "" {
		d.set(HContentType, r.ctype)
	} else if r.body == "" {
		d.do(&op{kind: opRemove, id: HContentType})
	}
	d.set(HContentLength, lengthMark)
}

func (m *Message) appendStart(dst []byte, e *Edits) []byte {
	switch {
	case m.IsRequest() && e.uri != "":
		dst = append(append(dst, m.method()...), ' ')
		dst = appendStartText(dst, e.uri, true)
		dst = append(append(dst, ' '), m.Version()...)
	case !m.IsRequest() && e.rest != nil && e.rest.code != 0:
		dst = append(append(dst, m.Version()...), ' ')
		dst = strconv.AppendInt(dst, int64(e.rest.code), 10)
		dst = appendStartText(append(dst, ' '), e.rest.text, false)
	default:
		return appendLine(dst, m.raw[:m.top])
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

// appendSlot appends a line that is new or has another value.
func (d *draft) appendSlot(dst []byte, s *slot, bodyLen int) []byte {
	t := &d.texts[s.text-1]
	switch {
	case s.line >= 0:
		l := &d.m.lines[s.line]
		dst = append(dst, d.m.raw[l.start:l.nameEnd]...)
	case t.name != nil:
		dst = append(dst, *t.name...)
	default:
		dst = append(dst, s.id.String()...)
	}
	dst = append(dst, ": "...)
	if s.id == HContentLength && t.value == lengthMark {
		dst = strconv.AppendInt(dst, int64(bodyLen), 10)
	} else {
		dst = appendValue(dst, t.value)
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
