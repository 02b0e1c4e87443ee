package aka

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// unhex decodes a constant of a test.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatalf("bad test constant %q: %v", s, err)
	}
	return b
}

func secret(t testing.TB, s string) Secret { t.Helper(); return NewSecret(unhex(t, s)) }

// must takes the value of a call that the test expects to succeed.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// testSet is a test set of TS 35.208 or TS 35.233, in hexadecimal.
type testSet struct {
	Set                int
	K, RAND, SQN, AMF  string
	OP, OPc, TOP, TOPc string
	F1                 string
	F1Star             string `json:"f1*"`
	F2, F3, F4, F5     string
	F5Star             string `json:"f5*"`
	Iterations         int
	RESBits            int `json:"RES bits"`
	MACBits            int `json:"MAC bits"`
	CKBits             int `json:"CK bits"`
	IKBits             int `json:"IK bits"`
}

func readSets(t *testing.T, file string) []testSet {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Sets []testSet }
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Sets) != 6 {
		t.Fatalf("%s has %d sets, the specification 6", file, len(doc.Sets))
	}
	return doc.Sets
}

// checkFunctions holds every output of alg against the set.
func checkFunctions(t *testing.T, alg Algorithm, s testSet) {
	t.Helper()
	rand, sqn, amf := must(ParseRAND(s.RAND)), must(ParseSQN(s.SQN)), must(ParseAMF(s.AMF))
	res, ck, ik, ak := alg.F2345(rand)
	akStar := alg.F5Star(rand)
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"f1", s.F1, alg.F1(rand, sqn, amf)},
		{"f1*", s.F1Star, alg.F1Star(rand, sqn, amf)},
		{"f2", s.F2, res.Bytes()},
		{"f3", s.F3, ck.Bytes()},
		{"f4", s.F4, ik.Bytes()},
		{"f5", s.F5, ak[:]},
		{"f5*", s.F5Star, akStar[:]},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s = %s, want %s", c.name, got, c.want)
		}
	}
}
