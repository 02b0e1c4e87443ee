package ue

import (
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/uri"
	"github.com/gocscf/gocscf/ipsec"
)

// Registration is what the network has granted.
type Registration struct {
	Contact string // our contact URI
	Expires time.Duration
	Until   time.Time
	// ServiceRoute are the values of Service-Route, in order (RFC 3608).
	ServiceRoute []string
	// Identities are the URIs of P-Associated-URI; Default is the one to call by:
	// the first sip URI of them, else the IMPU that was registered.
	Identities []string
	Default    string
	PCSCF      netip.AddrPort
	// Challenges is how many 401s came before the 200; 0 for a re-registration
	// that was not challenged.
	Challenges int
	// Resynchronised tells that the SIM's sequence number was sent (AUTS).
	Resynchronised bool
	Algorithm      string // of the last challenge
	CallID         string
	// Protection is what protects it, nil when nothing does.
	Protection *Protection
}

// Protection is a set of security associations in use, seen from the phone.
type Protection struct {
	Backend       string // "user" or "kernel"
	Pair          ipsec.Pair
	Mode          ipsec.Mode
	Local, Remote ipsec.End
	// Verify is the Security-Server that Security-Verify repeats.
	Verify []string
}

// grantedExpires returns for how many seconds the 200 has registered our contact.
func grantedExpires(m *sip.Message, contact string, asked uint32) (uint32, bool) {
	ours, err := uri.Parse(contact)
	if err != nil {
		return 0, false
	}
	seconds, ok := m.Expires()
	if !ok {
		seconds = asked
	}
	for v := range m.Values(sip.HContact) {
		c, err := sip.ParseNameAddr(v)
		if err != nil {
			continue
		}
		u, err := uri.Parse(c.URI)
		if err != nil || !uri.Equal(u, ours) {
			continue
		}
		if own, ok := c.Expires(); ok {
			seconds = own
		}
		return seconds, seconds > 0
	}
	return 0, false
}
