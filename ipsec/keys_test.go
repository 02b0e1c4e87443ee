package ipsec

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/testbed/conformance"
)

func key(t *testing.T, s string) (k Key) {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || copy(k[:], b) != 16 {
		t.Fatalf("%q is no key", s)
	}
	return k
}

// CK and IK of the recorded registration of a real phone.
const (
	recordedCK = "d53c02758b376066fad0af7daa6df765"
	recordedIK = "e1763cf28cc2e584588800193137ec92"
)

func TestKeysFollowFromCKAndIK(t *testing.T) {
	conformance.Shows(t, "IP-06", "IP-07", "IP-08")
	ck, ik := key(t, recordedCK), key(t, recordedIK)
	for _, c := range []struct {
		pair                        Pair
		integrity, encryption, salt string
	}{
		{Pair{HMACMD5, NoEncryption}, recordedIK, "", "00000000"},
		{Pair{HMACSHA1, NoEncryption}, recordedIK + "00000000", "", "00000000"},
		{Pair{HMACSHA1, AESCBC}, recordedIK + "00000000", recordedCK, "00000000"},
		// Each octet of CK, CK1 once more, with the lowest bit set for odd parity.
		{Pair{HMACMD5, DESEDE3CBC}, recordedIK, "d53d02758a376167fbd0ae7cab6df764" + "d53d02758a376167", "00000000"},
		// printf '\x58AES_GMAC_SALT\0\x0d' | openssl dgst -sha256 -mac HMAC -macopt hexkey:CKIK
		{Pair{AESGMAC, NoEncryption}, recordedIK, "", "7098d183"},
		{Pair{NoIntegrity, AESGCM}, "", recordedCK, "f4f61e05"},
	} {
		m := Expand(c.pair, ck, ik)
		if got := hex.EncodeToString(m.Integrity); got != c.integrity {
			t.Errorf("%v: integrity key %s, want %s", c.pair, got, c.integrity)
		}
		if got := hex.EncodeToString(m.Encryption); got != c.encryption {
			t.Errorf("%v: encryption key %s, want %s", c.pair, got, c.encryption)
		}
		if got := hex.EncodeToString(m.Salt[:]); got != c.salt {
			t.Errorf("%v: salt %s, want %s", c.pair, got, c.salt)
		}
	}
}

func TestKeysAreNeverPrinted(t *testing.T) {
	ck, ik := key(t, recordedCK), key(t, recordedIK)
	s := &Set{Pair: Pair{HMACSHA1, AESCBC}, CK: ck, IK: ik}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d", "%q"} {
		for _, v := range []any{ck, &ck, s, *s, s.Material()} {
			out := strings.ToLower(fmt.Sprintf(verb, v))
			for _, secret := range []string{recordedCK[:8], recordedIK[:8], "213, 60, 2", "213 60 2", "225 118 60", "0xd5, 0x3c", "0xe1, 0x76"} {
				if strings.Contains(out, secret) {
					t.Errorf("%s of %T shows a key: %s", verb, v, out)
				}
			}
		}
	}
}
