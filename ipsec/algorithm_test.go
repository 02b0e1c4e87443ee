package ipsec

import (
	"testing"

	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestPairsAreThoseOfAnnexH(t *testing.T) {
	conformance.Partly(t, "IP-10")
	want := map[[2]string]bool{
		{"null", "aes-gcm"}: true, {"aes-gmac", "null"}: true,
		{"hmac-md5-96", "null"}: true, {"hmac-md5-96", "des-ede3-cbc"}: true, {"hmac-md5-96", "aes-cbc"}: true,
		{"hmac-sha-1-96", "null"}: true, {"hmac-sha-1-96", "des-ede3-cbc"}: true, {"hmac-sha-1-96", "aes-cbc"}: true,
	}
	for _, alg := range append(integrityNames[:], "hmac-sha-256-128", "") {
		for _, ealg := range append(encryptionNames[:], "aes-ctr") {
			p, ok := ParsePair(alg, ealg)
			if ok != want[[2]string{alg, ealg}] {
				t.Errorf("alg %q with ealg %q: accepted %v", alg, ealg, ok)
			}
			if ok && p.String() != alg+"/"+ealg {
				t.Errorf("alg %q with ealg %q is read as %v", alg, ealg, p)
			}
		}
	}
	if p, ok := ParsePair("HMAC-MD5-96", ""); !ok || p != (Pair{HMACMD5, NoEncryption}) {
		t.Errorf("ealg left out is read as %v, %v", p, ok)
	}
	if (Pair{}).Valid() {
		t.Error("no protection at all counts as a pair")
	}
}
