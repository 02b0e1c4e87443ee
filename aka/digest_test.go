package aka

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/testbed/conformance"
	"pgregory.net/rapid"
)

func samsungDigest() Digest {
	return Digest{
		Method:   "REGISTER",
		Username: "001011234567893@ims.mnc001.mcc001.3gppnetwork.org",
		Realm:    "ims.mnc001.mcc001.3gppnetwork.org",
		Nonce:    "oJRMdf88TwhTovkQqh8QT8bi9GyPQoAAfzu5uEt8P/Y=",
		URI:      "sip:ims.mnc001.mcc001.3gppnetwork.org",
		QOP:      QOPAuthInt, NC: "00000001", CNonce: "a61fbe8516b77984b522256da5f7c32f",
	}
}

func xorDigest() Digest {
	return Digest{
		Method:   "REGISTER",
		Username: "466058041131504@ims.mnc005.mcc466.3gppnetwork.org",
		Realm:    "ims.mnc005.mcc466.3gppnetwork.org",
		Nonce:    "AAAAAAAAAAAAAAAAAAAAAAMEBQYHCAAAAAECAwQFBgc=",
		URI:      "sip:ims.mnc005.mcc466.3gppnetwork.org",
		QOP:      QOPAuth, NC: "00000001", CNonce: "YD05duxy",
	}
}

func akav2Digest() Digest {
	return Digest{
		Algorithm: AKAv2MD5,
		Method:    "REGISTER", Username: "6505550001@homedomain", Realm: "homedomain", URI: "sip:homedomain",
		Nonce: "87654321876543218765432187654321",
		QOP:   QOPAuth, NC: "00000001", CNonce: "897a977118d3092e88d574e833f7e3a3",
	}
}

func checkResponse(t *testing.T, d Digest, password Secret, want string) {
	t.Helper()
	got, err := d.Response(password)
	if err != nil || got != want {
		t.Errorf("response = %s, %v, want %s", got, err, want)
	}
	if err := d.Verify(password, want); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

// The recorded answer of the Samsung phone: auth-int over an empty body.
func TestAuthIntHashesTheEmptyBody(t *testing.T) {
	conformance.Shows(t, "AK-10")
	d := samsungDigest()
	checkResponse(t, d, secret(t, samsungRES), "63175c06a7a88bd479f5c9f714487476")
	d.Body = []byte{}
	checkResponse(t, d, secret(t, samsungRES), "63175c06a7a88bd479f5c9f714487476")
}

// RES with a NUL first: its octets enter A1 as they are.
func TestRESIsRawOctets(t *testing.T) {
	conformance.Shows(t, "AK-08")
	// The test SIM's RES, from its K and RAND.
	v := must(NewVector(must(NewXOR(secret(t, "000102030405060708090a0b0c0d0e0f"))), RAND{}, 0, 0))
	checkResponse(t, xorDigest(), AKAv1MD5.Password(v.XRES, v.CK, v.IK), "c76c2c281a21c0d6131e667d61a6bdf5")
}

func TestAKAv2MD5(t *testing.T) {
	res := secret(t, "2f46a9d4aa4fae35")
	ck := secret(t, "f36f63b242d502ba520f9504bed2366b")
	ik := secret(t, "42a43ceb1964f201564469fc2a27c305")
	password := AKAv2MD5.Password(res, ck, ik)
	if got, want := string(password.Bytes()), "QjT0EHOUVFDqGrpCkF5Jng=="; got != want {
		t.Errorf("password = %s, want %s", got, want)
	}
	checkResponse(t, akav2Digest(), password, "d1cae23f19f19ec19357749c4e16e811")
}

// For AKAv2-SHA-256 no vector made elsewhere is known: the formulas of RFC 4169 3
// and RFC 7616 3.4 are spelled out instead.
func TestAKAv2SHA256(t *testing.T) {
	res, ck, ik := secret(t, samsungRES), secret(t, samsungCK), secret(t, samsungIK)
	mac := hmac.New(sha256.New, unhex(t, samsungRES+samsungIK+samsungCK))
	mac.Write([]byte("http-digest-akav2-password"))
	password := AKAv2SHA256.Password(res, ck, ik)
	if got, want := string(password.Bytes()), base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want || len(got) != 44 {
		t.Errorf("password = %s, want %s", got, want)
	}
	h := func(format string, a ...any) string {
		return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, format, a...)))
	}
	d := samsungDigest()
	d.Algorithm, d.Body = AKAv2SHA256, []byte("<presence/>")
	checkResponse(t, d, password, h("%s:%s:%s:%s:auth-int:%s",
		h("%s:%s:%s", d.Username, d.Realm, password.Bytes()), d.Nonce, d.NC, d.CNonce,
		h("REGISTER:%s:%s", d.URI, h("<presence/>"))))
}

// Without qop: the form of RFC 2069, into which nc and cnonce do not enter.
func TestNoQOP(t *testing.T) {
	h := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	d := xorDigest()
	d.QOP = QOPNone
	want := h(h(d.Username+":"+d.Realm+":secret") + ":" + d.Nonce + ":" + h("REGISTER:"+d.URI))
	checkResponse(t, d, NewSecret([]byte("secret")), want)
	d.NC, d.CNonce = "", ""
	checkResponse(t, d, NewSecret([]byte("secret")), want)
}

// rspauth is the response with an empty method (RFC 2617 3.2.3).
func TestRspauth(t *testing.T) {
	h := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	d := xorDigest()
	d.Method = ""
	checkResponse(t, d, NewSecret([]byte("secret")),
		h(h(d.Username+":"+d.Realm+":secret")+":"+d.Nonce+":00000001:YD05duxy:auth:"+h(":"+d.URI)))
}

// From the phone that rejects an SQN to the HSS that takes over SQN_MS: auts in
// base64, and a response over the empty password.
func TestAUTSGoesWithAnEmptyPassword(t *testing.T) {
	conformance.Shows(t, "AK-07")
	alg, rand, autn := samsung(t)
	usim := &USIM{Algorithm: alg, SQN: must(NewSQNArray(0x200000000, SQNArrayOptions{}))}
	_, err := usim.Authenticate(rand, autn)
	var sf *SyncFailureError
	if !errors.As(err, &sf) {
		t.Fatalf("error %v, want a SyncFailureError", err)
	}
	auts := sf.AUTS.Base64()
	if len(auts) != 20 {
		t.Errorf("auts=%q, want 14 octets in base64", auts)
	}

	d := samsungDigest()
	h := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	response := h(h(d.Username+":"+d.Realm+":") + ":" + d.Nonce + ":00000001:" + d.CNonce + ":auth-int:" +
		h("REGISTER:"+d.URI+":"+h("")))
	checkResponse(t, d, Secret{}, response)
	if err := d.Verify(secret(t, samsungRES), response); !errors.Is(err, ErrResponseMismatch) {
		t.Errorf("with RES as password: %v, want ErrResponseMismatch", err)
	}

	st := SQNState{SQN: must(ParseSQN(samsungSQN))}
	sqnMS := must(VerifyAUTS(alg, rand, must(ParseAUTS(auts))))
	if changed, err := (SQNProfile{}).Resynchronise(&st, sqnMS, noon); err != nil || !changed || st.SQN != 0x200000000 {
		t.Errorf("HSS: changed %t, SQN %v, %v", changed, st.SQN, err)
	}
	v := must(NewVector(alg, NewRAND(), must(SQNProfile{}.Next(&st, noon)), AMFSeparation))
	if _, err := usim.Authenticate(v.RAND, v.AUTN); err != nil {
		t.Errorf("the next challenge: %v", err)
	}
}

// Any values give what RFC 2617 3.2.2 and RFC 7616 3.4 spell out.
func TestResponseIsTheFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return string(rapid.SliceOfN(rapid.Byte(), 1, 90).Draw(t, name)) }
		d := Digest{
			Algorithm: DigestAlgorithm(rapid.IntRange(0, 2).Draw(t, "algorithm")),
			Method:    text("method"), Username: text("username"), Realm: text("realm"), Nonce: text("nonce"),
			URI: text("uri"), NC: text("nc"), CNonce: text("cnonce"), Body: []byte(text("body")),
			QOP: rapid.SampledFrom([]string{"", "auth", "auth-int", "AUTH"}).Draw(t, "qop"),
		}
		password := text("password")
		h := func(s string) string {
			if d.Algorithm == AKAv2SHA256 {
				return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
			}
			return fmt.Sprintf("%x", md5.Sum([]byte(s)))
		}
		a2 := d.Method + ":" + d.URI
		if d.QOP == "auth-int" {
			a2 += ":" + h(string(d.Body))
		}
		middle := d.Nonce
		if d.QOP != "" {
			middle += ":" + d.NC + ":" + d.CNonce + ":" + d.QOP
		}
		want := h(h(d.Username+":"+d.Realm+":"+password) + ":" + middle + ":" + h(a2))
		if got, err := d.Response(NewSecret([]byte(password))); err != nil || got != want {
			t.Errorf("response = %s, %v, want %s", got, err, want)
		}
	})
}

// Whatever enters the digest, another value gives another response.
func TestEveryInputEntersTheResponse(t *testing.T) {
	right := samsungDigest()
	right.Body = []byte("body")
	password := secret(t, samsungRES)
	response := must(right.Response(password))
	for name, change := range map[string]func(*Digest){
		"method": func(d *Digest) { d.Method = "INVITE" }, "username": func(d *Digest) { d.Username += "x" },
		"realm": func(d *Digest) { d.Realm += "x" }, "nonce": func(d *Digest) { d.Nonce += "x" },
		"uri": func(d *Digest) { d.URI += "x" }, "qop": func(d *Digest) { d.QOP = QOPAuth },
		"no qop": func(d *Digest) { d.QOP = QOPNone }, "nc": func(d *Digest) { d.NC = "00000002" },
		"cnonce": func(d *Digest) { d.CNonce += "x" }, "body": func(d *Digest) { d.Body = nil },
		"algorithm": func(d *Digest) { d.Algorithm = AKAv2SHA256 },
	} {
		d := right
		change(&d)
		if err := d.Verify(password, response); !errors.Is(err, ErrResponseMismatch) {
			t.Errorf("other %s: %v, want ErrResponseMismatch", name, err)
		}
	}
	for bit := range 64 {
		res := unhex(t, samsungRES)
		res[bit/8] ^= 1 << (bit % 8)
		if err := right.Verify(NewSecret(res), response); !errors.Is(err, ErrResponseMismatch) {
			t.Errorf("bit %d of RES flipped: %v, want ErrResponseMismatch", bit, err)
		}
	}
}

func TestVerifyTakesEitherCaseAndNoOtherForm(t *testing.T) {
	d, password := samsungDigest(), secret(t, samsungRES)
	const right = "63175c06a7a88bd479f5c9f714487476"
	if err := d.Verify(password, strings.ToUpper(right)); err != nil {
		t.Errorf("upper case: %v", err)
	}
	for _, s := range []string{"", right[:31], right + "0", " " + right, strings.Repeat("6", 1<<20)} {
		if err := d.Verify(password, s); !errors.Is(err, ErrResponseMismatch) {
			t.Errorf("%d characters: %v, want ErrResponseMismatch", len(s), err)
		}
	}
}

func TestResponseNeedsWhatItsQOPNeeds(t *testing.T) {
	for name, change := range map[string]func(*Digest){
		"nc": func(d *Digest) { d.NC = "" }, "cnonce": func(d *Digest) { d.CNonce = "" },
		"qop": func(d *Digest) { d.QOP = "auth,auth-int" },
	} {
		d := samsungDigest()
		change(&d)
		_, err := d.Response(Secret{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("bad %s: error %v does not name it", name, err)
		}
		if verr := d.Verify(Secret{}, ""); verr == nil || errors.Is(verr, ErrResponseMismatch) {
			t.Errorf("bad %s: Verify gives %v, want the input's error", name, verr)
		}
	}
	d := samsungDigest()
	d.Algorithm = 9
	var ue *UnsupportedDigestError
	if _, err := d.Response(Secret{}); !errors.As(err, &ue) {
		t.Errorf("algorithm 9: error %v, want an UnsupportedDigestError", err)
	}
}

func TestParseDigestAlgorithm(t *testing.T) {
	for s, want := range map[string]DigestAlgorithm{
		"AKAv1-MD5": AKAv1MD5, "akav1-md5": AKAv1MD5, "AKAv2-MD5": AKAv2MD5, "AKAV2-SHA-256": AKAv2SHA256,
	} {
		if got, err := ParseDigestAlgorithm(s); err != nil || got != want {
			t.Errorf("%s = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "MD5", "AKAv1-MD5-sess", "AKAv3-MD5", "AKAv1-MD5 "} {
		var ue *UnsupportedDigestError
		if _, err := ParseDigestAlgorithm(s); !errors.As(err, &ue) || ue.Algorithm != s {
			t.Errorf("%q: error %v, want an UnsupportedDigestError", s, err)
		}
	}
}

func BenchmarkDigestResponse(b *testing.B) {
	for _, a := range []DigestAlgorithm{AKAv1MD5, AKAv2MD5, AKAv2SHA256} {
		b.Run(a.String(), func(b *testing.B) {
			b.ReportAllocs()
			d := samsungDigest()
			d.Algorithm = a
			res, ck, ik := secret(b, samsungRES), secret(b, samsungCK), secret(b, samsungIK)
			for b.Loop() {
				if _, err := d.Response(a.Password(res, ck, ik)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a password was hashed in does not keep it, however long the rest is.
func TestDigestBuffersAreCleared(t *testing.T) {
	for _, n := range []int{1, 200, 700, 5000} {
		d := Digest{Algorithm: AKAv1MD5, Username: strings.Repeat("u", n), Realm: "r", Nonce: "n", URI: "sip:r"}
		if _, err := d.Response(NewSecret([]byte("secret"))); err != nil {
			t.Fatal(err)
		}
		b := buffers.Get().(*[768]byte)
		if *b != [768]byte{} {
			t.Fatalf("with %d octets of a name something stays behind: %q", n, b[:32])
		}
		buffers.Put(b)
	}
}
