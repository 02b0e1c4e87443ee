package pcscf

import (
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
)

// onlyOurs are headers that the network puts in: from a phone they are removed,
// whatever the request (TS 24.229 4.4, 5.2.6.3; RFC 3325 6, RFC 5502 4, RFC 7315 4).
var onlyOurs = [...]sip.ID{
	sip.HPAssertedIdentity, sip.HPChargingVector, sip.HPChargingFunctionAddresses, sip.HPServedUser,
	sip.HPUserDatabase, sip.HPProfileKey, sip.HPAssertedService, sip.HPVisitedNetworkID, sip.HPCalledPartyID,
	sip.HPath, sip.HServiceRoute,
}

// notForPhones are headers that stay in the network (TS 24.229 4.4, 5.2.6.4).
var notForPhones = [...]sip.ID{
	sip.HPChargingVector, sip.HPChargingFunctionAddresses, sip.HPServedUser, sip.HPUserDatabase,
	sip.HPProfileKey, sip.HPVisitedNetworkID,
}

// secAgree is the option tag of RFC 3329.
const secAgree = "sec-agree"

// scrubFromPhone takes out what a phone must not say and what is between it and
// us alone: the security agreement (RFC 3329 2.3; else the far end answers 420).
func (s *Server) scrubFromPhone(e *sip.Edits, m *sip.Message) {
	for _, id := range onlyOurs {
		if m.Has(id) {
			e.Remove(id)
		}
	}
	for _, id := range [...]sip.ID{sip.HSecurityClient, sip.HSecurityVerify, sip.HSecurityServer} {
		if m.Has(id) {
			e.Remove(id)
		}
	}
	removeOption(e, m, sip.HRequire, secAgree)
	removeOption(e, m, sip.HProxyRequire, secAgree)
	scrubAccessNetwork(e, m)
}

// scrubToPhone takes out what phones must not see.
func scrubToPhone(e *sip.Edits, m *sip.Message) {
	for _, id := range notForPhones {
		if m.Has(id) {
			e.Remove(id)
		}
	}
	if m.Has(sip.HPAssertedIdentity) && private(m) {
		e.Remove(sip.HPAssertedIdentity)
	}
}

// private reports whether the sender's identity is to be withheld (RFC 3325 7,
// RFC 3323 4.2).
func private(m *sip.Message) bool {
	for line := range m.Lines(sip.HPrivacy) {
		for v := range strings.SplitSeq(line, ";") {
			if strings.EqualFold(strings.TrimSpace(v), "id") {
				return true
			}
		}
	}
	return false
}

// removeOption takes one option tag out of a list header; the header goes when
// nothing else is in it.
func removeOption(e *sip.Edits, m *sip.Message, id sip.ID, tag string) {
	if !m.HasOption(id, tag) {
		return
	}
	var keep []string
	for v := range m.Values(id) {
		if !strings.EqualFold(v, tag) {
			keep = append(keep, v)
		}
	}
	if len(keep) == 0 {
		e.Remove(id)
		return
	}
	e.Set(id, strings.Join(keep, ", "))
}

// scrubAccessNetwork removes values that claim to come from the network
// (TS 24.229 5.2.1, 7.2A.4): only we may say so.
func scrubAccessNetwork(e *sip.Edits, m *sip.Message) {
	var keep []string
	drop := false
	for v := range m.Values(sip.HPAccessNetworkInfo) {
		if a, err := sip.ParseAccessNetworkInfo(v); err == nil && a.NetworkProvided() {
			drop = true
			continue
		}
		keep = append(keep, v)
	}
	switch {
	case !drop:
	case len(keep) == 0:
		e.Remove(sip.HPAccessNetworkInfo)
	default:
		e.Set(sip.HPAccessNetworkInfo, strings.Join(keep, ", "))
	}
}

// chargingVector makes the P-Charging-Vector of a request (TS 24.229 5.2.2.1,
// 5.2.7.2, 4.5): a new icid, and the operator of type 1.
func (s *Server) chargingVector(icid string) string {
	v := sip.ChargingVector{ICID: icid, GeneratedAt: s.Mw().Addr().String(), OrigIOI: "Type 1" + s.cfg.visited()}
	return v.String()
}

// newICID makes an icid-value that nobody else makes (TS 24.229 4.5.2).
func (s *Server) newICID() string { return newToken() + "." + s.Mw().Addr().String() }

// addressURI returns the URI of a name-addr header, empty when it cannot be read.
func addressURI(value string) string {
	a, err := sip.ParseNameAddr(value)
	if err != nil {
		return ""
	}
	return a.URI
}
