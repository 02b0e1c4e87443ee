package lab

import (
	"maps"
	"strings"
	"sync"

	"github.com/gocscf/gocscf/ims/trace"
)

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
	Backend                        string `json:"backend"` // user, kernel or none
	SASets                         int    `json:"sa_sets"`
	ProtectedMessages              int    `json:"protected_messages"`
	ClearMessagesAfterRegistration int    `json:"clear_messages_after_registration"`
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

// counter counts the messages of the interfaces from the trace.
type counter struct {
	gm     string // the P-CSCF's address towards phones
	asAddr string // the application server's

	mu  sync.Mutex
	sip SIPCounts
}

// phonePrefix begins the node names of phones.
const phonePrefix = "ue:"

// count takes one event: each message where it is received.
func (c *counter) count(e trace.Event) {
	if e.Kind != trace.SIP || e.Dir != trace.In {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case strings.HasPrefix(e.Node, phonePrefix) || e.Node == NameP && e.Local == c.gm:
		c.sip.Gm++
	case strings.HasPrefix(e.Node, serverPrefix) || e.Remote == c.asAddr:
		c.sip.ISC++
	default:
		c.sip.Mw++
	}
}

func (c *counter) counts() SIPCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sip
}
