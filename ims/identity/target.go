package identity

import (
	"strings"

	"github.com/gocscf/gocscf/ims/uri"
)

// Kind says what a Request-URI names.
type Kind uint8

const (
	// SIPIdentity: a sip URI that is no telephone number, or one of another domain.
	SIPIdentity Kind = iota + 1
	// GlobalNumber: a telephone number with '+', looked up by its tel identity.
	GlobalNumber
	// LocalNumber: a number of our own numbering plan that the plan could not
	// make global, looked up by its tel identity as it was dialled. An unknown
	// one is owed 404, and 484 where the plan knows that digits are missing.
	LocalNumber
	// ForeignNumber: a local number in a phone-context that is not ours. Nobody
	// here can look it up; 404.
	ForeignNumber
)

func (k Kind) String() string {
	switch k {
	case SIPIdentity:
		return "sip identity"
	case GlobalNumber:
		return "global number"
	case LocalNumber:
		return "local number"
	case ForeignNumber:
		return "number of a foreign context"
	}
	return "nothing"
}

// Target is who a request is for.
type Target struct {
	Kind Kind
	// Identity is what to ask the HSS for (Public-Identity of an LIR). For
	// ForeignNumber it is the tel identity with its context, for logs.
	Identity IMPU
	// Home reports whether our own I-CSCF and HSS are to be asked. It is false
	// for sip identities of other domains and for ForeignNumber.
	Home bool
	// Context is the phone-context as it was dialled, empty if there was none.
	Context string
}

// NumberingPlan turns dialled digits into global numbers (TS 24.229 7.2A.10
// leaves the translation to the home network). Its zero value knows no prefix:
// local numbers stay local.
type NumberingPlan struct {
	CountryCode         string // "49": digits that follow '+'
	InternationalPrefix string // "00": before a country code
	NationalPrefix      string // "0": before an area code
}

// NormalizeTarget says who the Request-URI u names for a network whose home
// domain is homeDomain and which has no numbering plan.
func NormalizeTarget(u uri.URI, homeDomain string) Target {
	return NumberingPlan{}.Target(u, homeDomain)
}

// Target says who u names:
//   - "sip:+E164@home;user=phone" and "tel:+E164" are the tel identity of the
//     global number (TS 24.229 5.3.2.1);
//   - a local number whose phone-context is a number prefix ("+1-201") is that
//     prefix and the number, if both are digits;
//   - a local number whose phone-context is the home domain, a subdomain of it
//     (geo-local numbers, TS 24.229 7.2A.10.3) or missing is a number of our plan;
//   - "sip:N;phone-context=N@N;user=phone", which phones send that were given no
//     domain, is too;
//   - any other sip URI is itself.
func (p NumberingPlan) Target(u uri.URI, homeDomain string) Target {
	tel, ok := u, u.IsTel()
	context, hasContext := u.PhoneContext()
	context = uri.Unescape(context)
	if !ok {
		home := homeDomain
		if bareDigits(u.Host) {
			home = u.Host // no domain at all: the phone has none to send
		}
		if tel, ok = u.TelFromUserPhone(home); !ok {
			return Target{Kind: SIPIdentity, Identity: IMPUOf(u), Home: uri.SameHost(u.Host, homeDomain), Context: context}
		}
	}

	number := uri.CanonicalNumber(tel.Number())
	if number[0] == '+' {
		return Target{Kind: GlobalNumber, Identity: IMPU("tel:" + number), Home: true, Context: context}
	}
	switch {
	case strings.HasPrefix(context, "+") && digits(uri.CanonicalNumber(context)[1:]) && digits(number):
		return Target{Kind: GlobalNumber, Identity: IMPU("tel:" + uri.CanonicalNumber(context) + number), Home: true, Context: context}
	case !hasContext || context == "" || context[0] == '+' || bareDigits(context) || isWithin(context, homeDomain):
		if global, ok := p.global(number); ok {
			return Target{Kind: GlobalNumber, Identity: IMPU("tel:" + global), Home: true, Context: context}
		}
		return Target{Kind: LocalNumber, Identity: IMPU("tel:" + number), Home: true, Context: context}
	}
	t := tel.WithoutParam("phone-context").WithParam("phone-context", context)
	return Target{Kind: ForeignNumber, Identity: IMPUOf(t), Context: context}
}

// global applies the prefixes, the international one first because it usually
// begins with the national one.
func (p NumberingPlan) global(number string) (string, bool) {
	if !digits(number) {
		return "", false // service codes are local by nature
	}
	if p.InternationalPrefix != "" {
		if rest, ok := strings.CutPrefix(number, p.InternationalPrefix); ok && rest != "" {
			return "+" + rest, true
		}
	}
	if p.NationalPrefix != "" && p.CountryCode != "" {
		if rest, ok := strings.CutPrefix(number, p.NationalPrefix); ok && rest != "" {
			return "+" + p.CountryCode + rest, true
		}
	}
	return "", false
}

// bareDigits: what stands where a domain should, but can be none.
func bareDigits(host string) bool { return digits(host) }

func isWithin(domain, home string) bool {
	if home == "" || len(domain) < len(home) {
		return false
	}
	cut := len(domain) - len(home)
	return strings.EqualFold(domain[cut:], home) && (cut == 0 || domain[cut-1] == '.')
}
