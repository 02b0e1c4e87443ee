// Package torture holds the messages of RFC 4475 and RFC 5118 with the outcome
// that this project gives each, for the tests of ims/sip and of the layers above.
package torture

import "embed"

//go:embed rfc4475/*.dat rfc5118/*.dat
var files embed.FS

// Case is a message and what becomes of it.
type Case struct {
	Section string // of the RFC
	Name    string // file name without its extension

	// Validate is the status that ims/sip.Validate gives, 0 for none. Header is
	// the header its problem names. Drop means no answer at all.
	Validate int
	Header   string
	Drop     bool

	// Proxy is the status with which a proxy answers what Validate accepted, 0
	// when it forwards the message.
	Proxy int
	// Endpoint is what a UAS or registrar says, where that differs.
	Endpoint string
}

// Raw returns the message octet by octet.
func (c Case) Raw() string {
	for _, dir := range []string{"rfc4475/", "rfc5118/"} {
		if b, err := files.ReadFile(dir + c.Name + ".dat"); err == nil {
			return string(b)
		}
	}
	panic("torture: no file for " + c.Name)
}

// RFC4475 is the catalogue of RFC 4475. Where the RFC allows several outcomes the
// strict one is taken; for §3.1.2.18 that which it prefers.
var RFC4475 = []Case{
	{Section: "3.1.1.1", Name: "wsinv"},
	{Section: "3.1.1.2", Name: "intmeth", Endpoint: "405 or 501"},
	{Section: "3.1.1.3", Name: "esc01"},
	{Section: "3.1.1.4", Name: "escnull"},
	{Section: "3.1.1.5", Name: "esc02", Endpoint: "405 or 501"},
	{Section: "3.1.1.6", Name: "lwsdisp"},
	{Section: "3.1.1.7", Name: "longreq"},
	{Section: "3.1.1.8", Name: "dblreq"},
	{Section: "3.1.1.9", Name: "semiuri"},
	{Section: "3.1.1.10", Name: "transports"},
	{Section: "3.1.1.11", Name: "mpart01"},
	{Section: "3.1.1.12", Name: "unreason"},
	{Section: "3.1.1.13", Name: "noreason"},
	{Section: "3.1.2.1", Name: "badinv01", Validate: 400, Header: "Via"},
	{Section: "3.1.2.2", Name: "clerr", Validate: 400, Header: "Content-Length"},
	{Section: "3.1.2.3", Name: "ncl", Validate: 400, Header: "Content-Length"},
	{Section: "3.1.2.4", Name: "scalar02", Validate: 400, Header: "CSeq"},
	{Section: "3.1.2.5", Name: "scalarlg", Header: "CSeq", Drop: true},
	{Section: "3.1.2.6", Name: "quotbal", Validate: 400, Header: "To"},
	{Section: "3.1.2.7", Name: "ltgtruri", Validate: 400},
	{Section: "3.1.2.8", Name: "lwsruri", Validate: 400},
	{Section: "3.1.2.9", Name: "lwsstart", Validate: 400},
	{Section: "3.1.2.10", Name: "trws", Validate: 400},
	{Section: "3.1.2.11", Name: "escruri", Validate: 400},
	{Section: "3.1.2.12", Name: "baddate", Validate: 400, Header: "Date"},
	{Section: "3.1.2.13", Name: "regbadct", Validate: 400, Header: "Contact"},
	{Section: "3.1.2.14", Name: "badaspec", Validate: 400, Header: "To"},
	{Section: "3.1.2.15", Name: "baddn", Validate: 400, Header: "From"},
	{Section: "3.1.2.16", Name: "badvers", Validate: 505},
	{Section: "3.1.2.17", Name: "mismatch01", Validate: 400, Header: "CSeq"},
	{Section: "3.1.2.18", Name: "mismatch02", Validate: 501, Header: "CSeq"},
	{Section: "3.1.2.19", Name: "bigcode", Drop: true},
	{Section: "3.2.1", Name: "badbranch", Validate: 400, Header: "Via"},
	{Section: "3.3.1", Name: "insuf", Validate: 400, Header: "From"},
	{Section: "3.3.2", Name: "unkscm", Proxy: 416},
	{Section: "3.3.3", Name: "novelsc", Proxy: 416},
	{Section: "3.3.4", Name: "unksm2", Endpoint: "a registrar answers 400"},
	{Section: "3.3.5", Name: "bext01", Proxy: 420},
	{Section: "3.3.6", Name: "invut", Endpoint: "415"},
	{Section: "3.3.7", Name: "regaut01", Endpoint: "a registrar challenges anew"},
	{Section: "3.3.8", Name: "multi01", Validate: 400, Header: "From"},
	{Section: "3.3.9", Name: "mcl01", Validate: 400, Header: "Content-Length"},
	{Section: "3.3.10", Name: "bcast", Header: "Via", Drop: true},
	{Section: "3.3.11", Name: "zeromf", Proxy: 483},
	{Section: "3.3.12", Name: "cparam01"},
	{Section: "3.3.13", Name: "cparam02"},
	{Section: "3.3.14", Name: "regescrt"},
	{Section: "3.3.15", Name: "sdp01", Endpoint: "406"},
	{Section: "3.4.1", Name: "inv2543"},
}

// RFC5118 is the catalogue of RFC 5118. The Content-Length of §4.6, §4.8 and §4.9
// is that of the body; the figures printed in the RFC are not.
var RFC5118 = []Case{
	{Section: "4.1", Name: "ipv6-good"},
	{Section: "4.2", Name: "ipv6-bad", Validate: 400},
	{Section: "4.3", Name: "port-ambiguous"}, // an address whose last group is 5070
	{Section: "4.4", Name: "port-unambiguous"},
	{Section: "4.5", Name: "via-received-param-with-delim"},
	{Section: "4.5", Name: "via-received-param-no-delim"},
	{Section: "4.6", Name: "ipv6-in-sdp"},
	{Section: "4.7", Name: "mult-ip-in-header"},
	{Section: "4.8", Name: "mult-ip-in-sdp"},
	{Section: "4.9", Name: "ipv4-mapped-ipv6"},
	// Reading over the third colon is allowed, not asked for: where it goes is a guess.
	{Section: "4.10", Name: "ipv6-bug-abnf-3-colons", Validate: 400},
}
