package ipsec

import (
	"fmt"
	"time"
)

// Sentence is one thing that a [Report] shows: what is seen, what causes it, what
// to do next. Code is for programs, and keeps its meaning.
type Sentence struct {
	Code  string `json:"code"`
	What  string `json:"what"`
	Cause string `json:"cause"`
	Next  string `json:"next"`
}

// String is "what: cause. next."
func (s Sentence) String() string { return s.What + ": " + s.Cause + ". " + s.Next + "." }

// The codes.
const (
	codeNoRegister       = "no-register"       // nothing has come from the phone
	codeNoOffer          = "no-offer"          // the phone does not ask for IPsec
	codeNoCommonPair     = "no-common-pair"    // nothing that both sides have
	codeNATInTheWay      = "nat"               // the phone cannot do IPsec through its NAT
	codeBadVerify        = "bad-verify"        // Security-Verify differs
	codeBadClient        = "bad-client"        // Security-Client has changed
	codeStaleOffer       = "stale-offer"       // SPIs are offered twice
	codeNoPorts          = "no-ports"          // our pool of ports is used up
	codeInstallFailed    = "install-failed"    // our SAs could not be set up
	codeNoAnswerHome     = "no-answer-home"    // the home network is silent
	codeHomeRefused      = "home-refused"      // the home network refused before any challenge
	codeMACFailure       = "mac-failure"       // the SIM does not believe the network
	codeSyncFailure      = "sync-failure"      // sequence numbers, again and again
	codeWaiting          = "waiting"           // too early to tell
	codeNoESP            = "no-esp"            // the phone sends nothing protected
	codeUnknownSPI       = "unknown-spi"       // the phone uses SAs that we do not have
	codeBadIntegrity     = "bad-integrity"     // other keys
	codeBadEncryption    = "bad-encryption"    // another encryption key or algorithm
	codeBadSelector      = "bad-selector"      // other ports or addresses than agreed
	codeNoSIP            = "no-sip"            // good ESP, no REGISTER in it
	codeWrongAnswer      = "wrong-answer"      // RES is wrong, though the keys are right
	codeGaveWay          = "gave-way"          // the challenge had to make room
	codeNeverAnswered    = "never-answered"    // the challenge came to nothing
	codeStartsOver       = "starts-over"       // a registered phone registers again at once
	codeClearToProtect   = "clear-to-ports"    // what should be protected is not
	codeClearRequests    = "clear-requests"    // a phone without its SAs
	codeReplays          = "replays"           // doubled packets
	codeDamagedPackets   = "damaged-packets"   // some packets fail, others do not
	codePhoneIsDeaf      = "phone-is-deaf"     // requests to the phone are lost
	codeNewSetNotInUse   = "new-set-not-used"  // between two sets
	codeRefreshPending   = "refresh-pending"   // between two sets, earlier
	codeFine             = "fine"              // registered, and protected
	codeGone             = "gone"              // was registered, is no more
	codeUnprotected      = "unprotected"       // registered, and not to be protected
	codeSetLost          = "set-lost"          // registered, without a set
	codeRefusedOtherwise = "refused-otherwise" // what none of these explains
)

// words writes a duration for people: "2.5 s", "3 min 20 s", "1 h 5 min".
func words(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return fmt.Sprintf("%g s", d.Round(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

func times(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func counted(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}
