package sip

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of [Message.Index], for what is not a SIP message.
var (
	ErrEmpty     = errors.New("sip: no message: nothing but line ends")
	ErrTooLarge  = fmt.Errorf("sip: message longer than %d octets", MaxMessage)
	ErrTooMany   = fmt.Errorf("sip: more than %d header lines", MaxLines)
	ErrStartLine = errors.New("sip: the first line is neither a request line nor a status line")
)

// Index points m at raw: the start line and each header line are found, no value
// is parsed. The index is allocated as large as it takes, or what m had room for
// before is used again. It errs only when raw cannot be treated as a SIP message;
// [Validate] judges the rest.
func (m *Message) Index(raw string) error {
	for raw != "" && (raw[0] == '\r' || raw[0] == '\n') { // RFC 3261 §7.5
		raw = raw[1:]
	}
	m.clear()
	if raw == "" {
		return ErrEmpty
	}
	if len(raw) > MaxMessage {
		return ErrTooLarge
	}
	end, next := m.lineEnd(raw, 0)
	if !m.startLine(raw[:end]) {
		m.clear()
		return ErrStartLine
	}
	m.startEnd, m.top = uint16(end), uint16(next)
	if cap(m.lines) == 0 {
		m.lines = make([]line, 0, countLines(raw))
	}
	if err := m.header(raw, next); err != nil {
		m.clear()
		return err
	}
	m.frameBody(raw)
	return nil
}

// clear empties m, and keeps its room.
func (m *Message) clear() { *m = Message{lines: m.lines[:0]} }

// Respell makes m what Index would make of its text with another value in header line i,
// which is not Content-Length; the value is trimmed and without line ends. It is for whoever
// has indexed m, before anybody else has it: what stands behind is moved, not read again.
func (m *Message) Respell(i int, value []byte) error {
	l := &m.lines[i]
	name := m.raw[l.start:l.nameEnd]
	long := len(name) + len(": ") + len(value) + len("\r\n")
	shift := long - int(l.end-l.start)
	if len(m.raw)+shift > MaxMessage {
		return ErrTooLarge
	}
	var b strings.Builder
	b.Grow(len(m.raw) + shift)
	b.WriteString(m.raw[:l.nameEnd])
	b.WriteString(": ")
	b.Write(value)
	b.WriteString("\r\n")
	b.WriteString(m.raw[l.end:])
	m.raw = b.String()
	l.valStart = l.nameEnd + uint16(len(": "))
	l.valEnd = l.valStart + uint16(len(value))
	l.end += uint16(shift)
	l.flags &^= lineFolded
	for j := i + 1; j < len(m.lines); j++ {
		l := &m.lines[j]
		l.start, l.nameEnd, l.valStart = l.start+uint16(shift), l.nameEnd+uint16(shift), l.valStart+uint16(shift)
		l.valEnd, l.end = l.valEnd+uint16(shift), l.end+uint16(shift)
	}
	m.body += uint16(shift)
	return nil
}

// countLines returns how many header lines raw has, or a few more: folded ones count
// as several.
func countLines(raw string) int {
	if end := strings.Index(raw, "\r\n\r\n"); end >= 0 {
		raw = raw[:end]
	}
	return min(strings.Count(raw, "\n"), MaxLines)
}

// lineEnd returns where the line from start ends and the next one begins. It notes
// an LF without CR, and a line that is cut off by the end of the datagram.
func (m *Message) lineEnd(raw string, start int) (end, next int) {
	nl := strings.IndexByte(raw[start:], '\n')
	if nl < 0 {
		m.flags |= msgCutOff
		return len(raw), len(raw)
	}
	nl += start
	if nl > start && raw[nl-1] == '\r' {
		return nl - 1, nl + 1
	}
	m.flags |= msgBareLF
	return nl, nl + 1
}

// startLine splits a request or status line leniently: exactly one space between
// the parts is Validate's business. It reports false for what is no SIP at all.
func (m *Message) startLine(s string) bool {
	if isVersion(s) {
		version, rest := cutSpace(s)
		m.versionEnd = uint16(len(version))
		code, reason := cutSpace(trimLeftLWS(rest))
		if len(reason) > 0 {
			m.reason = uint16(len(s) - len(reason) + 1)
		}
		if len(code) == 3 {
			if n, ok := parseUint(code, 999); ok && n >= 100 {
				m.status = uint16(n)
			}
		}
		return true
	}
	method, rest := cutSpace(s)
	rest = trimLeftLWS(rest)
	start := len(s) - len(rest)
	rest = trimRightLWS(rest)
	sp := strings.LastIndexByte(rest, ' ')
	if method == "" || sp < 0 || !isVersion(rest[sp+1:]) {
		return false
	}
	m.flags |= msgRequest
	m.methodEnd = uint16(len(method))
	m.uriStart, m.uriEnd = uint16(start), uint16(start+len(trimRightLWS(rest[:sp])))
	m.versionStart, m.versionEnd = uint16(start+sp+1), uint16(start+len(rest))
	return true
}

// isVersion reports whether s starts like a SIP-Version of whatever number.
func isVersion(s string) bool { return len(s) > 4 && s[3] == '/' && equalFold(s[:3], "SIP") }

// cutSpace splits before the first space.
func cutSpace(s string) (head, tail string) {
	if i := strings.IndexByte(s, ' '); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// header indexes the lines from pos to the empty line. Without one the header
// goes on to the end of the datagram: there may be enough of it to answer 400.
func (m *Message) header(raw string, pos int) error {
	for pos < len(raw) {
		end, next := m.lineEnd(raw, pos)
		if end == pos {
			m.body = uint16(next)
			return nil
		}
		if len(m.lines) == MaxLines {
			return ErrTooMany
		}
		var flags uint8
		for next < len(raw) && (raw[next] == ' ' || raw[next] == '\t') {
			end, next = m.lineEnd(raw, next)
			flags |= lineFolded
		}
		m.addLine(raw, pos, end, next, flags)
		pos = next
	}
	m.flags |= msgCutOff
	m.body = uint16(len(raw))
	return nil
}

// addLine indexes raw[start:next], whose text ends at end.
func (m *Message) addLine(raw string, start, end, next int, flags uint8) {
	colon := strings.IndexByte(raw[start:end], ':')
	nameEnd, val := end, end
	if colon < 0 {
		flags |= lineNoColon
	} else {
		nameEnd, val = start+colon, start+colon+1
	}
	for nameEnd > start && isLWS(raw[nameEnd-1]) { // "TO :" is allowed
		nameEnd--
	}
	for val < end && isLWS(raw[val]) {
		val++
	}
	for end > val && isLWS(raw[end-1]) {
		end--
	}
	if flags&lineFolded != 0 && strings.IndexByte(raw[val:end], '\n') < 0 {
		flags &^= lineFolded // folded in front of the value only
	}
	id := Other
	if colon >= 0 {
		id = IDOf(raw[start:nameEnd])
	}
	bit := uint64(1) << (id & 63)
	if id < 64 && m.seen[0]&bit != 0 {
		m.twice |= bit
	}
	m.seen[id>>6] |= bit
	m.lines = append(m.lines, line{
		start: uint16(start), nameEnd: uint16(nameEnd), valStart: uint16(val),
		valEnd: uint16(end), end: uint16(next), id: id, flags: flags,
	})
	if id < firstIDs && m.at[id] == 0 {
		m.at[id] = uint16(len(m.lines))
	}
}

// frameBody cuts raw at the end of the body that Content-Length announces.
func (m *Message) frameBody(raw string) {
	m.raw = raw
	length, have := 0, false
	for i := m.first(HContentLength); i >= 0; i = m.Find(HContentLength, i+1) {
		n, ok := parseUint(m.value(&m.lines[i]), MaxMessage)
		switch {
		case !ok:
			m.flags |= msgBadLength
			return
		case have && int(n) != length:
			m.flags |= msgBadLength
			return
		}
		length, have = int(n), true
	}
	switch end := int(m.body) + length; {
	case !have:
		m.flags |= msgNoLength
	case end > len(raw):
		m.flags |= msgShortBody
	default:
		m.raw = raw[:end]
	}
}
