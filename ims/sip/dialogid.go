package sip

import "errors"

// CallID returns the Call-ID, "" when there is none.
func (m *Message) CallID() string { return m.Get(HCallID) }

// FromTag returns the tag of From, "" when there is none.
func (m *Message) FromTag() string { return tagOf(m.Get(HFrom)) }

// ToTag returns the tag of To, "" when there is none.
func (m *Message) ToTag() string { return tagOf(m.Get(HTo)) }

func tagOf(v string) string {
	na, err := ParseNameAddr(v)
	if err != nil {
		return ""
	}
	return na.Tag()
}

// CSeq returns the parsed CSeq.
func (m *Message) CSeq() (CSeq, error) { return ParseCSeq(m.Get(HCSeq)) }

var errNoVia = errors.New("sip: no Via")

// TopVia returns the parsed topmost Via value.
func (m *Message) TopVia() (Via, error) {
	v := m.First(HVia)
	if v == "" {
		return Via{}, errNoVia
	}
	return ParseVia(v)
}
