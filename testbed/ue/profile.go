package ue

import (
	"maps"
	"slices"

	"github.com/gocscf/gocscf/aka"
)

// Profile is the manners of a make of phone, as public captures show them.
type Profile struct {
	UserAgent string // "": none is sent
	// AccessNetwork is the value of P-Access-Network-Info.
	AccessNetwork string
	// ContactParams go between the contact's URI and the feature tags.
	ContactParams string
	// QOP is the qop to take when the challenge offers several.
	QOP string
	// NoAlgorithm leaves algorithm out of Authorization.
	NoAlgorithm bool
	// SecurityClient is how an IPsec offer is written: a format for SPI of the
	// client and server port, and these ports.
	SecurityClient string
}

// Profiles are those that Config.Profile may name.
var Profiles = map[string]Profile{
	"generic": {
		UserAgent:      "gocscf-ue",
		AccessNetwork:  "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010019B01",
		QOP:            aka.QOPAuth,
		SecurityClient: "ipsec-3gpp;alg=hmac-sha-1-96;ealg=null;mod=trans;prot=esp;spi-c=%d;spi-s=%d;port-c=%d;port-s=%d",
	},
	"samsung": {
		UserAgent:      "SM-T515-XXU1 Samsung IMS 6.0",
		AccessNetwork:  "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010019B01",
		QOP:            aka.QOPAuthInt,
		SecurityClient: "ipsec-3gpp;prot=esp;mod=trans;spi-c=%d;spi-s=%d;port-c=%d;port-s=%d;alg=hmac-md5-96;ealg=null",
	},
	"qualcomm": {
		AccessNetwork:  "3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010019B01",
		ContactParams:  `;+g.3gpp.accesstype="cellular2"`,
		QOP:            aka.QOPAuth,
		NoAlgorithm:    true,
		SecurityClient: "ipsec-3gpp; alg=hmac-md5-96; ealg=null; spi-c=%d; spi-s=%d; port-c=%d; port-s=%d",
	},
}

func profileNames() []string { return slices.Sorted(maps.Keys(Profiles)) }
