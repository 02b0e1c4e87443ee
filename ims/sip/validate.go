package sip

import "fmt"

// Problem is what is wrong with a message and what its sender is owed.
type Problem struct {
	Status int    // of the answer to a request; 0: drop without an answer
	Reason string // reason phrase; it names the header (RFC 3261 §21.4.1)
	Header ID     // Other for the start line, the body or unknown headers
	Detail string // for logs
}

func (p *Problem) Error() string {
	if p.Status == 0 {
		return "sip: malformed message, dropped: " + p.Detail
	}
	return fmt.Sprintf("sip: malformed message, answer %d %s: %s", p.Status, p.Reason, p.Detail)
}

// Validate judges a message as RFC 3261 §16.3 item 1 asks of a proxy, and a UAS
// no less. It returns nil for a message that can be processed. The problems of a
// response, and of an ACK, have Status 0.
func Validate(m *Message) *Problem {
	p := validate(m)
	if p != nil && (!m.IsRequest() || m.Method() == "ACK") {
		p.Status = 0
	}
	return p
}

func validate(m *Message) *Problem {
	if !equalFold(m.version, "SIP/2.0") {
		return &Problem{505, StatusText(505), Other, "version " + m.version}
	}
	for _, id := range [...]ID{HVia, HFrom, HTo, HCallID, HCSeq} {
		if m.Get(id) == "" {
			return &Problem{400, "Missing " + id.String(), id, "no " + id.String()}
		}
	}
	if _, err := m.CSeq(); err != nil {
		return &Problem{400, "Bad CSeq", HCSeq, err.Error()}
	}
	if _, err := m.TopVia(); err != nil {
		return &Problem{400, "Bad Via", HVia, err.Error()}
	}
	return nil
}
