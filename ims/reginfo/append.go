package reginfo

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// Namespaces of the document and its extensions.
const (
	nsReginfo = "urn:ietf:params:xml:ns:reginfo"
	nsGRUU    = "urn:ietf:params:xml:ns:gruuinfo"
	nsRegExp  = "urn:3gpp:ns:extRegExp:1.0"
)

const (
	endOfRegistration = "</registration>"
	endOfDocument     = "</reginfo>\n"
)

// Append appends the document to dst, without space between elements: over UDP
// a long NOTIFY is fragmented inside ESP. Whatever the values hold, the result
// is well-formed.
func (d *Document) Append(dst []byte) []byte {
	dst, _, _ = d.write(dst, len(d.Registrations), math.MaxInt)
	return dst
}

// AppendMost is Append for a document that shall have so many octets at most, and no more
// registrations than Parse takes: it writes those that fit, in order, one at least, and
// says how many they are. When that one alone is too long it is without the contacts that
// do not fit, and whole is false.
func (d *Document) AppendMost(dst []byte, octets int) (out []byte, registrations int, whole bool) {
	return d.write(dst, min(len(d.Registrations), maxRegistrations), len(dst)+octets)
}

// write stops where dst would be longer than most.
func (d *Document) write(dst []byte, count, most int) (out []byte, n int, whole bool) {
	dst = d.begin(dst)
	most -= len(endOfDocument)
	for whole = true; whole && n < count; n++ {
		at := len(dst)
		if dst, whole = d.Registrations[n].append(dst, most); !whole && n > 0 {
			dst, whole = dst[:at], true
			break
		}
	}
	return append(dst, endOfDocument...), n, whole
}

func (d *Document) begin(dst []byte) []byte {
	dst = append(dst, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<reginfo xmlns="`+nsReginfo+`"`...)
	gruu, wild := d.extensions()
	if gruu {
		dst = append(dst, ` xmlns:gr="`+nsGRUU+`"`...)
	}
	if wild {
		dst = append(dst, ` xmlns:ere="`+nsRegExp+`"`...)
	}
	// Zero is a version, so it is not left out as an absent number.
	dst = append(dst, ` version="`...)
	dst = strconv.AppendUint(dst, uint64(d.Version), 10)
	dst = append(dst, '"')
	if d.Partial {
		return append(dst, ` state="partial">`...)
	}
	return append(dst, ` state="full">`...)
}

func (d *Document) extensions() (gruu, wild bool) {
	for i := range d.Registrations {
		r := &d.Registrations[i]
		wild = wild || r.WildcardedIdentity != ""
		for j := range r.Contacts {
			gruu = gruu || r.Contacts[j].PubGRUU != "" || r.Contacts[j].TempGRUU != ""
		}
	}
	return gruu, wild
}

// append leaves out the contacts with which dst would be longer than most.
func (r *Registration) append(dst []byte, most int) (out []byte, whole bool) {
	dst = append(dst, "<registration"...)
	dst = attr(dst, "aor", r.AOR)
	dst = attr(dst, "id", r.ID)
	dst = attr(dst, "state", r.State.String())
	dst = append(dst, '>')
	whole = true
	for i := range r.Contacts {
		at := len(dst)
		if dst = r.Contacts[i].append(dst); len(dst) > most-len(endOfRegistration) {
			dst, whole = dst[:at], false
		}
	}
	if r.WildcardedIdentity != "" {
		dst = element(dst, "ere:wildcardedIdentity", r.WildcardedIdentity)
	}
	dst = append(dst, endOfRegistration...)
	return dst, whole && len(dst) <= most
}

func (c *Contact) append(dst []byte) []byte {
	dst = append(dst, "<contact"...)
	dst = attr(dst, "id", c.ID)
	dst = attr(dst, "state", c.State.String())
	dst = attr(dst, "event", c.Event.String())
	dst = numberAttr(dst, "duration-registered", c.DurationRegistered)
	dst = numberAttr(dst, "expires", c.Expires)
	dst = numberAttr(dst, "retry-after", c.RetryAfter)
	if c.Q != "" {
		dst = attr(dst, "q", c.Q)
	}
	if c.CallID != "" {
		dst = attr(dst, "callid", c.CallID)
	}
	dst = numberAttr(dst, "cseq", c.CSeq)
	dst = append(dst, '>')
	dst = element(dst, "uri", c.URI)
	if c.DisplayName != "" {
		dst = element(dst, "display-name", c.DisplayName)
	}
	for _, p := range c.UnknownParams {
		dst = append(dst, "<unknown-param"...)
		dst = attr(dst, "name", p.Name)
		dst = append(dst, '>')
		dst = escape(dst, p.Value, false)
		dst = append(dst, "</unknown-param>"...)
	}
	if c.PubGRUU != "" {
		dst = append(dst, "<gr:pub-gruu"...)
		dst = attr(dst, "uri", c.PubGRUU)
		dst = append(dst, "/>"...)
	}
	if c.TempGRUU != "" {
		dst = append(dst, "<gr:temp-gruu"...)
		dst = attr(dst, "uri", c.TempGRUU)
		dst = numberAttr(dst, "first-cseq", c.TempGRUUFirstCSeq)
		dst = append(dst, "/>"...)
	}
	return append(dst, "</contact>"...)
}

func attr(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, `="`...)
	dst = escape(dst, value, true)
	return append(dst, '"')
}

func numberAttr(dst []byte, name string, n uint32) []byte {
	if n == 0 {
		return dst
	}
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, `="`...)
	dst = strconv.AppendUint(dst, uint64(n), 10)
	return append(dst, '"')
}

func element(dst []byte, name, value string) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	dst = append(dst, '>')
	dst = escape(dst, value, false)
	dst = append(dst, "</"...)
	dst = append(dst, name...)
	return append(dst, '>')
}

// escape writes s as character data. What XML 1.0 cannot hold at all (NUL and
// other controls, invalid UTF-8) becomes U+FFFD.
func escape(dst []byte, s string, inAttr bool) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '&':
				dst = append(dst, "&amp;"...)
			case c == '<':
				dst = append(dst, "&lt;"...)
			case c == '>':
				dst = append(dst, "&gt;"...)
			case c == '"' && inAttr:
				dst = append(dst, "&quot;"...)
			case c == '\t' || c == '\n' || c == '\r':
				// As references they survive normalisation by the reader.
				dst = append(dst, "&#"...)
				dst = strconv.AppendUint(dst, uint64(c), 10)
				dst = append(dst, ';')
			case c < ' ':
				dst = append(dst, "\uFFFD"...)
			default:
				dst = append(dst, c)
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == 0xFFFE || r == 0xFFFF {
			dst = append(dst, "\uFFFD"...)
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}
