package profile

import (
	"errors"
	"strings"
)

// kind is what a token of a document is.
type kind uint8

const (
	text kind = iota
	start
	end
	directive // or another declaration
	nothing   // a comment, a processing instruction
)

// token is a piece of a document. Its string may be a part of the document,
// which it then keeps in memory.
type token struct {
	kind kind
	s    string // the local name of an element, or text without references
}

// errNotPlain is what a plain document is not; encoding/xml reads it then, and
// says what is wrong with it, if anything is.
var errNotPlain = errors.New("not plain")

// plain splits a document as encoding/xml does, more than ten times as fast, if
// it is of the kind that HSSes send: elements, attributes, comments and text, all
// ASCII, without references, CDATA or CR. It takes nothing that encoding/xml
// would refuse or read otherwise: where in doubt, it gives up.
type plain struct {
	doc  string
	pos  int      // behind the last token
	open []string // names of the open elements, with their prefixes
	tail bool     // the last token was a start whose element is empty
}

// declarations are the XML declarations of plain documents, in any letter case.
var declarations = [...]string{
	`<?xml version="1.0" encoding="UTF-8"?>`, `<?xml version='1.0' encoding='UTF-8'?>`,
	`<?xml version="1.0"?>`, `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`,
}

// line is the line that the last token ends in.
func (p *plain) line() int { return 1 + strings.Count(p.doc[:p.pos], "\n") }

// next returns the next token, false at the end.
func (p *plain) next() (token, bool, error) {
	if p.tail {
		p.tail = false
		return p.close()
	}
	rest := p.doc[p.pos:]
	switch {
	case rest == "":
		if len(p.open) > 0 {
			return token{}, false, errNotPlain
		}
		return token{}, false, nil
	case rest[0] != '<':
		return p.text(rest)
	case strings.HasPrefix(rest, "</"):
		name := rest[2 : 2+nameLen(rest[2:])]
		n := 2 + len(name)
		n += spaceLen(rest[n:])
		if name == "" || len(p.open) == 0 || p.open[len(p.open)-1] != name || !strings.HasPrefix(rest[n:], ">") {
			return token{}, false, errNotPlain
		}
		p.pos += n + 1
		return p.close()
	case strings.HasPrefix(rest, "<!--"):
		n := strings.Index(rest[4:], "--")
		if n < 0 || !strings.HasPrefix(rest[4+n+2:], ">") {
			return token{}, false, errNotPlain
		}
		p.pos += 4 + n + 3
		return token{kind: nothing}, true, nil
	case p.pos == 0 && strings.HasPrefix(rest, "<?"):
		for _, d := range declarations {
			if len(rest) >= len(d) && strings.EqualFold(rest[:len(d)], d) {
				p.pos = len(d)
				return token{kind: nothing}, true, nil
			}
		}
		return token{}, false, errNotPlain
	}
	return p.start(rest)
}

// close ends the innermost element.
func (p *plain) close() (token, bool, error) {
	name := p.open[len(p.open)-1]
	p.open = p.open[:len(p.open)-1]
	return token{kind: end, s: local(name)}, true, nil
}

// text takes text up to the next markup.
func (p *plain) text(rest string) (token, bool, error) {
	n := strings.IndexByte(rest, '<')
	if n < 0 {
		n = len(rest)
	}
	s := rest[:n]
	if !plainText(s) || strings.Contains(s, "]]>") {
		return token{}, false, errNotPlain
	}
	p.pos += n
	return token{kind: text, s: s}, true, nil
}

// start takes the tag that begins an element. Attributes are only checked.
func (p *plain) start(rest string) (token, bool, error) {
	name := rest[1 : 1+nameLen(rest[1:])]
	if name == "" {
		return token{}, false, errNotPlain
	}
	for n := 1 + len(name); ; {
		space := spaceLen(rest[n:])
		n += space
		switch {
		case strings.HasPrefix(rest[n:], ">"):
			p.pos += n + 1
		case strings.HasPrefix(rest[n:], "/>"):
			p.pos += n + 2
			p.tail = true
		default:
			size := attributeLen(rest[n:])
			if space == 0 || size == 0 {
				return token{}, false, errNotPlain
			}
			n += size
			continue
		}
		p.open = append(p.open, name)
		return token{kind: start, s: local(name)}, true, nil
	}
}

// attributeLen returns how long the attribute at the start of s is, 0 if there is
// no plain one.
func attributeLen(s string) int {
	n := nameLen(s)
	if n == 0 || len(s) < n+2 || s[n] != '=' || s[n+1] != '"' && s[n+1] != '\'' {
		return 0
	}
	value := s[n+2:]
	size := strings.IndexByte(value, s[n+1])
	if size < 0 || !plainText(value[:size]) || strings.IndexByte(value[:size], '<') >= 0 {
		return 0
	}
	return n + 2 + size + 1
}

// plainText reports whether s is ASCII without references, control characters
// and CR.
func plainText(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\n' && c != '\t' || c >= 0x80 || c == '&' {
			return false
		}
	}
	return true
}

// nameLen returns how long the name at the start of s is, 0 if there is none or
// it is no plain one: with a prefix at most, and that not empty.
func nameLen(s string) int {
	colon, n := -1, 0
	for ; n < len(s); n++ {
		switch c := s[n]; {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_':
		case n > 0 && ('0' <= c && c <= '9' || c == '-' || c == '.'):
		case n > 0 && c == ':' && colon < 0:
			colon = n
		case c >= 0x80 || c == ':':
			return 0
		default:
			if colon == n-1 {
				return 0
			}
			return n
		}
	}
	return 0 // a name is never the last of a document
}

// local is a name without its prefix.
func local(name string) string {
	return name[strings.IndexByte(name, ':')+1:]
}

func spaceLen(s string) int {
	n := 0
	for n < len(s) && (s[n] == ' ' || s[n] == '\n' || s[n] == '\t') {
		n++
	}
	return n
}
