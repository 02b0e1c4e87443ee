package ue

import (
	"maps"
	"slices"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ipsec"
)

// The algorithms of the profiles.
var (
	md5Null  = ipsec.Pair{Alg: ipsec.HMACMD5}
	md5DES   = ipsec.Pair{Alg: ipsec.HMACMD5, EAlg: ipsec.DESEDE3CBC}
	md5AES   = ipsec.Pair{Alg: ipsec.HMACMD5, EAlg: ipsec.AESCBC}
	sha1Null = ipsec.Pair{Alg: ipsec.HMACSHA1}
	sha1DES  = ipsec.Pair{Alg: ipsec.HMACSHA1, EAlg: ipsec.DESEDE3CBC}
	sha1AES  = ipsec.Pair{Alg: ipsec.HMACSHA1, EAlg: ipsec.AESCBC}
)

// everyPair are six offers, integrity outside, encryption inside, as AOSP makes them.
var everyPair = []ipsec.Pair{md5DES, md5AES, md5Null, sha1DES, sha1AES, sha1Null}

const (
	lte = "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010019B01"
	nr  = "3GPP-NR-TDD;utran-cell-id-3gpp=00101000001000019B01"
)

// usualTags is the Supported of most.
const usualTags = "path, sec-agree"

// Profiles are those that Config.Profile may name. What a capture does not show is
// as in "generic".
var Profiles = map[string]Profile{
	"generic": {
		Source:        "no phone: TS 24.229 5.1.1 and IR.92, without peculiarities",
		UserAgent:     "gocscf-ue",
		AccessNetwork: lte, Supported: usualTags, ViaParams: ";rport",
		QOP: aka.QOPAuth,
		Security: Security{
			Pairs: []ipsec.Pair{sha1AES, sha1Null, md5Null},
			Form:  "ipsec-3gpp;alg=$alg;ealg=$ealg;mod=$mod;prot=esp;spi-c=$spi-c;spi-s=$spi-s;port-c=$port-c;port-s=$port-s",
			Join:  ", ",
			Ports: Ports{First: 32768, Count: 8192, Server: 8192},
		},
	},
	"samsung": {
		Source: "Samsung SM-T515, capture of the Open5GS VoLTE tutorial: the first REGISTER by UDP, the protected one by TCP in ESP, " +
			"the SUBSCRIBE by UDP in the same SAs; one offer, alg and ealg last; ports 6301 and 6300, Via and Contact with port_us; cnonce unchanged over refreshes",
		UserAgent:     "SM-T515-XXU1 Samsung IMS 6.0",
		AccessNetwork: lte, Supported: usualTags, ViaParams: ";rport;keep;transport=UDP",
		QOP: aka.QOPAuthInt, SameCNonce: true,
		Security: Security{
			Pairs: []ipsec.Pair{md5Null},
			Form:  "ipsec-3gpp;prot=esp;mod=$mod;spi-c=$spi-c;spi-s=$spi-s;port-c=$port-c;port-s=$port-s;alg=$alg;ealg=$ealg",
			Join:  ", ",
			Ports: Ports{First: 6301, Count: 400, Server: -1, Step: 2},
		},
		RegisterTCP: true, AnswerTCP: true,
	},
	"samsung-6": {
		Source:        "newer Samsung phones, captures in issue reports: as SM-T515, with six offers in one line",
		UserAgent:     "SM-S901B Samsung IMS 6.0",
		AccessNetwork: lte, Supported: usualTags, ViaParams: ";rport;keep",
		QOP: aka.QOPAuthInt, SameCNonce: true,
		Security: Security{
			Pairs: []ipsec.Pair{md5DES, md5AES, md5Null, sha1DES, sha1AES, sha1Null},
			Form:  "ipsec-3gpp;prot=esp;mod=$mod;spi-c=$spi-c;spi-s=$spi-s;port-c=$port-c;port-s=$port-s;alg=$alg;ealg=$ealg",
			Join:  ", ",
			Ports: Ports{First: 6301, Count: 400, Server: -1, Step: 2},
		},
		RegisterTCP: true,
	},
	"qualcomm": {
		Source: "Qualcomm modem, captures of the Open5GS VoLTE tutorial: no User-Agent, a second access type in Contact, " +
			"a space in P-Access-Network-Info, no algorithm in Authorization",
		AccessNetwork: "3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010019B01", Supported: usualTags, ViaParams: ";rport",
		ContactParams: `;+g.3gpp.accesstype="cellular2"`,
		QOP:           aka.QOPAuth, NoAlgorithm: true,
		Security: Security{
			Pairs: []ipsec.Pair{md5Null, sha1Null},
			Form:  "ipsec-3gpp; alg=$alg; ealg=$ealg; spi-c=$spi-c; spi-s=$spi-s; port-c=$port-c; port-s=$port-s",
			Join:  ", ",
			Ports: Ports{First: 40000, Count: 2000, Server: 5000, Step: 1},
		},
	},
	"qualcomm-compact": {
		Source:        "Qualcomm modem in China Mobile's network: compact header names, TCP, \"; \" between parameters, six offers without prot and mod",
		AccessNetwork: "3GPP-E-UTRAN-TDD; utran-cell-id-3gpp=0010100010019B01", Supported: usualTags, ViaParams: ";rport",
		Compact: true, NoAlgorithm: true, QOP: aka.QOPAuth,
		Security: Security{
			Pairs: []ipsec.Pair{md5Null, md5AES, md5DES, sha1Null, sha1AES, sha1DES},
			Form:  "ipsec-3gpp; alg=$alg; ealg=$ealg; spi-c=$spi-c; spi-s=$spi-s; port-c=$port-c; port-s=$port-s",
			Join:  ", ",
			Ports: Ports{First: 40000, Count: 2000, Server: 5000, Step: 1},
		},
		RegisterTCP: true,
	},
	"mediatek": {
		Source:        "MediaTek modem in AT&T's network: six offers without prot and mod; the user name's realm may be another than the home domain",
		AccessNetwork: nr, Supported: usualTags, ViaParams: ";rport",
		ContactParams: ";+g.3gpp.ps-data-off=\"inactive\"",
		QOP:           aka.QOPAuth,
		Security: Security{
			Pairs: everyPair,
			Form:  "ipsec-3gpp;alg=$alg;ealg=$ealg;spi-c=$spi-c;spi-s=$spi-s;port-c=$port-c;port-s=$port-s",
			Join:  ",",
			Ports: Ports{First: 50000, Count: 1000, Server: 1000, Step: 1},
		},
	},
	"zte": {
		Source:        "ZTE A2022P: one offer without prot and mod, SPIs above 2^31, a cell of 5G",
		AccessNetwork: nr, Supported: usualTags, ViaParams: ";rport",
		QOP: aka.QOPAuth,
		Security: Security{
			Pairs:  []ipsec.Pair{sha1Null},
			Form:   "ipsec-3gpp;alg=$alg;ealg=$ealg;spi-c=$spi-c;spi-s=$spi-s;port-c=$port-c;port-s=$port-s",
			Join:   ",",
			MinSPI: 1<<31 + 1,
			Ports:  Ports{First: 45000, Count: 1000, Server: 1000},
		},
	},
	"iphone": {
		Source:    "iPhone 16e: four offers, the parameters in alphabetical order, no space behind a comma",
		UserAgent: "iOS/18.3 iPhone", AccessNetwork: nr, Supported: "100rel,path,replaces", ViaParams: ";rport",
		QOP: aka.QOPAuth,
		Security: Security{
			Pairs: []ipsec.Pair{sha1AES, sha1Null, md5AES, md5Null},
			Form:  "ipsec-3gpp;alg=$alg;ealg=$ealg;mod=$mod;port-c=$port-c;port-s=$port-s;prot=esp;spi-c=$spi-c;spi-s=$spi-s",
			Join:  ",",
			Ports: Ports{First: 49200, Count: 8000, Server: 1, Step: 2},
		},
		RegisterTCP: true,
	},
	"ios": {
		Source:    "iOS 16.1.2 in AT&T's network: a location in the body of REGISTER, so that qop=auth-int hashes one; Session-ID and Geolocation",
		UserAgent: "iOS/16.1.2 (20B110) iPhone", AccessNetwork: lte, Supported: "100rel,path,replaces", ViaParams: ";rport",
		QOP: aka.QOPAuthInt,
		Fields: []sip.Field{
			{ID: sip.HSessionID, Value: "5f3a1c9d2b7e48066e0d5a41c8b29f70"},
			{ID: sip.HGeolocation, Value: "<cid:location@iphone>"},
			{ID: sip.HGeolocationRouting, Value: "no"},
		},
		Body: dialog.Part{Type: "application/pidf+xml", Body: pidf},
		Security: Security{
			Pairs: []ipsec.Pair{sha1AES, sha1Null, md5AES, md5Null},
			Form:  "ipsec-3gpp;alg=$alg;ealg=$ealg;mod=$mod;port-c=$port-c;port-s=$port-s;prot=esp;spi-c=$spi-c;spi-s=$spi-s",
			Join:  ",",
			Ports: Ports{First: 49200, Count: 8000, Server: 1, Step: 2},
		},
		RegisterTCP: true,
	},
	"pixel": {
		Source: "AOSP's ImsStack 17 (SipSecurityHeader.cpp, AosIpsec.cpp, AosIpsecHelper.cpp): alg, prot, mod, ealg, SPIs of ten digits from 1000000000, " +
			"port-c of 38001 to 39000 and port-s 1000 above, kept over refreshes; nothing but AKAv1-MD5. Pixel 6a: a folded Authorization",
		UserAgent: "Pixel 6a", AccessNetwork: lte, Supported: usualTags, ViaParams: ";rport",
		QOP: aka.QOPAuth, AKAv1: true, Folded: true,
		Security: Security{
			Pairs:  everyPair,
			Form:   "ipsec-3gpp;alg=$alg;prot=esp;mod=$mod;ealg=$ealg;spi-c=$spi-c;spi-s=$spi-s;port-c=$port-c;port-s=$port-s",
			Join:   ", ",
			Digits: 10, MinSPI: 1000000000,
			Ports: Ports{First: 38001, Count: 999, Server: 1000},
		},
	},
	"pixel-rows": {
		Source: "as pixel, with each offer on a line of its own and another port-s with each agreement: " +
			"both are allowed (RFC 3261 7.3.1, TS 33.203 7.1) and no stack may depend on the contrary",
		UserAgent: "Pixel 6a", AccessNetwork: lte, Supported: usualTags, ViaParams: ";rport",
		QOP: aka.QOPAuth, AKAv1: true, Folded: true,
		Security: Security{
			Pairs:  everyPair,
			Form:   "ipsec-3gpp;alg=$alg;prot=esp;mod=$mod;ealg=$ealg;spi-c=$spi-c;spi-s=$spi-s;port-c=$port-c;port-s=$port-s",
			Digits: 10, MinSPI: 1000000000,
			Ports: Ports{First: 38001, Count: 999, Server: 1000, FreshServer: true},
		},
	},
}

// pidf is a location as iOS sends one (RFC 4119).
const pidf = `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" entity="pres:location">
<tuple id="a"><status><gp:geopriv><gp:location-info/><gp:usage-rules/></gp:geopriv></status></tuple>
</presence>
`

func profileNames() []string { return slices.Sorted(maps.Keys(Profiles)) }
