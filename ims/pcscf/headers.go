package pcscf

import (
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
)

// idSet is a set of header fields.
type idSet [256]bool

func setOf(ids ...sip.ID) (s idSet) {
	for _, id := range ids {
		s[id] = true
	}
	return s
}

// fromPhoneOut are headers that a phone may not send on: those that the network
// puts in (TS 24.229 4.4, 5.2.6.3; RFC 3325 6, RFC 5502 4, RFC 7315 4), and the
// security agreement, which is between it and us alone (RFC 3329 2.3). A phone is
// no proxy: a Record-Route of its would be a way around us. Resource-Priority goes
// too (TS 24.229 5.2.1, RFC 4412 4.7), but for what passPriority puts back, and nobody believes a phone who has diverted what (RFC 7044 11), or who pays.
var fromPhoneOut = setOf(
	sip.HPAssertedIdentity, sip.HPChargingVector, sip.HPChargingFunctionAddresses, sip.HPServedUser,
	sip.HPUserDatabase, sip.HPProfileKey, sip.HPAssertedService, sip.HPVisitedNetworkID, sip.HPCalledPartyID,
	sip.HPAssociatedURI, sip.HPath, sip.HServiceRoute, sip.HPPrivateNetworkIndication, sip.HFeatureCaps,
	sip.HPDCSTracePartyID, sip.HPDCSOSPS, sip.HPDCSBillingInfo, sip.HPDCSLAES, sip.HPDCSRedirect,
	sip.HRestorationInfo, sip.HRelayedCharge, sip.HServiceInteractInfo, sip.HPriorityShare, sip.HResponseSource,
	sip.HAttestationInfo, sip.HOriginationId, sip.HResourcePriority, sip.HHistoryInfo,
	sip.HDiversion, sip.HPChargeInfo, sip.HRemotePartyID,
	sip.HSecurityClient, sip.HSecurityVerify, sip.HSecurityServer,
)

// toPhoneOut are headers that stay in the network, which a phone is no part of (TS
// 24.229 4.4, 5.2.6.4; RFC 5502 4). Where the other phone is, is its own affair
// (RFC 7315 4.4.2).
var toPhoneOut = setOf(
	sip.HPChargingVector, sip.HPChargingFunctionAddresses, sip.HPServedUser, sip.HPUserDatabase,
	sip.HPProfileKey, sip.HPVisitedNetworkID, sip.HPAccessNetworkInfo, sip.HCellularNetworkInfo,
	sip.HPPrivateNetworkIndication, sip.HPDCSTracePartyID, sip.HPDCSOSPS, sip.HPDCSBillingInfo, sip.HPDCSLAES, sip.HPDCSRedirect,
	sip.HRestorationInfo, sip.HRelayedCharge, sip.HServiceInteractInfo, sip.HPriorityShare,
	sip.HAttestationInfo, sip.HOriginationId,
)

// secAgree is the option tag of RFC 3329.
const secAgree = "sec-agree"

// scrubFromPhone takes out of a request or response of a phone what it must not
// say.
func scrubFromPhone(e *sip.Edits, m *sip.Message) {
	scrubLinesFromPhone(e, m, true)
	scrubRestFromPhone(e, m)
}

// scrubLinesFromPhone takes out single lines. Authorization is left alone for who
// writes it anew.
func scrubLinesFromPhone(e *sip.Edits, m *sip.Message, authorization bool) {
	request := m.IsRequest()
	for i := range m.Len() {
		switch id := m.LineID(i); {
		case fromPhoneOut[id], id == sip.HRecordRoute && request:
			e.RemoveLine(i)
		case id == sip.HAuthorization && authorization, id == sip.HProxyAuthorization:
			_, _, value := m.Line(i)
			// Nor may it say how it is protected (TS 24.229 5.2.2.2).
			if c, err := sip.ParseCredentials(value); err != nil || strings.EqualFold(c.Scheme, "Digest") {
				scrubCredentials(e, i, c, err)
			}
		}
	}
}

func scrubRestFromPhone(e *sip.Edits, m *sip.Message) {
	removeOption(e, m, sip.HRequire, secAgree)
	removeOption(e, m, sip.HProxyRequire, secAgree)
	scrubAccessNetwork(e, m)
	scrubEarlyMedia(e, m)
}

func scrubCredentials(e *sip.Edits, line int, c sip.Credentials, err error) {
	switch {
	case err != nil: // it might be read otherwise elsewhere
		e.RemoveLine(line)
	case c.IntegrityProtected != "" || c.IK != "" || c.CK != "":
		c.IntegrityProtected, c.IK, c.CK = "", "", ""
		e.ReplaceLine(line, credentials(&c))
	}
}

// credentials writes c for the wire.
func credentials(c *sip.Credentials) string {
	var buf [1024]byte
	return string(c.AppendTo(buf[:0]))
}

// scrubToPhone takes out of a request or response for a phone what it must not see.
func scrubToPhone(e *sip.Edits, m *sip.Message) {
	for i := range m.Len() {
		switch id := m.LineID(i); {
		case toPhoneOut[id]:
			e.RemoveLine(i)
		case id == sip.HWWWAuthenticate || id == sip.HProxyAuthenticate:
			_, _, value := m.Line(i)
			scrubChallenge(e, i, value)
		}
	}
	if m.Has(sip.HPAssertedIdentity) && m.WantsPrivacy("id") { // RFC 3325 7
		e.Remove(sip.HPAssertedIdentity)
	} else {
		oneOfEach(e, m)
	}
	sip.HideHistory(e, m) // the phone is outside of the trust domain (TS 24.229 4.4)
}

// oneOfEach leaves one sip and one tel URI in P-Asserted-Identity, the first of each
// (RFC 3325 9.1, RFC 5876 4.5).
func oneOfEach(e *sip.Edits, m *sip.Message) {
	if !m.Has(sip.HPAssertedIdentity) {
		return
	}
	var seen [2]bool
	kept := func(v string) bool {
		i := 0
		if scheme, _ := sip.Scheme(addressURI(v)); strings.EqualFold(scheme, "tel") {
			i = 1
		}
		first := !seen[i]
		seen[i] = true
		return first
	}
	for v := range m.Values(sip.HPAssertedIdentity) {
		if !kept(v) {
			seen = [2]bool{}
			keep(e, m, sip.HPAssertedIdentity, kept)
			return
		}
	}
}

// scrubChallenge takes CK and IK out of a challenge: they never reach the phone
// (TS 24.229 5.2.2.2).
func scrubChallenge(e *sip.Edits, line int, value string) {
	ch, err := sip.ParseChallenge(value)
	switch {
	case err != nil: // what cannot be read may hold keys all the same
		e.RemoveLine(line)
	case ch.CK != "" || ch.IK != "":
		ch.CK, ch.IK = "", ""
		var buf [512]byte
		e.ReplaceLine(line, string(ch.AppendTo(buf[:0])))
	}
}

// removeOption takes one option tag out of a list header; the header goes when
// nothing else is in it.
func removeOption(e *sip.Edits, m *sip.Message, id sip.ID, tag string) {
	if m.Has(id) && m.HasOption(id, tag) {
		keep(e, m, id, func(v string) bool { return !strings.EqualFold(v, tag) })
	}
}

// keep leaves of a list header the values that are to stay; the header goes when
// none does.
func keep(e *sip.Edits, m *sip.Message, id sip.ID, stays func(value string) bool) {
	var left []string
	for v := range m.Values(id) {
		if stays(v) {
			left = append(left, v)
		}
	}
	if len(left) == 0 {
		e.Remove(id)
		return
	}
	e.Set(id, strings.Join(left, ", "))
}

// scrubAccessNetwork removes values that claim to come from the network
// (TS 24.229 5.2.1, 7.2A.4): only we may say so.
func scrubAccessNetwork(e *sip.Edits, m *sip.Message) {
	if !m.Has(sip.HPAccessNetworkInfo) {
		return
	}
	for v := range m.Values(sip.HPAccessNetworkInfo) {
		if networkProvided(v) {
			keep(e, m, sip.HPAccessNetworkInfo, func(v string) bool { return !networkProvided(v) })
			return
		}
	}
}

// networkProvided reports whether a value has the parameter, wherever it stands: what is
// one value here, by angle brackets or quotes, others may read as several, and no phone has
// reason to write it. It does not allocate.
func networkProvided(v string) bool {
	const name = "network-provided"
	for i := range len(v) - len(name) + 1 {
		if strings.EqualFold(v[i:i+len(name)], name) {
			return true
		}
	}
	return false
}

// scrubEarlyMedia lets a phone say that it understands P-Early-Media, and not
// authorize any (RFC 5009 6; TS 24.229 4.4.11).
func scrubEarlyMedia(e *sip.Edits, m *sip.Message) {
	if m.Has(sip.HPEarlyMedia) {
		keep(e, m, sip.HPEarlyMedia, func(v string) bool { return m.IsRequest() && strings.EqualFold(v, "supported") })
	}
}

// addressURI returns the URI of a name-addr header, empty when it cannot be read.
func addressURI(value string) string {
	a, err := sip.ParseNameAddr(value)
	if err != nil {
		return ""
	}
	return a.URI
}
