package ue

import (
	"bytes"

	"github.com/gocscf/gocscf/ims/sip"
)

// letters are the compact names that phones use (RFC 3261 7.3.3).
var letters = map[sip.ID]byte{
	sip.HVia: 'v', sip.HFrom: 'f', sip.HTo: 't', sip.HCallID: 'i', sip.HContact: 'm', sip.HContentLength: 'l',
	sip.HContentType: 'c', sip.HSupported: 'k', sip.HAcceptContact: 'a', sip.HEvent: 'o',
}

// spell writes a message in the phone's manner. What it means stays the same.
func (p *Profile) spell(data []byte) []byte {
	if !p.Compact && !p.Folded {
		return data
	}
	head, body, ok := bytes.Cut(data, []byte("\r\n\r\n"))
	if !ok {
		return data
	}
	out := make([]byte, 0, len(data)+64)
	for i, line := range bytes.Split(head, []byte("\r\n")) {
		if i > 0 {
			out = append(out, "\r\n"...)
			line = p.spellLine(line)
		}
		out = append(out, line...)
	}
	return append(append(out, "\r\n\r\n"...), body...)
}

func (p *Profile) spellLine(line []byte) []byte {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return line
	}
	id := sip.IDOf(string(name))
	if c, ok := letters[id]; ok && p.Compact {
		return append([]byte{c, ':'}, value...)
	}
	if id == sip.HAuthorization && p.Folded {
		return fold(line)
	}
	return line
}

// fold breaks a line behind each comma that is not quoted (RFC 3261 7.3.1).
func fold(line []byte) []byte {
	out := make([]byte, 0, len(line)+48)
	quoted := false
	for i, c := range line {
		out = append(out, c)
		switch {
		case c == '"' && (i == 0 || line[i-1] != '\\'):
			quoted = !quoted
		case c == ',' && !quoted:
			out = append(out, "\r\n "...)
		}
	}
	return out
}
