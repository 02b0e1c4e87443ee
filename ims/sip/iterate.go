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
			e, v, more = splitAt(v, ',', inside(id))
			if e = trimLWS(e); e != "" && !yield(e) {
				return
			}
		}
	}
}

// single are the headers in which a comma does not separate values. It is text
// there (Date, Subject), or part of a URI, or stands between the parameters of
// one value (challenges and credentials, RFC 3261 §7.3.1).
var single = func() (t [idCount]bool) {
	for _, id := range [...]ID{
		Other, HFrom, HTo, HCallID, HCSeq, HMaxForwards, HContentLength, HContentType,
		HContentDisposition, HExpires, HMinExpires, HDate, HSubject, HUserAgent, HServer, HOrganization,
		HTimestamp, HRetryAfter, HMIMEVersion, HPriority, HReplyTo, HReferTo, HReferredBy, HReplaces,
		HJoin, HTargetDialog, HIdentity, HIdentityInfo, HEvent, HSubscriptionState, HRAck, HRSeq,
		HSessionExpires, HMinSE, HSessionID, HSIPETag, HSIPIfMatch, HSuppressIfMatch, HMaxBreadth,
		HAuthorization, HProxyAuthorization, HWWWAuthenticate, HProxyAuthenticate,
		HAuthenticationInfo, HProxyAuthenticationInfo, HResponseKey, HEncryption, HHide,
		HPServedUser, HPProfileKey, HPUserDatabase, HPCalledPartyID, HPChargingVector,
		HPChargingFunctionAddresses, HPrivacy, HFlowTimer, HReferSub, HRestorationInfo,
		HRelayedCharge, HPrivAnswerMode, HAnswerMode, HPriorityShare, HPChargeInfo,
	} {
		t[id] = true
	}
	return t
}()

func isList(id ID) bool { return int(id) < len(single) && !single[id] }

// inside says what commas of that header's values may stand in. Parentheses in a
// URI or a Call-ID are ordinary characters.
func inside(id ID) int {
	if id == HVia {
		return inComments
	}
	return inAngles
}
