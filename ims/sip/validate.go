package sip

import (
	"fmt"
	"strings"
)

// Problem is what is wrong with a message and what its sender is owed.
type Problem struct {
	Status int    // of the answer to a request; 0: drop without an answer
	Reason string // reason phrase; it names the header (RFC 3261 §21.4.1)
	Header ID     // Other for the start line, the body or unknown headers
	Detail string // for logs; holds no text of the message
}

func (p *Problem) Error() string {
	if p.Status == 0 {
		return "sip: malformed message, dropped: " + p.Detail
	}
	return fmt.Sprintf("sip: malformed message, answer %d %s: %s", p.Status, p.Reason, p.Detail)
}

func badHeader(id ID, detail string) *Problem {
	return &Problem{Status: 400, Reason: "Bad " + id.String(), Header: id, Detail: detail}
}

// Validate judges whether a message is well formed, RFC 3261 §16.3 item 1, with
// the outcomes of RFC 4475. It returns nil for a message that can be processed.
// What a proxy or UAS says for other reasons, 416, 420 or 483, is theirs. The
// problems of responses and of ACKs have Status 0: there is nobody to answer.
//
// Validate reads what routing, transactions and dialogs rely on. A header that
// nobody here reads (Accept, Warning, a body) passes whatever it holds.
func Validate(m *Message) *Problem {
	var top Via
	return ValidateVia(m, &top)
}

// ValidateVia is Validate for who goes on with the top Via, which has been read with the
// others: it is in top when there is no problem.
func ValidateVia(m *Message, top *Via) *Problem {
	p := validate(m, top)
	if p != nil && (!m.IsRequest() || m.method() == "ACK") {
		p.Status, p.Reason = 0, ""
	}
	return p
}

func validate(m *Message, top *Via) *Problem {
	p := checkStartLine(m)
	if p == nil {
		p = checkSize(m)
	}
	if p == nil {
		p = checkLines(m)
	}
	if p == nil {
		p = checkCounts(m)
	}
	if p == nil {
		p = checkCSeq(m)
	}
	if p == nil {
		p = checkVias(m, top)
	}
	if p == nil {
		p = checkAddresses(m)
	}
	if p == nil {
		p = checkScalars(m)
	}
	if p == nil {
		p = checkLength(m)
	}
	return p
}

// growth is what the nodes on a message's way may add to it: Via, Record-Route, Path,
// what the core says of the user.
const growth = 8 << 10

// checkSize leaves room for growth within the bounds of Frame. A message that has
// outgrown them on its way costs a stream between two nodes, and with it what others
// have sent over that; here it costs its sender a 513.
func checkSize(m *Message) *Problem {
	switch {
	case int(m.body) > MaxHeader-growth:
		return &Problem{Status: 513, Reason: StatusText(513), Detail: "headers of more than 24 KiB"}
	case len(m.raw) > MaxMessage-growth:
		return &Problem{Status: 513, Reason: StatusText(513), Detail: "a message of more than 56 KiB"}
	}
	return nil
}

// checkStartLine wants exactly one space between the parts (RFC 4475 §3.1.2.8 to
// §3.1.2.11, §3.1.2.16, §3.1.2.19).
func checkStartLine(m *Message) *Problem {
	if !equalFold(m.Version(), "SIP/2.0") {
		return &Problem{Status: 505, Reason: StatusText(505), Detail: "SIP version is not 2.0"}
	}
	line := m.StartLine()
	if !m.IsRequest() {
		// The space behind the code may be missing: some phones leave it out
		// together with the reason phrase.
		if m.status < 100 || m.status > 699 || isLWS(line[m.versionEnd+1]) {
			return &Problem{Status: 400, Detail: "status line without a status code from 100 to 699"}
		}
		return nil
	}
	if !isToken(m.method()) {
		return &Problem{Status: 400, Reason: "Bad Request-Line", Detail: "the method is no token"}
	}
	if len(line) != len(m.method())+len(m.RequestURI())+len(m.Version())+2 {
		return &Problem{Status: 400, Reason: "Bad Request-Line", Detail: "white space in the request line other than one space between its parts"}
	}
	if detail := checkURI(m.RequestURI()); detail != "" {
		return &Problem{Status: 400, Reason: "Bad Request-URI", Detail: detail}
	}
	return nil
}

// checkLines looks for what is no header field, and for octets by which another
// parser could see other lines than we do.
func checkLines(m *Message) *Problem {
	if m.flags&msgBareLF != 0 {
		return &Problem{Status: 400, Reason: "Bad Line End", Detail: "a line ends without CR"}
	}
	head := m.raw[:m.body]
	if strings.Count(head, "\r") != strings.Count(head, "\n") { // each LF has its CR by now
		return &Problem{Status: 400, Reason: "Bad Line End", Detail: "a CR inside a line"}
	}
	for i := strings.IndexByte(head, 0); i >= 0; {
		if i == 0 || head[i-1] != '\\' { // a quoted-pair may hold it (RFC 4475 §3.1.1.2)
			return &Problem{Status: 400, Reason: "Bad Header", Detail: "a NUL in the header"}
		}
		n := strings.IndexByte(head[i+1:], 0)
		if n < 0 {
			break
		}
		i += n + 1
	}
	for i := range m.lines {
		l := &m.lines[i]
		if l.flags&lineNoColon != 0 {
			return &Problem{Status: 400, Reason: "Bad Header", Detail: "a header line without a colon"}
		}
		if l.id == Other && !isToken(m.raw[l.start:l.nameEnd]) {
			return &Problem{Status: 400, Reason: "Bad Header", Detail: "a header name that is no token"}
		}
	}
	return nil
}

// checkCounts wants the headers that every message has (RFC 3261 §8.1.1; Max-
// Forwards may be missing, for RFC 2543), and single ones once.
func checkCounts(m *Message) *Problem {
	for _, id := range [...]ID{HVia, HFrom, HTo, HCallID, HCSeq} {
		if m.Get(id) == "" {
			return &Problem{400, "Missing " + id.String(), id, "no " + id.String()}
		}
	}
	const single = 1<<HFrom | 1<<HTo | 1<<HCallID | 1<<HCSeq | 1<<HMaxForwards | 1<<HContentLength | 1<<HContentType
	if m.twice&single != 0 {
		for _, id := range [...]ID{HFrom, HTo, HCallID, HCSeq, HMaxForwards, HContentLength, HContentType} {
			if m.Count(id) > 1 {
				return &Problem{400, "Multiple " + id.String(), id, "more than one " + id.String()}
			}
		}
	}
	if hasWhite(m.CallID()) {
		return badHeader(HCallID, "white space in Call-ID")
	}
	return nil
}

// checkCSeq: a method nobody knows with another one in CSeq gets 501, which says
// more than 400 (RFC 4475 §3.1.2.17, §3.1.2.18).
func checkCSeq(m *Message) *Problem {
	c, err := m.CSeq()
	if err != nil {
		return badHeader(HCSeq, err.Error())
	}
	if !m.IsRequest() || c.Method == m.method() {
		return nil
	}
	if !KnownMethod(m.method()) {
		return &Problem{501, StatusText(501), HCSeq, "unknown method, and another one in CSeq"}
	}
	return badHeader(HCSeq, "CSeq has another method than the request line")
}

// checkVias reads every Via: the lower ones are where the response will go. A
// response that a broken peer would have sent on to everybody is stopped here
// (RFC 4475 §3.3.10). The first is left in top.
func checkVias(m *Message, top *Via) *Problem {
	n := 0
	var lower Via
	v := top
	for i := m.first(HVia); i >= 0; i = m.Find(HVia, i+1) {
		line := m.value(&m.lines[i])
		for more := true; more; {
			var s string
			if s, line, more = splitAt(line, ',', inside(HVia)); trimLWS(s) == "" {
				continue
			}
			n++
			var err error
			if *v, err = ParseVia(s); err != nil {
				return badHeader(HVia, err.Error())
			}
			if p := checkVia(v, n, m.IsRequest()); p != nil {
				return p
			}
			v = &lower
		}
	}
	if n == 0 {
		return &Problem{400, "Missing Via", HVia, "no Via"}
	}
	return nil
}

// checkVia judges value n of Via, counted from 1.
func checkVia(v *Via, n int, request bool) *Problem {
	switch {
	case n == 1 && v.Branch == MagicCookie: // §3.2.1: the next one would be the same again
		return badHeader(HVia, "branch is the magic cookie alone")
	case n == 2 && !request:
		if a, ok := v.HostAddr(); ok && (a.IsMulticast() || a.Is4() && a.As4() == [4]byte{255, 255, 255, 255}) {
			return badHeader(HVia, "the response would go to a broadcast or multicast address")
		}
	}
	return nil
}

// checkAddresses reads From, To, Contact and the route set.
func checkAddresses(m *Message) *Problem {
	for _, id := range [...]ID{HFrom, HTo} {
		if detail := checkAddress(m.Get(id)); detail != "" {
			return badHeader(id, detail)
		}
	}
	for _, id := range [...]ID{HContact, HRoute, HRecordRoute, HPath} {
		for i := m.first(id); i >= 0; i = m.Find(id, i+1) {
			line := m.value(&m.lines[i])
			for more := true; more; {
				var s string
				s, line, more = splitAt(line, ',', inside(id))
				if s = trimLWS(s); s == "" || id == HContact && s == "*" {
					continue
				}
				if detail := checkAddress(s); detail != "" {
					return badHeader(id, detail)
				}
			}
		}
	}
	return nil
}

// checkScalars reads numbers and dates. Expiry values are not looked at: a wrong
// one counts as absent (RFC 4475 §3.1.2.4).
func checkScalars(m *Message) *Problem {
	if m.Has(HMaxForwards) {
		if _, ok := m.MaxForwards(); !ok {
			return badHeader(HMaxForwards, "Max-Forwards is not a number from 0 to 255")
		}
	}
	if d := m.Get(HDate); d != "" && !strings.HasSuffix(d, "GMT") {
		return badHeader(HDate, "Date is not in GMT") // §3.1.2.12
	}
	return nil
}

func checkLength(m *Message) *Problem {
	switch {
	case m.flags&msgBadLength != 0:
		return badHeader(HContentLength, "Content-Length is no number or exceeds the bound")
	case m.flags&msgShortBody != 0:
		return badHeader(HContentLength, "Content-Length exceeds what came")
	case m.flags&msgCutOff != 0:
		return &Problem{Status: 400, Reason: "Missing Empty Line", Detail: "no empty line behind the header"}
	}
	return nil
}

// MaxForwards returns the value of Max-Forwards; ok is false when it is absent
// or not a number from 0 to 255.
func (m *Message) MaxForwards() (n int, ok bool) {
	v, ok := parseUint(m.Get(HMaxForwards), 255)
	return int(v), ok
}
