package sip

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseChallenge(t *testing.T) {
	const in = `Digest realm="ims.example", nonce="bm9uY2U=", algorithm=AKAv1-MD5, qop="auth,auth-int", opaque="o", stale=TRUE, ik="0a", ck="0b"`
	got, err := ParseChallenge(in)
	if err != nil {
		t.Fatal(err)
	}
	want := Challenge{Scheme: "Digest", Realm: "ims.example", Nonce: "bm9uY2U=", Algorithm: "AKAv1-MD5",
		QOP: "auth,auth-int", Opaque: "o", Stale: "TRUE", IK: "0a", CK: "0b"}
	if d := cmp.Diff(want, got, noParams); d != "" {
		t.Error(d)
	}
	if !got.OffersQOP("auth-int") || !got.OffersQOP("AUTH") || got.OffersQOP("int") {
		t.Error("qop list is read wrongly")
	}
	// What the P-CSCF sends on to the phone has no keys.
	got.IK, got.CK = "", ""
	const out = `Digest realm="ims.example",nonce="bm9uY2U=",algorithm=AKAv1-MD5,qop="auth,auth-int",opaque="o",stale=TRUE`
	if s := string(got.AppendTo(nil)); s != out {
		t.Errorf("got %s", s)
	}
}
