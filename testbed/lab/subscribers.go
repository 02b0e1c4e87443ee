package lab

import "github.com/gocscf/gocscf/testbed/hss"

// DefaultDomain is that of the test network, MCC 001 and MNC 01 (TS 23.003 13.2).
const DefaultDomain = "ims.mnc001.mcc001.3gppnetwork.org"

// Keys of the demonstration's SIMs: random numbers that protect nothing.
const (
	aliceK   = "465b5ce8b199b49faa5f0a2ee238a6bc"
	aliceOPc = "e8ed289deba952e4283b54e88e6183ca"
	bobK     = "00112233445566778899aabbccddeeff"
	bobOPc   = "62e75b8d6fa5bf46ec87a9276f9df54d"
)

// DemoSubscribers are alice and bob.
func DemoSubscribers(domain string) []hss.Subscriber {
	return []hss.Subscriber{
		{IMPI: "001010000000001@" + domain, IMPUs: []string{"sip:alice@" + domain, "tel:+15550000001"}, K: aliceK, OPc: aliceOPc},
		{IMPI: "001010000000002@" + domain, IMPUs: []string{"sip:bob@" + domain, "tel:+15550000002"}, K: bobK, OPc: bobOPc},
	}
}
