package aka

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestParseNonce(t *testing.T) {
	conformance.Shows(t, "AK-09")
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x5a}, n)) }
	for _, c := range []struct {
		name, nonce string
		data        int // octets of server data, or -1 for an error
		problem     string
	}{
		{"32 octets", b64(32), 0, ""},
		{"one octet of server data", b64(33), 1, ""},
		{"much server data", b64(1536), 1504, ""},
		{"empty", "", -1, "0 octets"},
		{"31 octets", b64(31), -1, "31 octets"},
		{"RAND alone", b64(16), -1, "16 octets"},
		{"no padding", strings.TrimRight(b64(32), "="), -1, "bad base64 at character"},
		{"a character outside the alphabet", "!" + b64(32)[1:], -1, "bad base64 at character 0"},
		{"the URL alphabet", "-_" + b64(32)[2:], -1, "bad base64 at character 0"},
		{"a line end", b64(32)[:20] + "\r\n" + b64(32)[20:], -1, "bad base64 at character 20"},
		{"bits after the last octet", b64(32)[:42] + "p=", -1, "bad base64"},
		{"something after the padding", b64(32) + "AAAA", -1, "bad base64"},
		{"longer than any server's", b64(1539), -1, "2052 characters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := ParseNonce(c.nonce)
			if c.data < 0 {
				var pe *ParseError
				if !errors.As(err, &pe) || pe.Field != "nonce" || !strings.Contains(pe.Problem, c.problem) {
					t.Fatalf("error %v, want a ParseError of the nonce with %q", err, c.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n.RAND != RAND(bytes.Repeat([]byte{0x5a}, 16)) || n.AUTN != AUTN(n.RAND) || len(n.ServerData) != c.data {
				t.Errorf("RAND %v, AUTN %v, %d octets of server data, want %d", n.RAND, n.AUTN, len(n.ServerData), c.data)
			}
			if n.String() != c.nonce {
				t.Errorf("comes back as %s", n)
			}
		})
	}
}

func TestNonceOfTheXORTestSIM(t *testing.T) {
	n := must(ParseNonce("AAAAAAAAAAAAAAAAAAAAAAMEBQYHCAAAAAECAwQFBgc="))
	if n.RAND != (RAND{}) || n.AUTN.String() != "03040506070800000001020304050607" {
		t.Errorf("RAND %v, AUTN %v", n.RAND, n.AUTN)
	}
}

// The nonce does not alias the caller's octets.
func TestNonceOwnsItsServerData(t *testing.T) {
	b := make([]byte, 33)
	n := must(NonceFromOctets(b))
	b[32] = 1
	if n.ServerData[0] != 0 {
		t.Error("server data follows the caller's buffer")
	}
}

func TestParseAUTS(t *testing.T) {
	auts := AUTS{0xff, 13: 0x01}
	if got, err := ParseAUTS(auts.Base64()); err != nil || got != auts {
		t.Errorf("%s comes back as %v, %v", auts.Base64(), got, err)
	}
	for name, s := range map[string]string{
		"empty": "", "13 octets": base64.StdEncoding.EncodeToString(auts[:13]),
		"15 octets":  base64.StdEncoding.EncodeToString(append(auts[:], 0)),
		"hex":        auts.String(),
		"bad base64": "*" + auts.Base64()[1:], "long": strings.Repeat("A", 68),
		"a line end": auts.Base64() + "\n",
	} {
		var pe *ParseError
		if _, err := ParseAUTS(s); !errors.As(err, &pe) || pe.Field != "auts" {
			t.Errorf("%s: error %v, want a ParseError of auts", name, err)
		}
	}
}

func TestResyncOctets(t *testing.T) {
	rand, auts := RAND{1, 15: 2}, AUTS{3, 13: 4}
	b := ResyncOctets(rand, auts)
	if len(b) != 30 || b[0] != 1 || b[15] != 2 || b[16] != 3 || b[29] != 4 {
		t.Errorf("RAND‖AUTS = %x", b)
	}
	if r, a, err := ParseResyncOctets(b); err != nil || r != rand || a != auts {
		t.Errorf("comes back as %v, %v, %v", r, a, err)
	}
	var pe *ParseError
	for _, bad := range [][]byte{nil, b[:29], append(b, 0)} {
		if _, _, err := ParseResyncOctets(bad); !errors.As(err, &pe) {
			t.Errorf("%d octets: error %v, want a ParseError", len(bad), err)
		}
	}
}

func FuzzParseNonce(f *testing.F) {
	f.Add("oJRMdf88TwhTovkQqh8QT8bi9GyPQoAAfzu5uEt8P/Y=")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAMEBQYHCAAAAAECAwQFBgcA")
	f.Add("87654321876543218765432187654321")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNonce(s)
		if err != nil {
			var pe *ParseError
			if !errors.As(err, &pe) || len(err.Error()) > 200 {
				t.Fatalf("error %T of %d characters", err, len(err.Error()))
			}
			return
		}
		if n.String() != s {
			t.Fatalf("%q comes back as %q", s, n)
		}
		if len(n.ServerData) > maxNonce {
			t.Fatalf("%d octets of server data", len(n.ServerData))
		}
	})
}

func FuzzParseAUTS(f *testing.F) {
	f.Add("AAAAAAAAAAAAAAAAAAA=", []byte{})
	f.Add("//8=", make([]byte, 30))
	f.Fuzz(func(t *testing.T, s string, octets []byte) {
		if a, err := ParseAUTS(s); err == nil && a.Base64() != s {
			t.Fatalf("%q comes back as %q", s, a.Base64())
		}
		if r, a, err := ParseResyncOctets(octets); err == nil && !bytes.Equal(ResyncOctets(r, a), octets) {
			t.Fatalf("%x comes back as %x", octets, ResyncOctets(r, a))
		}
	})
}

// What is typed by hand or read from a file: keys, RAND, SQN, AMF, algorithm names.
func FuzzParseText(f *testing.F) {
	f.Add("8000")
	f.Add(samsungK)
	f.Add(samsungSQN)
	f.Add("AKAv1-MD5")
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ParseRAND(s); err == nil && v.String() != strings.ToLower(s) {
			t.Fatalf("RAND %q comes back as %v", s, v)
		}
		if v, err := ParseSQN(s); err == nil && v.String() != strings.ToLower(s) {
			t.Fatalf("SQN %q comes back as %v", s, v)
		}
		if v, err := ParseAMF(s); err == nil && v.String() != strings.ToLower(s) {
			t.Fatalf("AMF %q comes back as %v", s, v)
		}
		if v, err := ParseDigestAlgorithm(s); err == nil && !strings.EqualFold(v.String(), s) {
			t.Fatalf("algorithm %q comes back as %v", s, v)
		}
		if v, err := ParseSecret(s); err == nil && v.Len() != len(s)/2 {
			t.Fatalf("%d digits give %d octets", len(s), v.Len())
		} else if err != nil && len(s) > 8 && strings.Contains(err.Error(), s) {
			t.Fatalf("error repeats the text: %v", err)
		}
	})
}
