package sip

import "strings"

// Bounds on what is taken from outside.
const (
	// MaxMessage bounds a whole message, in octets. It is also what a UDP
	// datagram can hold, and lets the index keep 16-bit offsets.
	MaxMessage = 65535
	// MaxLines bounds the header field lines of a message.
	MaxLines = 512

	usualLines = 40 // that an edited message has at most; phones send 20 to 30

	// firstIDs are the identities whose first line is found without a search: those
	// that IDs begin with.
	firstIDs = HPServedUser + 1
)

// Message is the raw text of a request or response with an index over it. The
// zero value is empty and ready for [Message.Index]. After that it does not
// change; any number of goroutines may read it. A Message must not be copied.
type Message struct {
	raw    string // from the first octet of the start line to the end of the body
	status uint16

	// Of the start line, offsets as all that follow: where method, Request-URI and
	// version are; the reason phrase goes on to startEnd.
	methodEnd, uriStart, uriEnd, versionStart, versionEnd, reason uint16

	startEnd uint16 // end of the start line without its line end
	top      uint16 // start of the first header line
	body     uint16 // start of the body
	flags    uint8
	seen     [4]uint64 // set of IDs that occur
	twice    uint64    // of IDs below 64: those that more than one line has

	at    [firstIDs]uint16 // line with that ID, and 1; 0 for none
	lines []line
}

// line is one header field with its continuation lines. Offsets are into raw.
type line struct {
	start, nameEnd, valStart, valEnd, end uint16 // end is behind the last line end
	id                                    ID
	flags                                 uint8
}

// Line flags.
const (
	lineFolded  = 1 << iota // the value spans several lines
	lineNoColon             // no colon: not a header field at all
)

// Message flags.
const (
	msgRequest   = 1 << iota
	msgBareLF    // a line ended in LF alone
	msgShortBody // Content-Length promises more than came
	msgBadLength // Content-Length is not a number, or two disagree
	msgNoLength  // no Content-Length
	msgCutOff    // no empty line behind the header
)

// Parse indexes raw into a new Message.
func Parse(raw string) (*Message, error) {
	m := withRoom(countLines(raw))
	if err := m.Index(raw); err != nil {
		return nil, err
	}
	return m, nil
}

// Room is room for the index of a message of the usual length, in a struct that has the
// Message as well. A longer one takes an allocation.
type Room [32]line

// Use empties m, which keeps its index in r from here on.
func (m *Message) Use(r *Room) { *m = Message{lines: r[:0]} }

// withRoom returns a Message with room for n lines in the same allocation, for as many
// as is usual. The sizes fill those in which Go allocates: 384, 480 and 576 octets, of the last 8 its own.
func withRoom(n int) *Message {
	switch {
	case n <= 16:
		m := new(struct {
			Message
			room [16]line
		})
		m.lines = m.room[:0]
		return &m.Message
	case n <= 24:
		m := new(struct {
			Message
			room [24]line
		})
		m.lines = m.room[:0]
		return &m.Message
	case n <= 32:
		m := new(struct {
			Message
			room [32]line
		})
		m.lines = m.room[:0]
		return &m.Message
	}
	return new(Message)
}

// Raw returns the message from its start line to the end of its body. What
// followed the body in a datagram is not part of it (RFC 3261 §18.3).
func (m *Message) Raw() string { return m.raw }

// IsRequest reports whether the message has a request line.
func (m *Message) IsRequest() bool { return m.flags&msgRequest != 0 }

// Method returns the method of the request line; for a response that of CSeq,
// "" when CSeq cannot be read.
func (m *Message) Method() string {
	if m.IsRequest() {
		return m.method()
	}
	c, err := m.CSeq()
	if err != nil {
		return ""
	}
	return c.Method
}

// RequestURI returns the Request-URI as written, "" for responses.
func (m *Message) RequestURI() string { return m.raw[m.uriStart:m.uriEnd] }

// Version returns the SIP version of the start line as written.
func (m *Message) Version() string { return m.raw[m.versionStart:m.versionEnd] }

// Status returns the status code of a response. It is 0 for requests, and for
// responses whose code is not three digits.
func (m *Message) Status() int { return int(m.status) }

// Reason returns the reason phrase of a response.
func (m *Message) Reason() string {
	if m.reason == 0 {
		return ""
	}
	return m.raw[m.reason:m.startEnd]
}

// method is that of the request line; "" in responses.
func (m *Message) method() string { return m.raw[:m.methodEnd] }

// StartLine returns the request or status line without its line end.
func (m *Message) StartLine() string { return m.raw[:m.startEnd] }

// Body returns the body: as long as Content-Length says, or all that came
// behind the header when there is no usable Content-Length.
func (m *Message) Body() string { return m.raw[m.body:] }

// Len returns the number of header field lines; a folded one counts once.
func (m *Message) Len() int { return len(m.lines) }

// Line returns header field line i, 0 ≤ i < Len. name is as written; value is
// trimmed, and unfolded when it spans lines (only then it is a copy).
func (m *Message) Line(i int) (id ID, name, value string) {
	l := &m.lines[i]
	return l.id, m.raw[l.start:l.nameEnd], m.value(l)
}

// LineID returns the identity of header field line i.
func (m *Message) LineID(i int) ID { return m.lines[i].id }

// RawLine returns header field line i with its continuations and line ends.
func (m *Message) RawLine(i int) string {
	l := &m.lines[i]
	return m.raw[l.start:l.end]
}

func (m *Message) value(l *line) string {
	v := m.raw[l.valStart:l.valEnd]
	if l.flags&lineFolded != 0 {
		return unfold(v)
	}
	return v
}

// unfold replaces each line end with the white space around it by one space
// (RFC 3261 §7.3.1).
func unfold(v string) string {
	if strings.IndexByte(v, '\n') < 0 {
		return v
	}
	var b strings.Builder
	b.Grow(len(v))
	for {
		i := strings.IndexByte(v, '\n')
		if i < 0 {
			b.WriteString(v)
			return b.String()
		}
		b.WriteString(trimRightLWS(v[:i]))
		b.WriteByte(' ')
		v = trimLeftLWS(v[i:])
	}
}

// Has reports whether a header field line of that identity exists.
func (m *Message) Has(id ID) bool { return m.seen[id>>6]&(1<<(id&63)) != 0 }

// Count returns the number of header field lines of that identity.
func (m *Message) Count(id ID) int {
	if !m.Has(id) {
		return 0
	}
	if id < 64 && m.twice&(1<<id) == 0 {
		return 1
	}
	n := 0
	for i := range m.lines {
		if m.lines[i].id == id {
			n++
		}
	}
	return n
}

// first returns the index of the first line of that identity, -1 when there is none.
func (m *Message) first(id ID) int {
	if id < firstIDs {
		return int(m.at[id]) - 1
	}
	return m.search(id, 0)
}

// Find returns the index of the first line of that identity at or behind from,
// -1 when there is none.
func (m *Message) Find(id ID, from int) int {
	if from == 0 {
		return m.first(id)
	}
	if id < firstIDs && m.twice&(1<<id) == 0 && from >= int(m.at[id]) {
		return -1 // the only one, if there is one, comes before
	}
	return m.search(id, from)
}

func (m *Message) search(id ID, from int) int {
	if m.Has(id) {
		for i := from; i < len(m.lines); i++ {
			if m.lines[i].id == id {
				return i
			}
		}
	}
	return -1
}

// Get returns the value of the first line of that identity, "" when there is none.
func (m *Message) Get(id ID) string {
	if i := m.first(id); i >= 0 {
		return m.value(&m.lines[i])
	}
	return ""
}

// GetName returns the value of the first line of that name, for headers without
// an ID. Letter case does not matter.
func (m *Message) GetName(name string) string {
	if id := IDOf(name); id != Other {
		return m.Get(id)
	}
	for i := range m.lines {
		l := &m.lines[i]
		if l.id == Other && equalFold(m.raw[l.start:l.nameEnd], name) {
			return m.value(l)
		}
	}
	return ""
}
