package load

import (
	"bytes"
)

// heard is what a phone looks at in a message. Everything points into the datagram.
type heard struct {
	request      bool
	method       []byte // of a request, or of CSeq in a response
	status       int
	uri          []byte
	callID       []byte
	cseq         []byte // the value of CSeq
	via          []byte // the lines Via, with their names and ends
	topVia       []byte // the first value of Via
	from, to     []byte // values
	contact      []byte // the first value
	records      [][]byte
	services     [][]byte
	authenticate []byte // the first value of WWW-Authenticate
	retryAfter   bool
	subscription []byte // Subscription-State
	raw          []byte // all of it
}

// Header fields that count, and their compact forms (RFC 3261 7.3.3).
const (
	hOther = iota
	hVia
	hFrom
	hTo
	hCallID
	hCSeq
	hContact
	hRecordRoute
	hServiceRoute
	hAuthenticate
	hRetryAfter
	hSubscriptionState
)

func header(name []byte) int {
	is := func(full string, h int) int {
		if len(name) == len(full) && bytes.EqualFold(name, []byte(full)) {
			return h
		}
		return hOther
	}
	if len(name) == 0 {
		return hOther
	}
	switch len(name) {
	case 1:
		switch name[0] | 0x20 {
		case 'v':
			return hVia
		case 'f':
			return hFrom
		case 't':
			return hTo
		case 'i':
			return hCallID
		case 'm':
			return hContact
		}
	case 2:
		return is("To", hTo)
	case 3:
		return is("Via", hVia)
	case 4:
		if h := is("From", hFrom); h != hOther {
			return h
		}
		return is("CSeq", hCSeq)
	case 7:
		if h := is("Call-ID", hCallID); h != hOther {
			return h
		}
		return is("Contact", hContact)
	case 11:
		return is("Retry-After", hRetryAfter)
	case 12:
		return is("Record-Route", hRecordRoute)
	case 13:
		return is("Service-Route", hServiceRoute)
	case 16:
		return is("WWW-Authenticate", hAuthenticate)
	case 18:
		return is("Subscription-State", hSubscriptionState)
	}
	return hOther
}

// read takes a datagram apart; false if it is no SIP message. h's slices are used
// again.
func (h *heard) read(b []byte) bool {
	*h = heard{raw: b, records: h.records[:0], services: h.services[:0]}
	line, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok {
		return false
	}
	if after, ok := bytes.CutPrefix(line, []byte("SIP/2.0 ")); ok {
		if len(after) < 3 {
			return false
		}
		for _, c := range after[:3] {
			if c < '0' || c > '9' {
				return false
			}
			h.status = h.status*10 + int(c-'0')
		}
	} else {
		method, after, ok1 := bytes.Cut(line, []byte(" "))
		uri, version, ok2 := bytes.Cut(after, []byte(" "))
		if !ok1 || !ok2 || string(version) != "SIP/2.0" {
			return false
		}
		h.request, h.method, h.uri = true, method, uri
	}
	for {
		start := rest
		line, rest, ok = bytes.Cut(rest, []byte("\r\n"))
		if !ok {
			return false // headers do not end
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		value = bytes.TrimSpace(value)
		switch header(bytes.TrimRight(name, " \t")) {
		case hVia:
			if h.via == nil {
				h.topVia, _, _ = bytes.Cut(value, []byte(","))
				h.via = start[:len(line)+2]
			} else if end := cap(h.via) - cap(start); end == len(h.via) {
				// Via lines stand together in whatever anybody sends.
				h.via = h.via[:len(h.via)+len(line)+2]
			} else {
				h.via = append(bytes.Clone(h.via), start[:len(line)+2]...)
			}
		case hFrom:
			h.from = value
		case hTo:
			h.to = value
		case hCallID:
			h.callID = value
		case hCSeq:
			h.cseq = value
			if _, m, ok := bytes.Cut(value, []byte(" ")); ok && !h.request {
				h.method = bytes.TrimLeft(m, " ")
			}
		case hContact:
			if h.contact == nil {
				h.contact = value
			}
		case hRecordRoute:
			h.records = appendValues(h.records, value)
		case hServiceRoute:
			h.services = appendValues(h.services, value)
		case hAuthenticate:
			if h.authenticate == nil {
				h.authenticate = value
			}
		case hRetryAfter:
			h.retryAfter = true
		case hSubscriptionState:
			h.subscription = value
		}
	}
	return len(h.callID) > 0 && len(h.cseq) > 0 && len(h.topVia) > 0 && len(h.from) > 0 && len(h.to) > 0
}

// appendValues parts a header field at its commas, which route values have only
// between them or within <>.
func appendValues(list [][]byte, value []byte) [][]byte {
	depth, start := 0, 0
	for i, c := range value {
		switch {
		case c == '<':
			depth++
		case c == '>':
			depth--
		case c == ',' && depth == 0:
			list = append(list, bytes.TrimSpace(value[start:i]))
			start = i + 1
		}
	}
	return append(list, bytes.TrimSpace(value[start:]))
}

// between is the URI of a name-addr or addr-spec.
func between(value []byte) []byte {
	if _, rest, ok := bytes.Cut(value, []byte("<")); ok {
		uri, _, _ := bytes.Cut(rest, []byte(">"))
		return uri
	}
	uri, _, _ := bytes.Cut(value, []byte(";"))
	return bytes.TrimSpace(uri)
}

// branch is the value of the parameter of a Via.
func branch(via []byte) []byte {
	_, rest, ok := bytes.Cut(via, []byte(";branch="))
	if !ok {
		return nil
	}
	if end := bytes.IndexAny(rest, "; \t"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// hasTag reports whether a From or To has a tag.
func hasTag(value []byte) bool {
	if i := bytes.LastIndexByte(value, '>'); i >= 0 {
		value = value[i:]
	}
	return bytes.Contains(value, []byte(";tag="))
}
