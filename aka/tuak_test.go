package aka

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestTUAKGivesTheSetsOfTS35233(t *testing.T) {
	conformance.Shows(t, "AK-02")
	for _, s := range readSets(t, "testdata/tuak.json") {
		t.Run(fmt.Sprint("set ", s.Set), func(t *testing.T) {
			topc, err := TUAKTOPc(secret(t, s.K), secret(t, s.TOP), s.Iterations)
			if err != nil {
				t.Fatal(err)
			}
			if !topc.Equal(secret(t, s.TOPc)) {
				t.Errorf("TOPc = %x, want %s", topc.Bytes(), s.TOPc)
			}
			checkFunctions(t, must(NewTUAK(secret(t, s.K), topc, TUAKOptions{
				RESBits: s.RESBits, MACBits: s.MACBits, CKBits: s.CKBits, IKBits: s.IKBits, Iterations: s.Iterations,
			})), s)
		})
	}
}

// Every permitted combination gives outputs of the configured lengths, and no two
// combinations the same RES: the lengths enter the computation.
func TestTUAKLengths(t *testing.T) {
	seen := map[string]string{}
	for _, kOctets := range []int{16, 32} {
		for _, res := range []int{32, 64, 128, 256} {
			for _, mac := range []int{64, 128, 256} {
				for _, ck := range []int{128, 256} {
					for _, ik := range []int{128, 256} {
						opt := TUAKOptions{RESBits: res, MACBits: mac, CKBits: ck, IKBits: ik, Iterations: 1}
						alg, err := NewTUAK(NewSecret(make([]byte, kOctets)), NewSecret(make([]byte, 32)), opt)
						if err != nil {
							t.Fatalf("%+v: %v", opt, err)
						}
						r, c, i, _ := alg.F2345(RAND{})
						got := []int{r.Len() * 8, len(alg.F1(RAND{}, 0, 0)) * 8, len(alg.F1Star(RAND{}, 0, 0)) * 8, c.Len() * 8, i.Len() * 8}
						if want := []int{res, mac, mac, ck, ik}; fmt.Sprint(got) != fmt.Sprint(want) {
							t.Errorf("%+v: bits of RES, MAC-A, MAC-S, CK, IK %v, want %v", opt, got, want)
						}
						// The first 4 octets of OUT's end tell combinations apart; MAC's
						// length does not enter f2.
						key := string(r.Bytes()[r.Len()-4:])
						id := fmt.Sprint(kOctets, res, ck, ik)
						if other, dup := seen[key]; dup && other != id {
							t.Errorf("K %d octets, %+v: same RES as %s", kOctets, opt, other)
						}
						seen[key] = id
					}
				}
			}
		}
	}
}

func TestTUAKRefusesOtherLengths(t *testing.T) {
	k, c := NewSecret(make([]byte, 16)), NewSecret(make([]byte, 32))
	for name, opt := range map[string]TUAKOptions{
		"RES 96": {RESBits: 96}, "RES 512": {RESBits: 512}, "RES negative": {RESBits: -64},
		"MAC 32": {MACBits: 32}, "CK 64": {CKBits: 64}, "IK 192": {IKBits: 192},
		"iterations -1": {Iterations: -1}, "iterations 256": {Iterations: 256},
	} {
		var le *LengthError
		if _, err := NewTUAK(k, c, opt); !errors.As(err, &le) {
			t.Errorf("%s: error %v, want a LengthError", name, err)
		}
	}
	for name, keys := range map[string][2]Secret{
		"K 24 octets": {NewSecret(make([]byte, 24)), c}, "no K": {Secret{}, c},
		"TOPc 16 octets": {k, k}, "no TOPc": {k, Secret{}},
	} {
		var le *LengthError
		if _, err := NewTUAK(keys[0], keys[1], TUAKOptions{}); !errors.As(err, &le) {
			t.Errorf("NewTUAK with %s: error %v, want a LengthError", name, err)
		}
		if _, err := TUAKTOPc(keys[0], keys[1], 0); !errors.As(err, &le) {
			t.Errorf("TUAKTOPc with %s: error %v, want a LengthError", name, err)
		}
	}
	if _, err := TUAKTOPc(k, c, 300); err == nil {
		t.Error("TUAKTOPc took 300 iterations")
	}
}

// A MAC of more than 64 bits has no room in AUTN and AUTS.
func TestLongMACMakesNoVector(t *testing.T) {
	alg := must(NewTUAK(NewSecret(make([]byte, 16)), NewSecret(make([]byte, 32)), TUAKOptions{MACBits: 128}))
	if _, err := NewVector(alg, RAND{}, 1, 0); !errors.Is(err, ErrMACLength) {
		t.Errorf("NewVector: %v, want ErrMACLength", err)
	}
	if _, err := VerifyAUTS(alg, RAND{}, AUTS{}); !errors.Is(err, ErrMACLength) {
		t.Errorf("VerifyAUTS: %v, want ErrMACLength", err)
	}
	if _, err := (&USIM{Algorithm: alg}).Authenticate(RAND{}, AUTN{}); !errors.Is(err, ErrMACLength) {
		t.Errorf("Authenticate: %v, want ErrMACLength", err)
	}
}
