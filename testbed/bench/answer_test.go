package bench

import (
	"bytes"
	"iter"
	"slices"
)

// lines yields the header lines of a message, without their ends.
func lines(m []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			line, rest, found := bytes.Cut(m, []byte("\r\n"))
			if !found || len(line) == 0 || !yield(line) {
				return
			}
			m = rest
		}
	}
}

// respond answers a request, with what a response repeats of it (RFC 3261 8.2.6.2).
func (p *phone) respond(req []byte, status, body string) error {
	p.out = p.out[:0]
	p.add("SIP/2.0 ", status, "\r\n")
	for line := range lines(req) {
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Via", "Record-Route", "From", "Call-ID", "CSeq":
			p.out = append(append(p.out, line...), "\r\n"...)
		case "To":
			p.out = append(p.out, line...)
			if !bytes.Contains(value, []byte(";tag=")) {
				p.add(";tag=", p.imsi)
			}
			p.add("\r\n")
		}
	}
	p.add("Contact: <sip:", p.imsi, "@", p.local, ">", tags, "\r\n", agent)
	if body != "" {
		p.add("Content-Type: application/sdp\r\n")
	}
	return p.send(body)
}

// dialog reads the caller's side of a dialog from a 200: the remote target and
// the Route lines (RFC 3261 12.1.2).
func dialog(ok []byte) (target string, routes []byte) {
	var set [][]byte
	for line := range lines(ok) {
		if v, found := bytes.CutPrefix(line, []byte("Record-Route: ")); found {
			set = append(set, bytes.Split(v, []byte(", "))...)
		}
		if v, found := bytes.CutPrefix(line, []byte("Contact: <")); found {
			uri, _, _ := bytes.Cut(v, []byte(">"))
			target = string(uri)
		}
	}
	for _, r := range slices.Backward(set) {
		routes = append(append(append(routes, "Route: "...), r...), "\r\n"...)
	}
	return target, routes
}
