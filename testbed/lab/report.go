package lab

import "maps"

// Report is what `testbed lab --json` prints: part of the public contract.
type Report struct {
	OK               bool           `json:"ok"`
	Error            string         `json:"error"`
	PhonesRegistered int            `json:"phones_registered"`
	CallsCompleted   int            `json:"calls_completed"`
	SIP              SIPCounts      `json:"sip"`
	Cx               map[string]int `json:"cx"`
	Steps            []Step         `json:"steps"`
	IPsec            IPsecReport    `json:"ipsec"`
}

// SIPCounts are messages received on an interface, retransmissions included.
type SIPCounts struct {
	Gm  int `json:"gm"`
	Mw  int `json:"mw"`
	ISC int `json:"isc"`
}

// Step is a part of the demonstration.
type Step struct {
	Name  string  `json:"name"`
	MS    float64 `json:"ms"`
	OK    bool    `json:"ok"`
	Error string  `json:"error"`
}

// IPsecReport tells how Gm was protected.
type IPsecReport struct {
	Backend string `json:"backend"` // user, kernel or none
	// SASets are the sets that phones have established with the P-CSCF, over the
	// whole demonstration.
	SASets int `json:"sa_sets"`
	// ProtectedMessages are those received on Gm out of ESP.
	ProtectedMessages int `json:"protected_messages"`
	// ClearMessagesAfterRegistration are those that a registered phone has sent or
	// received outside of ESP.
	ClearMessagesAfterRegistration int `json:"clear_messages_after_registration"`
}

// cxCommands are the keys of Report.Cx.
var cxCommands = [...]string{"UAR", "MAR", "SAR", "LIR", "RTR", "PPR"}

// cxCounts brings counts of answered requests into the report's form.
func cxCounts(counts map[string]int) map[string]int {
	out := make(map[string]int, len(cxCommands))
	for _, c := range cxCommands {
		out[c] = 0
	}
	maps.Copy(out, counts)
	return out
}
