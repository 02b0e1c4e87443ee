package scscf

import (
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// request shows filter criteria a request as it would leave now: without our own
// Route entries, with what has been put in.
type request struct {
	x *proxy.Exchange
	m *sip.Message // with the edits, made when a criterion looks at headers first
}

func (r *request) Method() string     { return r.x.Req.Method() }
func (r *request) RequestURI() string { return r.x.RequestURI() }

func (r *request) Headers(yield func(name, value string) bool) {
	if r.m == nil {
		m, err := r.x.Req.Apply(&r.x.Edits)
		if err != nil { // too many lines now: as it came is better than nothing
			m = r.x.Req
		}
		r.m = m
	}
	for i := range r.m.Len() {
		id, name, value := r.m.Line(i)
		if id != sip.Other {
			name = id.String()
		}
		if !yield(name, value) {
			return
		}
	}
}

// SDPLines looks into multipart bodies too: an INVITE with a location or an ISUP
// part has its SDP there.
func (r *request) SDPLines(yield func(line string) bool) {
	m := r.x.Req
	ct, err := sip.ParseContentType(m.Get(sip.HContentType))
	if err != nil {
		return
	}
	if ct.Is("application/sdp") {
		sdpLines(m.Body(), yield)
		return
	}
	boundary, _ := ct.Params.Get("boundary")
	if boundary == "" || !strings.EqualFold(ct.Type, "multipart") {
		return
	}
	for part := range parts(m.Body(), boundary) {
		if isSDP, body := sdpPart(part); isSDP && !sdpLines(body, yield) {
			return
		}
	}
}

// maxParts bounds what is read of a multipart body.
const maxParts = 16

// parts yields the parts of a multipart body (RFC 2046 5.1.1), without what
// stands before the first boundary and behind the last.
func parts(body, boundary string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		delimiter := "--" + boundary
		rest, found := strings.CutPrefix(body, delimiter)
		if !found {
			_, rest, found = strings.Cut(body, "\n"+delimiter)
		}
		for n := 0; found && n < maxParts && !strings.HasPrefix(rest, "--"); n++ {
			var part string
			part, rest, found = strings.Cut(rest, "\n"+delimiter)
			if _, content, ok := strings.Cut(part, "\n"); ok && !yield(content) {
				return
			}
		}
	}
}

// sdpPart splits a part and reports whether it is SDP.
func sdpPart(part string) (isSDP bool, body string) {
	for part != "" {
		line, rest, _ := strings.Cut(part, "\n")
		part = rest
		line = strings.TrimSpace(line)
		if line == "" {
			return isSDP, part
		}
		name, value, _ := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); strings.EqualFold(name, "Content-Type") || strings.EqualFold(name, "c") {
			ct, err := sip.ParseContentType(strings.TrimSpace(value))
			isSDP = err == nil && ct.Is("application/sdp")
		}
	}
	return false, ""
}

// sdpLines reports whether yield wants more.
func sdpLines(body string, yield func(string) bool) bool {
	for body != "" {
		var line string
		line, body, _ = strings.Cut(body, "\n")
		if line = strings.TrimRight(line, "\r"); line != "" && !yield(line) {
			return false
		}
	}
	return true
}
