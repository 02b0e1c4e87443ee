package sip

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCredentials(t *testing.T) {
	full := Credentials{
		Scheme: "Digest", Username: "001010000000001@ims.example", Realm: "ims.example", Nonce: "bm9uY2U=",
		URI: "sip:ims.example", Response: "0123456789abcdef0123456789abcdef", Algorithm: "AKAv1-MD5",
		CNonce: "c", QOP: "auth-int", NC: "00000001", AUTS: "YXV0cw==", IntegrityProtected: "yes",
	}
	for _, tt := range []struct {
		name, in string
		want     Credentials
	}{
		{"all", `Digest username="001010000000001@ims.example",realm="ims.example",nonce="bm9uY2U=",uri="sip:ims.example",` +
			`response="0123456789abcdef0123456789abcdef",algorithm=AKAv1-MD5,cnonce="c",qop=auth-int,nc=00000001,auts="YXV0cw==",integrity-protected="yes"`, full},
		{"quoted tokens, bare strings, spaces", `digest  username="001010000000001@ims.example" , realm=ims.example,nonce = "bm9uY2U=", uri="sip:ims.example",` +
			`response=0123456789abcdef0123456789abcdef, algorithm="AKAv1-MD5",cnonce=c,qop="auth-int",nc="00000001",auts="YXV0cw==",integrity-protected=yes`, full},
		{"folded, as a Pixel sends it", "Digest username=\"u@h\",\r\n realm=\"h\",\r\n\tnonce=\"\",\r\n uri=\"sip:h\",\r\n response=\"\"",
			Credentials{Scheme: "Digest", Username: "u@h", Realm: "h", URI: "sip:h"}},
		{"no algorithm, as a Qualcomm sends it", `Digest username="u",realm="h",uri="sip:h",nonce="",response=""`,
			Credentials{Scheme: "Digest", Username: "u", Realm: "h", URI: "sip:h"}},
		{"comma and angle bracket in strings", `Digest username="a,b<c",realm="h"`,
			Credentials{Scheme: "Digest", Username: "a,b<c", Realm: "h"}},
		{"another scheme", "NoOneKnowsThisScheme opaque-data=here", Credentials{Scheme: "NoOneKnowsThisScheme"}},
	} {
		got, err := ParseCredentials(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if got != tt.want && cmp.Diff(tt.want, got, noParams) != "" {
			t.Errorf("%s: %s", tt.name, cmp.Diff(tt.want, got, noParams))
		}
	}
	for _, in := range []string{"", "Digest=", `Digest username="a`, `Digest username="a",username="b"`, `Digest user name="a"`, `Digest nonce="a"b`} {
		if _, err := ParseCredentials(in); err == nil {
			t.Errorf("%q is read", in)
		}
	}
}

func TestCredentialsAppend(t *testing.T) {
	c, err := ParseCredentials(`Digest username="u\"x",realm="h",nonce="n",uri="sip:h",response="r",qop="auth",nc=00000001,future=x`)
	if err != nil {
		t.Fatal(err)
	}
	c.IntegrityProtected = "no"
	const want = `Digest username="u\"x",realm="h",nonce="n",uri="sip:h",response="r",qop=auth,nc=00000001,integrity-protected="no",future=x`
	if got := string(c.AppendTo(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	const odd = "NoOneKnowsThisScheme opaque-data=here"
	if c, err = ParseCredentials(odd); err != nil || string(c.AppendTo(nil)) != odd {
		t.Errorf("%s %v", c.AppendTo(nil), err)
	}
}

// Keys must not reach a log by any verb of fmt.
func TestKeysAreNotPrinted(t *testing.T) {
	const key = "00112233445566778899aabbccddeeff"
	ch, err := ParseChallenge(`Digest realm="h",nonce="n",algorithm=AKAv1-MD5,qop="auth,auth-int",ik="` + key + `",ck="` + key + `"`)
	if err != nil {
		t.Fatal(err)
	}
	cr, err := ParseCredentials(`Digest username="u",realm="h",response="` + key + `",ik="` + key + `",ck="` + key + `"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{ch, &ch, cr, &cr, struct{ C Credentials }{cr}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, key) || strings.Contains(s, fmt.Sprintf("%x", key)) {
				t.Errorf("%s of %T shows a key", verb, v)
			}
		}
	}
	if s := string(ch.AppendTo(nil)); strings.Count(s, key) != 2 {
		t.Errorf("AppendTo leaves keys out: %d", strings.Count(s, key))
	}
	if s := string(cr.AppendTo(nil)); strings.Count(s, key) != 3 {
		t.Errorf("AppendTo leaves keys out: %d", strings.Count(s, key))
	}
}
