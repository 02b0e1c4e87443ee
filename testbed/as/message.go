package as

import (
	"net"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	ours "github.com/gocscf/gocscf/ims/sip"
)

// compact are the long names of headers that have a short one.
var compact = map[string]string{
	"v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "c": "Content-Type",
	"l": "Content-Length", "k": "Supported", "e": "Content-Encoding", "s": "Subject", "o": "Event",
	"r": "Refer-To", "b": "Referred-By", "u": "Allow-Events", "x": "Session-Expires",
	"a": "Accept-Contact", "j": "Reject-Contact", "d": "Request-Disposition",
}

// newParser leaves every header as text but Content-Length, by which sipgo frames.
func newParser() *sip.Parser {
	all := sip.DefaultHeadersParser()
	return sip.NewParser(sip.WithHeadersParsers(map[string]sip.HeaderParser{
		"content-length": all["content-length"], "l": all["l"],
	}))
}

// tidy copies headers with their long names, one Via a line: sipgo finds no header
// by another name, and no first Via on a line of two.
func tidy(to sip.Message, headers []sip.Header) {
	for _, h := range headers {
		name := h.Name()
		if long, ok := compact[strings.ToLower(name)]; ok {
			name = long
		}
		switch {
		case strings.EqualFold(name, "Via"):
			for v := range ours.SplitValues(h.Value()) {
				to.AppendHeader(sip.NewHeader("Via", v))
			}
		case strings.EqualFold(name, "Content-Length"):
			to.AppendHeader(h)
		default:
			to.AppendHeader(sip.NewHeader(name, h.Value()))
		}
	}
}

func tidyRequest(m *sip.Request) *sip.Request {
	n := sip.NewRequest(m.Method, m.Recipient)
	n.SipVersion = m.SipVersion
	tidy(n, m.Headers())
	n.SetBody(m.Body())
	n.SetTransport(m.Transport())
	n.SetSource(m.Source())
	return n
}

func tidyResponse(m *sip.Response) *sip.Response {
	n := sip.NewResponse(m.StatusCode, m.Reason)
	n.SipVersion = m.SipVersion
	tidy(n, m.Headers())
	n.SetBody(m.Body())
	n.SetTransport(m.Transport())
	n.SetSource(m.Source())
	return n
}

// fault says what a request lacks (RFC 3261 8.1.1), "" for nothing. Asking makes
// sipgo read these headers and keep them; after that many may ask at once.
func fault(r *sip.Request) string {
	switch cseq := r.CSeq(); {
	case r.Via() == nil:
		return "no Via"
	case cseq == nil:
		return "no CSeq"
	case cseq.MethodName != r.Method:
		return "the CSeq is for another method"
	case r.From() == nil:
		return "no From"
	case r.To() == nil:
		return "no To"
	case r.CallID() == nil:
		return "no Call-ID"
	}
	r.MaxForwards()
	r.ContentLength()
	return ""
}

// carrier is what requests and responses have in common.
type carrier interface {
	Headers() []sip.Header
}

// first is the value of the first header of that name, "" without one.
func first(m carrier, name string) string {
	for _, h := range m.Headers() {
		if strings.EqualFold(h.Name(), name) {
			return h.Value()
		}
	}
	return ""
}

// values are the comma-separated values of all headers of that name.
func values(m carrier, name string) []string {
	var list []string
	for _, h := range m.Headers() {
		if strings.EqualFold(h.Name(), name) {
			for v := range ours.SplitValues(h.Value()) {
				list = append(list, v)
			}
		}
	}
	return list
}

// others appends the headers of m but those named, in lower case, in own.
func others(to sip.Message, m carrier, own map[string]bool) {
	for _, h := range m.Headers() {
		if !own[strings.ToLower(h.Name())] {
			to.AppendHeader(sip.NewHeader(h.Name(), h.Value()))
		}
	}
}

func set(names ...string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, n := range names {
		s[n] = true
	}
	return s
}

// addrURI is the URI of a name-addr or addr-spec; ok is false where sipgo reads none.
func addrURI(value string) (u sip.Uri, ok bool) {
	params := sip.NewParams()
	_, err := sip.ParseAddressValue(value, &u, &params)
	return u, err == nil
}

// cutAddr splits a name-addr or addr-spec into its URI and where what follows the
// address begins; quoted text may hold any of these characters.
func cutAddr(value string) (uri string, end int) {
	quoted, open, spec := false, -1, len(value)
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && open < 0:
			quoted = !quoted
		case quoted:
		case c == '<':
			open = i + 1
		case c == '>' && open >= 0:
			return value[open:i], i + 1
		case c == ';' && spec == len(value):
			spec = i
		}
	}
	return strings.TrimSpace(value[:spec]), spec
}

// addrText is the text of an address's URI, as written.
func addrText(value string) string {
	uri, _ := cutAddr(value)
	return uri
}

// addrParams are the parameters behind the address, as written.
func addrParams(value string) []string {
	_, end := cutAddr(value)
	var parts []string
	quoted, from := false, -1
	cut := func(to int) {
		if from >= 0 {
			parts = append(parts, strings.TrimSpace(value[from:to]))
		}
		from = to + 1
	}
	for i := end; i < len(value); i++ {
		switch c := value[i]; {
		case c == ';' && !quoted:
			cut(i)
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		}
	}
	cut(len(value))
	return parts
}

// untagged is an address without its tag.
func untagged(value string) string {
	_, end := cutAddr(value)
	kept := value[:end]
	for _, p := range addrParams(value) {
		if name, _, _ := strings.Cut(p, "="); !strings.EqualFold(strings.TrimSpace(name), "tag") {
			kept += ";" + p
		}
	}
	return kept
}

func tagOf(p sip.HeaderParams) string {
	tag, _ := p.Get("tag")
	return tag
}

// toTag and fromTag are the tags of any message whose To and From sipgo can read.
func toTag(m sip.Message) string {
	if h := m.To(); h != nil {
		return tagOf(h.Params)
	}
	return ""
}

func fromTag(m sip.Message) string {
	if h := m.From(); h != nil {
		return tagOf(h.Params)
	}
	return ""
}

// received notes in the first Via where a request really came from (RFC 3261
// 18.2.1, RFC 3581 4) and returns where the answer goes (18.2.2). Call it once.
func received(r *sip.Request) string {
	via := r.Via()
	host, port, err := net.SplitHostPort(r.Source())
	if err != nil {
		return r.Source()
	}
	parts := strings.Split(first(r, "Via"), ";")
	back := "5060"
	if via.Port > 0 {
		back = strconv.Itoa(via.Port)
	}
	note := strings.Trim(via.Host, "[]") != host
	for i, p := range parts {
		if strings.EqualFold(strings.TrimSpace(p), "rport") {
			parts[i], back, note = "rport="+port, port, true
		}
	}
	if note {
		parts = append(parts, "received="+host)
		for i, h := range r.Headers() {
			if h.Name() == "Via" {
				r.Headers()[i] = sip.NewHeader("Via", strings.Join(parts, ";"))
				break
			}
		}
	}
	if sip.IsReliable(r.Transport()) {
		return r.Source()
	}
	return net.JoinHostPort(host, back)
}

// phrase is the reason phrase to a status.
func phrase(code int, reason string) string {
	if reason != "" {
		return reason
	}
	return ours.StatusText(code)
}
