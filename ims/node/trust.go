package node

import (
	"fmt"
	"net/netip"

	"github.com/gocscf/gocscf/ims/sip"
)

// Trusted are the networks whose SIP nodes belong to our trust domain (TS 24.229
// 4.4, RFC 3325 2.4): our own functions and application servers, and partners. None
// listed: whoever can reach us does, as in a lab.
type Trusted []netip.Prefix

// Has reports whether the node at an address belongs to the trust domain.
func (t Trusted) Has(a netip.Addr) bool { return len(t) == 0 || t.Lists(a) }

// Lists reports whether the address is of a network that is named.
func (t Trusted) Lists(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range t {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Explain says what t means.
func (t Trusted) Explain() string {
	if len(t) == 0 {
		return "Everybody who can reach this service is trusted to say who sends a request (trusted is empty)."
	}
	return fmt.Sprintf("Only nodes in %v are trusted to say who sends a request.", []netip.Prefix(t))
}

// inside are the headers that our own network and its partners alone may write and
// see (TS 24.229 4.4; RFC 5502 4, RFC 6050 4.1, RFC 7315 4 and 5).
var inside = [...]sip.ID{
	sip.HPServedUser, sip.HPChargingVector, sip.HPChargingFunctionAddresses, sip.HPAccessNetworkInfo, sip.HCellularNetworkInfo,
	sip.HPVisitedNetworkID, sip.HPProfileKey, sip.HPUserDatabase, sip.HPAssertedService, sip.HPPrivateNetworkIndication,
	sip.HPEarlyMedia, sip.HFeatureCaps, sip.HResourcePriority, sip.HRestorationInfo, sip.HRelayedCharge, sip.HServiceInteractInfo,
	sip.HPriorityShare, sip.HResponseSource, sip.HAdditionalIdentity, sip.HAttestationInfo, sip.HOriginationId,
	sip.HPDCSTracePartyID, sip.HPDCSOSPS, sip.HPDCSBillingInfo, sip.HPDCSLAES, sip.HPDCSRedirect,
}

// Leaving takes out of a message what does not leave the trust domain: what is ours,
// the identity of who asks for privacy (RFC 3325 7), and the parts of the history
// that ask for it. e may be for another state of m, with other edits before.
func Leaving(e *sip.Edits, m *sip.Message) {
	for _, id := range inside {
		if m.Has(id) {
			e.Remove(id)
		}
	}
	if m.Has(sip.HPAssertedIdentity) && m.WantsPrivacy("id") {
		e.Remove(sip.HPAssertedIdentity)
	}
	sip.HideHistory(e, m)
}

// Arriving takes out of a message from outside of the trust domain what only a
// trusted node may say: who its sender is, too.
func Arriving(e *sip.Edits, m *sip.Message) {
	for _, id := range inside {
		if m.Has(id) {
			e.Remove(id)
		}
	}
	for _, id := range [...]sip.ID{sip.HPAssertedIdentity, sip.HHistoryInfo, sip.HRemotePartyID, sip.HDiversion, sip.HPChargeInfo} {
		if m.Has(id) {
			e.Remove(id)
		}
	}
}
