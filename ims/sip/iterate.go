package sip

import "iter"

// Lines yields the value of each header field line of that identity, in order.
func (m *Message) Lines(id ID) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := m.Find(id, 0); i >= 0; i = m.Find(id, i+1) {
			if !yield(m.value(&m.lines[i])) {
				return
			}
		}
	}
}

// Values yields the comma-separated values of all lines of that identity, in
// order, trimmed; empty ones are left out. Commas in quoted strings, angle
// brackets and, where the header has them, comments do not separate. A header
// that is no list yields its lines whole.
func (m *Message) Values(id ID) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := m.Find(id, 0); i >= 0; i = m.Find(id, i+1) {
			v := m.value(&m.lines[i])
			if !isList(id) {
				if !yield(v) {
					return
				}
				continue
			}
			for e := range split(v, id) {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// First returns the first value of that identity, as Values would yield it.
func (m *Message) First(id ID) string {
	for v := range m.Values(id) {
		return v
	}
	return ""
}

// SplitValues yields the comma-separated elements of one header value, trimmed,
// without the empty ones.
func SplitValues(v string) iter.Seq[string] { return split(v, Other) }

func split(v string, id ID) iter.Seq[string] {
	return func(yield func(string) bool) {
		for more := true; more; {
			var e string
			e, v, more = splitAt(v, ',', hasComments(id))
			if e = trimLWS(e); e != "" && !yield(e) {
				return
			}
		}
	}
}

// isList reports whether commas separate values of that header. In most others
// a comma is text (Date, Subject), or separates parameters of one value
// (challenges and credentials, RFC 3261 §7.3.1).
func isList(id ID) bool {
	switch id {
	case Other, HFrom, HTo, HCallID, HCSeq, HDate, HSubject, HUserAgent, HServer, HOrganization,
		HAuthorization, HProxyAuthorization, HWWWAuthenticate, HProxyAuthenticate,
		HAuthenticationInfo, HProxyAuthenticationInfo, HTimestamp, HRetryAfter, HIdentity,
		HEvent, HContentType, HContentDisposition, HReplaces, HJoin, HTargetDialog,
		HPServedUser, HPProfileKey, HPUserDatabase:
		return false
	}
	return true
}

// hasComments reports whether parentheses enclose comments in that header.
// Elsewhere, in a Call-ID or a URI, they are ordinary characters.
func hasComments(id ID) bool { return id == HVia }
