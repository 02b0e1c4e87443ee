package aka

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/gocscf/gocscf/testbed/conformance"
	"pgregory.net/rapid"
)

// The registration of a Samsung SM-T515 at Kamailio 5 with FHoSS, 2020-04-17, from
// a public capture of the Open5GS project.
const (
	samsungK    = "8baf473f2f8fd09487cccbd7097c6862"
	samsungOPc  = "8e27b6af0e692e750f32667a3b14605d"
	samsungRAND = "a0944c75ff3c4f0853a2f910aa1f104f"
	samsungAUTN = "c6e2f46c8f4280007f3bb9b84b7c3ff6"
	samsungSQN  = "000017242898"
	samsungRES  = "17447172f62cf13e"
	samsungCK   = "d53c02758b376066fad0af7daa6df765"
	samsungIK   = "e1763cf28cc2e584588800193137ec92"
)

func samsung(t testing.TB) (*Milenage, RAND, AUTN) {
	t.Helper()
	return must(NewMilenage(secret(t, samsungK), secret(t, samsungOPc))), must(ParseRAND(samsungRAND)), must(ParseAUTN(samsungAUTN))
}

func TestRealPhoneAnswersTheRecordedChallenge(t *testing.T) {
	alg, rand, autn := samsung(t)
	r, err := (&USIM{Algorithm: alg}).Authenticate(rand, autn)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, ak := alg.F2345(rand); hex.EncodeToString(ak[:]) != "c6e2e348a7da" {
		t.Errorf("AK = %x, want c6e2e348a7da", ak)
	}
	if r.SQN.String() != samsungSQN || r.AMF != 0x8000 {
		t.Errorf("SQN %v, AMF %v, want %s, 8000", r.SQN, r.AMF, samsungSQN)
	}
	for _, c := range []struct {
		name, want string
		got        Secret
	}{{"RES", samsungRES, r.RES}, {"CK", samsungCK, r.CK}, {"IK", samsungIK, r.IK}} {
		if !c.got.Equal(secret(t, c.want)) {
			t.Errorf("%s = %x, want %s", c.name, c.got.Bytes(), c.want)
		}
	}
}

// The HSS with the same K, OPc, RAND and SQN makes the AUTN of the capture.
func TestVectorIsTheRecordedChallenge(t *testing.T) {
	alg, rand, autn := samsung(t)
	v := must(NewVector(alg, rand, must(ParseSQN(samsungSQN)), AMFSeparation))
	if v.AUTN != autn {
		t.Errorf("AUTN = %v, want %v", v.AUTN, autn)
	}
	if got, want := v.Nonce(nil).String(), "oJRMdf88TwhTovkQqh8QT8bi9GyPQoAAfzu5uEt8P/Y="; got != want {
		t.Errorf("nonce = %s, want %s", got, want)
	}
}

func TestAUTNLayout(t *testing.T) {
	conformance.Shows(t, "AK-04")
	// TS 35.208 set 1; the AUTN was computed elsewhere.
	alg := must(NewMilenage(secret(t, "465b5ce8b199b49faa5f0a2ee238a6bc"), secret(t, "cd63cb71954a9f4e48a5994e37a02baf")))
	rand := must(ParseRAND("23553cbe9637a89d218ae64dae47bf35"))
	v := must(NewVector(alg, rand, must(ParseSQN("ff9bb4d0b607")), 0xb9b9))
	if got, want := v.AUTN.String(), "55f328b43577b9b94a9ffac354dfafb3"; got != want {
		t.Errorf("AUTN = %s, want %s", got, want)
	}
	if v.AUTN.AMF() != 0xb9b9 || v.AUTN.MAC() != [8]byte(unhex(t, "4a9ffac354dfafb3")) {
		t.Errorf("AMF %v, MAC %x of AUTN %v", v.AUTN.AMF(), v.AUTN.MAC(), v.AUTN)
	}
	// With the separation bit and without: the USIM takes both and reports which.
	for _, amf := range []AMF{0x0000, AMFSeparation, 0x7fff, 0xffff} {
		v := must(NewVector(alg, rand, 32, amf))
		r, err := (&USIM{Algorithm: alg}).Authenticate(v.RAND, v.AUTN)
		if err != nil || r.AMF != amf {
			t.Errorf("AMF %v: USIM sees %v, error %v", amf, r.AMF, err)
		}
	}
}

// The test SIM of vectors made elsewhere: the first from a phone's registration
// with K 00…0f, the others from the tests of osmo-hlr (auc_test) and of
// flipk/pfk-milenage.
func TestXORVectors(t *testing.T) {
	conformance.Shows(t, "AK-03")
	alg := must(NewXOR(secret(t, "000102030405060708090a0b0c0d0e0f")))
	for _, c := range []struct {
		rand              string
		sqn               SQN
		amf               AMF
		autn, res, ck, ik string
	}{
		{"00000000000000000000000000000000", 0, 0,
			"03040506070800000001020304050607", "000102030405060708090a0b0c0d0e0f", "", ""},
		{"b5039c57e4a75051551d1a390a71ce48", 0, 0, "54e0a256565d0000b5029e54e0a25656",
			"b5029e54e0a256565d141032067cc047", "029e54e0a256565d141032067cc047b5", "9e54e0a256565d141032067cc047b502"},
		{"34343434343434343434343434343434", 1, 0x8000, "37303132333d8000343536373030b233",
			"34353637303132333c3d3e3f38393a3b", "353637303132333c3d3e3f38393a3b34", "3637303132333c3d3e3f38393a3b3435"},
	} {
		v := must(NewVector(alg, must(ParseRAND(c.rand)), c.sqn, c.amf))
		if v.AUTN.String() != c.autn {
			t.Errorf("RAND %s: AUTN %v, want %s", c.rand, v.AUTN, c.autn)
		}
		if !v.XRES.Equal(secret(t, c.res)) {
			t.Errorf("RAND %s: RES %x, want %s", c.rand, v.XRES.Bytes(), c.res)
		}
		if c.ck != "" && (!v.CK.Equal(secret(t, c.ck)) || !v.IK.Equal(secret(t, c.ik))) {
			t.Errorf("RAND %s: CK %x, IK %x, want %s, %s", c.rand, v.CK.Bytes(), v.IK.Bytes(), c.ck, c.ik)
		}
	}
	// MAC-S and AK* of the last, with the AMF that its test used.
	rand := must(ParseRAND("34343434343434343434343434343434"))
	if got := hex.EncodeToString(alg.F1Star(rand, 1, 0x8000)); got != "343536373030b233" {
		t.Errorf("MAC-S = %s, want 343536373030b233", got)
	}
	if ak := alg.F5Star(rand); hex.EncodeToString(ak[:]) != "37303132333c" {
		t.Errorf("AK* = %x, want 37303132333c", ak)
	}
}

func TestUSIMChecksMACBeforeSQN(t *testing.T) {
	conformance.Shows(t, "AK-05")
	alg, rand, autn := samsung(t)
	sqn := must(ParseSQN(samsungSQN))

	t.Run("any changed bit is a MAC failure without AUTS, even where SQN is old too", func(t *testing.T) {
		usim := &USIM{Algorithm: alg, SQN: must(NewSQNArray(sqn, SQNArrayOptions{}))}
		for bit := range 8 * (len(rand) + len(autn)) {
			r, a := rand, autn
			if bit < 8*len(r) {
				r[bit/8] ^= 1 << (bit % 8)
			} else {
				a[bit/8-len(r)] ^= 1 << (bit % 8)
			}
			resp, err := usim.Authenticate(r, a)
			var sf *SyncFailureError
			if !errors.Is(err, ErrMACFailure) || errors.As(err, &sf) {
				t.Fatalf("bit %d changed: error %v, want ErrMACFailure", bit, err)
			}
			if resp.RES.Len()+resp.CK.Len()+resp.IK.Len() != 0 {
				t.Fatalf("bit %d changed: keys came with the error", bit)
			}
		}
	})

	t.Run("a genuine challenge with an old SQN is a synchronisation failure with AUTS", func(t *testing.T) {
		usim := &USIM{Algorithm: alg, SQN: must(NewSQNArray(sqn, SQNArrayOptions{}))}
		resp, err := usim.Authenticate(rand, autn)
		var sf *SyncFailureError
		if !errors.As(err, &sf) || sf.Cause != SQNNotFresh || sf.SQN != sqn || sf.SQNMS != sqn {
			t.Fatalf("error %+v, want a SyncFailureError", err)
		}
		if resp.RES.Len() != 0 {
			t.Error("RES came with the error")
		}
		// AUTS by another implementation's f1* with AMF* = 0000 and f5*.
		if want := wmnskAUTS(t, samsungK, samsungOPc, rand, sqn); sf.AUTS != want {
			t.Errorf("AUTS = %v, want %v", sf.AUTS, want)
		}
		if got, err := VerifyAUTS(alg, rand, sf.AUTS); err != nil || got != sqn {
			t.Errorf("VerifyAUTS = %v, %v, want %v", got, err, sqn)
		}
	})
}

func TestVerifyAUTSRefusesAnyChange(t *testing.T) {
	alg, rand, _ := samsung(t)
	auts := newAUTS(alg, rand, 0x123456789abc)
	for bit := range 8 * len(auts) {
		a := auts
		a[bit/8] ^= 1 << (bit % 8)
		if _, err := VerifyAUTS(alg, rand, a); !errors.Is(err, ErrAUTSFailure) {
			t.Fatalf("bit %d changed: error %v, want ErrAUTSFailure", bit, err)
		}
	}
	if _, err := VerifyAUTS(alg, RAND{}, auts); !errors.Is(err, ErrAUTSFailure) {
		t.Errorf("with another RAND: error %v, want ErrAUTSFailure", err)
	}
	// An AUTS whose MAC-S was made with the AMF of the challenge, a known mistake.
	ak := alg.F5Star(rand)
	bad := auts
	copy(bad[6:], alg.F1Star(rand, 0x123456789abc, AMFSeparation))
	if _, err := VerifyAUTS(alg, rand, bad); !errors.Is(err, ErrAUTSFailure) {
		t.Errorf("MAC-S with AMF 8000: error %v, want ErrAUTSFailure (AK* %x)", err, ak)
	}
}

// HSS and USIM understand each other with every algorithm.
func TestChallengeAndAUTSRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytesOf := func(n int, name string) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name) }
		k, c := NewSecret(bytesOf(16, "K")), NewSecret(bytesOf(32, "TOPc"))
		alg := rapid.SampledFrom([]Algorithm{
			must(NewMilenage(k, NewSecret(c.Bytes()[:16]))), must(NewXOR(k)),
			must(NewTUAK(k, c, TUAKOptions{})), must(NewTUAK(c, c, TUAKOptions{RESBits: 256, CKBits: 256, IKBits: 256, Iterations: 3})),
		}).Draw(t, "algorithm")
		rand := RAND(bytesOf(16, "RAND"))
		sqn := SQN(rapid.Uint64Max(uint64(maxSQN)).Draw(t, "SQN"))
		amf := AMF(rapid.Uint16().Draw(t, "AMF"))
		v := must(NewVector(alg, rand, sqn, amf))
		r, err := (&USIM{Algorithm: alg}).Authenticate(v.RAND, v.AUTN)
		if err != nil {
			t.Fatal(err)
		}
		if r.SQN != sqn || r.AMF != amf || !bytes.Equal(r.RES.Bytes(), v.XRES.Bytes()) || !r.CK.Equal(v.CK) || !r.IK.Equal(v.IK) {
			t.Errorf("USIM and HSS differ")
		}
		if got, err := VerifyAUTS(alg, rand, newAUTS(alg, rand, sqn)); err != nil || got != sqn {
			t.Errorf("AUTS: %v, %v, want %v", got, err, sqn)
		}
	})
}

func TestSQNOfMoreThan48BitsMakesNoVector(t *testing.T) {
	alg, rand, _ := samsung(t)
	if _, err := NewVector(alg, rand, maxSQN+1, 0); !errors.Is(err, ErrSQNRange) {
		t.Errorf("error %v, want ErrSQNRange", err)
	}
	if _, err := NewVector(alg, rand, maxSQN, 0); err != nil {
		t.Errorf("the highest SQN: %v", err)
	}
}

func TestParseFixedLengths(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse func(string) (any, error)
		ok    []string
		bad   []string
	}{
		{"RAND", func(s string) (any, error) { return ParseRAND(s) }, []string{samsungRAND}, []string{"", "a0", samsungRAND + "00", "g" + samsungRAND[1:]}},
		{"AUTN", func(s string) (any, error) { return ParseAUTN(s) }, []string{samsungAUTN}, []string{"", samsungAUTN[1:]}},
		{"SQN", func(s string) (any, error) { return ParseSQN(s) }, []string{"000000000000", "ffffffffffff"}, []string{"", "0", "0000000000000", "-00000000001", "0x0000000001"}},
		{"AMF", func(s string) (any, error) { return ParseAMF(s) }, []string{"8000", "b9b9"}, []string{"", "800", "80000", "80 0"}},
	} {
		for _, s := range c.ok {
			v, err := c.parse(s)
			if err != nil {
				t.Errorf("%s %q: %v", c.name, s, err)
				continue
			}
			if got := v.(interface{ String() string }).String(); got != s {
				t.Errorf("%s %q comes back as %q", c.name, s, got)
			}
		}
		for _, s := range c.bad {
			var pe *ParseError
			if _, err := c.parse(s); !errors.As(err, &pe) || pe.Field != c.name {
				t.Errorf("%s %q: error %v, want a ParseError of that field", c.name, s, err)
			}
		}
	}
}

func TestRANDIsFresh(t *testing.T) {
	if a, b := NewRAND(), NewRAND(); a == b || a == (RAND{}) {
		t.Errorf("two RANDs: %v, %v", a, b)
	}
}
