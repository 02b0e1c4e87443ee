package pcscf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gocscf/gocscf/ims/uri"
)

// Emergency says what becomes of emergency calls (TS 24.229 5.2.10).
type Emergency struct {
	// ECSCF is the E-CSCF, or whoever else takes emergency calls, HOST:PORT; further
	// ones are tried in order when one does not answer. None: this network takes no
	// emergency calls, and registered phones are told to call elsewhere (380).
	ECSCF Addresses `yaml:"ecscf"`
	// Anonymous lets phones make emergency calls that are not registered: in clear,
	// from anywhere. Default false.
	Anonymous bool `yaml:"anonymous"`
	// Numbers are what users dial beside urn:service:sos, each with its service: 112:
	// sos, 110: sos.police (RFC 5031). None by default.
	Numbers map[string]string `yaml:"numbers"`
	// MaxAnonymous bounds the calls at a time of phones that are not registered.
	// Default 1000.
	MaxAnonymous int `yaml:"max_anonymous"`
}

func defaultEmergency() Emergency { return Emergency{MaxAnonymous: 1000} }

// check reports what is wrong.
func (c *Emergency) check(l Listen, bad func(format string, args ...any)) {
	c.ECSCF.check("emergency.ecscf", "the IP:PORT of the E-CSCF", l, bad)
	if c.Anonymous && len(c.ECSCF) == 0 {
		bad("emergency.anonymous is true, and emergency.ecscf is missing: nobody would take the calls")
	}
	if c.MaxAnonymous < 1 {
		bad("emergency.max_anonymous is %d: want 1 or more; set emergency.anonymous to false for none", c.MaxAnonymous)
	}
	for _, n := range sortedKeys(c.Numbers) {
		switch service := c.Numbers[n]; {
		case n == "" || strings.Trim(n, "0123456789*#+") != "":
			bad("emergency.numbers has %q: want the digits that a user dials, for instance 112", n)
		case !isSOS(service):
			bad("emergency.numbers: %s is for %q: want sos, or one of its kind such as sos.police (RFC 5031 4.2)", n, service)
		}
	}
}

func sortedKeys(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// isSOS reports whether a service is that for emergencies, or of its kind (RFC 5031
// 4.2), in any letter case.
func isSOS(service string) bool {
	const sos = "sos"
	if len(service) < len(sos) || !strings.EqualFold(service[:len(sos)], sos) {
		return false
	}
	rest := service[len(sos):]
	return rest == "" || rest[0] == '.' && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == ""
}

// service returns the URN of the emergency service that a Request-URI of a phone asks
// for, "" for none. domain is the home network's.
func (c *Emergency) service(requestURI, domain string) string {
	const urn = "urn:service:"
	if len(requestURI) > len(urn) && strings.EqualFold(requestURI[:len(urn)], urn) {
		if isSOS(requestURI[len(urn):]) {
			return requestURI
		}
		return ""
	}
	if len(c.Numbers) == 0 {
		return ""
	}
	u, err := uri.Parse(requestURI)
	if err != nil {
		return ""
	}
	if phone, _ := u.Param("user"); u.IsSIP() && !strings.EqualFold(phone, "phone") && !uri.SameHost(u.Host, domain) {
		return "" // another network's user, who may be called 112
	}
	number, _, _ := strings.Cut(uri.Unescape(u.User), ";") // its phone-context: where it was dialled
	if service, ok := c.Numbers[withoutSeparators(number)]; ok {
		return urn + service
	}
	return ""
}

// withoutSeparators takes the visual separators out of a telephone number (RFC 3966 3).
func withoutSeparators(number string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune("-.()", c) {
			return -1
		}
		return c
	}, number)
}

// explain says what c means.
func (c *Emergency) explain() string {
	if len(c.ECSCF) == 0 {
		return "It takes no emergency calls: registered phones are told to make them elsewhere."
	}
	who := "Emergency calls of registered phones"
	if c.Anonymous {
		who = "Emergency calls, also of phones that are not registered,"
	}
	return fmt.Sprintf("%s go to the E-CSCF at %v.", who, c.ECSCF)
}

// check reports what is wrong with addresses of the core.
func (a Addresses) check(key, want string, l Listen, bad func(format string, args ...any)) {
	for i, at := range a {
		switch {
		case !at.IsValid() || at.Port() == 0 || at.Addr().IsUnspecified():
			bad("%s[%d] is %v: want %s", key, i, at, want)
		case l.Mw.IsValid() && at.Addr().Unmap().Is4() != l.Mw.Addr().Unmap().Is4():
			bad("%s[%d] is %v: it is not reached from listen.mw %v, which is of the other IP version", key, i, at, l.Mw)
		case at == l.Mw || at == l.Gm:
			bad("%s[%d] is %v: that is this P-CSCF itself", key, i, at)
		}
	}
}

// routeTo is the Route value that leads to a node.
func routeTo(at netip.AddrPort) string { return "<sip:" + at.String() + ";lr>" }
