package load

import (
	"bytes"
	"slices"
	"strconv"
)

const (
	agent = "Allow: INVITE, ACK, OPTIONS, BYE, CANCEL, UPDATE, INFO, PRACK, NOTIFY, MESSAGE, REFER\r\nUser-Agent: IMS-UE/1.0\r\n" +
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010019B01\r\n"
	tags = `;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`
	sdp  = "v=0\r\no=UE 1 1 IN IP4 10.45.0.2\r\ns=-\r\nc=IN IP4 10.45.0.2\r\nt=0 0\r\nm=audio 49120 RTP/AVP 96\r\na=rtpmap:96 AMR-WB/16000\r\n"
	text = "Are you there?"

	branchPrefix = "z9hG4bKl"

	sos = "urn:service:sos" // whom an emergency call is for (RFC 5031)
)

// appendCalled is the URI of a called phone; with none it is an emergency call.
func (e *engine) appendCalled(b []byte, to *phone) []byte {
	if to == nil {
		return append(b, sos...)
	}
	return e.appendIMPU(b, to.index)
}

// request writes the beginning of a request: the request line, Via with a branch,
// Max-Forwards, Route, Call-ID and CSeq.
func (e *engine) request(b []byte, p *phone, method string, uri, routes, callID []byte, cseq uint32, branch uint64) []byte {
	b = append(append(append(b, method...), ' '), uri...)
	b = e.appendSentBy(append(b, " SIP/2.0\r\nVia: SIP/2.0/UDP "...), p)
	b = strconv.AppendUint(append(b, ";branch="+branchPrefix...), branch, 36)
	b = append(append(b, ";rport\r\nMax-Forwards: 70\r\n"...), routes...)
	b = append(append(b, "Call-ID: "...), callID...)
	b = strconv.AppendUint(append(b, "\r\nCSeq: "...), uint64(cseq), 10)
	return append(append(append(b, ' '), method...), "\r\n"...)
}

// newBranch numbers a transaction.
func (e *engine) newBranch() uint64 {
	e.branches++
	return e.branches
}

// appendTag makes the tag that a phone has in a dialog: the number is in the Call-ID.
func (e *engine) appendTag(b []byte, p *phone) []byte {
	return strconv.AppendUint(append(b, ";tag=l"...), uint64(p.index), 36)
}

func (e *engine) appendFrom(b []byte, p *phone) []byte {
	b = append(e.appendIMPU(append(b, "From: <"...), p.index), '>')
	return append(e.appendTag(b, p), "\r\n"...)
}

func (e *engine) appendContact(b []byte, p *phone) []byte {
	b = append(e.appendIMSI(append(b, "Contact: <sip:"...), p.index), '@')
	return append(e.appendSentBy(b, p), ">"+tags...)
}

func appendBody(b []byte, kind, body string) []byte {
	if body != "" {
		b = append(append(append(b, "Content-Type: "...), kind...), "\r\n"...)
	}
	b = strconv.AppendInt(append(b, "Content-Length: "...), int64(len(body)), 10)
	return append(append(b, "\r\n\r\n"...), body...)
}

// initial writes a request outside of dialogs up to P-Preferred-Identity.
func (e *engine) initial(b []byte, a *attempt, method string, to *phone, branch uint64) []byte {
	e.uri = e.appendCalled(e.uri[:0], to)
	b = e.request(b, a.from, method, e.uri, a.from.routes, a.callID, a.cseq, branch)
	b = e.appendFrom(b, a.from)
	b = append(append(append(b, "To: <"...), e.uri...), ">\r\nP-Preferred-Identity: <"...)
	b = append(e.appendIMPU(b, a.from.index), ">\r\n"...)
	return append(b, agent...)
}

// inDialog writes a request of the caller in its dialog, without a body.
func (e *engine) inDialog(b []byte, a *attempt, method string, branch uint64) []byte {
	b = e.request(b, a.from, method, a.target, a.routes, a.callID, a.cseq, branch)
	b = e.appendFrom(b, a.from)
	b = append(append(append(b, "To: "...), a.toTag...), "\r\n"...)
	return appendBody(b, "", "")
}

// acknowledge writes the ACK to a final answer that is none of success: it goes the
// INVITE's way, with its branch (RFC 3261 17.1.1.3).
func (e *engine) acknowledge(b []byte, from, to *phone, h *heard, branch uint64) []byte {
	e.uri = e.appendCalled(e.uri[:0], to)
	number, _, _ := bytes.Cut(h.cseq, []byte(" "))
	cseq, _ := strconv.ParseUint(string(number), 10, 32)
	b = e.request(b, from, "ACK", e.uri, from.routes, h.callID, uint32(cseq), branch)
	b = append(append(append(b, "From: "...), h.from...), "\r\nTo: "...)
	return appendBody(append(append(b, h.to...), "\r\n"...), "", "")
}

// respond writes an answer, with what a response repeats of the request (RFC 3261
// 8.2.6.2).
func (e *engine) respond(b []byte, p *phone, h *heard, status, kind, body string) []byte {
	b = append(append(append(b, "SIP/2.0 "...), status...), "\r\n"...)
	b = append(b, h.via...)
	for _, r := range h.records {
		b = append(append(append(b, "Record-Route: "...), r...), "\r\n"...)
	}
	b = append(append(append(b, "From: "...), h.from...), "\r\nTo: "...)
	if b = append(b, h.to...); !hasTag(h.to) {
		b = e.appendTag(b, p)
	}
	b = append(append(append(b, "\r\nCall-ID: "...), h.callID...), "\r\nCSeq: "...)
	b = append(append(b, h.cseq...), "\r\n"...)
	b = append(append(e.appendContact(b, p), "\r\n"...), agent...)
	return appendBody(b, kind, body)
}

// dialog takes the caller's side of a dialog from an answer of success (RFC 3261
// 12.1.2).
func (a *attempt) dialog(h *heard) {
	a.toTag = append(a.toTag[:0], h.to...)
	a.target = append(a.target[:0], between(h.contact)...)
	a.routes = appendRoutes(a.routes[:0], h)
}

// appendRoutes writes the route set of who has sent the request.
func appendRoutes(b []byte, h *heard) []byte {
	for _, r := range slices.Backward(h.records) {
		b = append(append(append(b, "Route: "...), r...), "\r\n"...)
	}
	return b
}
