package aka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/wmnsk/milenage"
	"pgregory.net/rapid"
)

func TestMilenageGivesTheSetsOfTS35208(t *testing.T) {
	conformance.Shows(t, "AK-01")
	for _, s := range readSets(t, "testdata/milenage.json") {
		t.Run(fmt.Sprint("set ", s.Set), func(t *testing.T) {
			opc, err := MilenageOPc(secret(t, s.K), secret(t, s.OP))
			if err != nil {
				t.Fatal(err)
			}
			if !opc.Equal(secret(t, s.OPc)) {
				t.Errorf("OPc = %x, want %s", opc.Bytes(), s.OPc)
			}
			checkFunctions(t, must(NewMilenage(secret(t, s.K), opc)), s)
		})
	}
}

func TestMilenageAgreesWithAnotherImplementation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b16 := rapid.SliceOfN(rapid.Byte(), 16, 16)
		k, op := b16.Draw(t, "K"), b16.Draw(t, "OP")
		rand := RAND(b16.Draw(t, "RAND"))
		sqn := SQN(rapid.Uint64Max(uint64(maxSQN)).Draw(t, "SQN"))
		amf := AMF(rapid.Uint16().Draw(t, "AMF"))

		theirs := milenage.New(k, op, rand[:], uint64(sqn), uint16(amf))
		if err := theirs.ComputeAll(); err != nil {
			t.Fatal(err)
		}
		theirAUTN, err := theirs.GenerateAUTN()
		if err != nil {
			t.Fatal(err)
		}

		opc := must(MilenageOPc(NewSecret(k), NewSecret(op)))
		ours := must(NewMilenage(NewSecret(k), opc))
		v := must(NewVector(ours, rand, sqn, amf))
		_, _, _, ak := ours.F2345(rand)
		akStar := ours.F5Star(rand)
		for _, c := range []struct {
			name        string
			got, theirs []byte
		}{
			{"OPc", opc.Bytes(), theirs.OPc},
			{"MAC-A", ours.F1(rand, sqn, amf), theirs.MACA},
			{"MAC-S", ours.F1Star(rand, sqn, amf), theirs.MACS},
			{"RES", v.XRES.Bytes(), theirs.RES},
			{"CK", v.CK.Bytes(), theirs.CK},
			{"IK", v.IK.Bytes(), theirs.IK},
			{"AK", ak[:], theirs.AK},
			{"AK*", akStar[:], theirs.AKS},
			{"AUTN", v.AUTN[:], theirAUTN},
		} {
			if !bytes.Equal(c.got, c.theirs) {
				t.Errorf("%s = %x, wmnsk/milenage has %x", c.name, c.got, c.theirs)
			}
		}
	})
}

func TestMilenageTakesOnly16Octets(t *testing.T) {
	ok := NewSecret(make([]byte, 16))
	for _, n := range []int{0, 15, 17, 24, 32} {
		bad := NewSecret(make([]byte, n))
		for name, call := range map[string]func() error{
			"K":        func() error { _, err := NewMilenage(bad, ok); return err },
			"OPc":      func() error { _, err := NewMilenage(ok, bad); return err },
			"K of OPc": func() error { _, err := MilenageOPc(bad, ok); return err },
			"OP":       func() error { _, err := MilenageOPc(ok, bad); return err },
			"K of XOR": func() error { _, err := NewXOR(bad); return err },
		} {
			var le *LengthError
			if err := call(); !errors.As(err, &le) || le.Got != n {
				t.Errorf("%s of %d octets: error %v, want a LengthError with Got %d", name, n, err, n)
			}
		}
	}
}

// A holder that appends to or wipes one output must not reach its neighbour.
func TestOutputsDoNotShareOctets(t *testing.T) {
	m := must(NewMilenage(NewSecret(make([]byte, 16)), NewSecret(make([]byte, 16))))
	want, wantCK, wantIK, _ := m.F2345(RAND{1})
	res, ck, ik, _ := m.F2345(RAND{1})
	_ = append(res.Bytes(), 0xff)
	_ = append(ck.Bytes(), 0xff)
	res.Wipe()
	if !ck.Equal(wantCK) || !ik.Equal(wantIK) {
		t.Error("a change to RES or CK reached CK or IK")
	}
	if res.Equal(want) {
		t.Error("Wipe left RES as it was")
	}
}

// Keys handed to a constructor may be wiped by their owner.
func TestAlgorithmsKeepTheirOwnCopyOfKeys(t *testing.T) {
	for name, make := range map[string]func(k, c Secret) Algorithm{
		"Milenage": func(k, c Secret) Algorithm { return must(NewMilenage(k, NewSecret(c.Bytes()[:16]))) },
		"TUAK":     func(k, c Secret) Algorithm { return must(NewTUAK(k, c, TUAKOptions{})) },
		"XOR":      func(k, c Secret) Algorithm { return must(NewXOR(k)) },
	} {
		k := secret(t, "000102030405060708090a0b0c0d0e0f")
		c := secret(t, "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f")
		alg := make(k, c)
		before, _, _, _ := alg.F2345(RAND{})
		k.Wipe()
		c.Wipe()
		if after, _, _, _ := alg.F2345(RAND{}); !before.Equal(after) {
			t.Errorf("%s: wiping the caller's keys changed RES", name)
		}
	}
}

func BenchmarkVector(b *testing.B) {
	k, c := NewSecret(make([]byte, 16)), NewSecret(make([]byte, 32))
	for name, alg := range map[string]Algorithm{
		"Milenage": must(NewMilenage(k, k)),
		"TUAK":     must(NewTUAK(k, c, TUAKOptions{})),
		"XOR":      must(NewXOR(k)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var rand RAND
			for i := 0; b.Loop(); i++ {
				binary.BigEndian.PutUint64(rand[:], uint64(i))
				if _, err := NewVector(alg, rand, SQN(i), AMFSeparation); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// wmnskAUTS computes AUTS = (SQN_MS ⊕ AK*)‖MAC-S, AMF* = 0000, with wmnsk/milenage.
func wmnskAUTS(t *testing.T, k, opc string, rand RAND, sqnMS SQN) (a AUTS) {
	t.Helper()
	m := milenage.NewWithOPc(unhex(t, k), unhex(t, opc), rand[:], uint64(sqnMS), 0)
	if err := m.ComputeAll(); err != nil {
		t.Fatal(err)
	}
	for i, b := range m.SQN {
		a[i] = b ^ m.AKS[i]
	}
	copy(a[6:], m.MACS)
	return a
}
