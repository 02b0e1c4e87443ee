package sip

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/ims/sip/internal/torture"
)

func addMessages(f *testing.F) {
	for _, c := range append(torture.RFC4475, torture.RFC5118...) {
		f.Add(c.Raw())
	}
	f.Add(sampleRegister)
	f.Add(sampleInvite)
	f.Add(tortuous)
}

// FuzzMessage: whatever can be indexed leaves as it came, and edits with values
// from anywhere change the lines they should and no others.
func FuzzMessage(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, raw string) {
		m, err := Parse(raw)
		if err != nil {
			return
		}
		if got := string(m.AppendTo(nil, nil)); got != m.Raw() || !strings.Contains(raw, got) {
			t.Fatalf("leaves as %q", got)
		}
		for i := range m.Len() {
			m.Line(i)
		}
		for id := range idCount {
			n := 0
			for range m.Lines(id) {
				n++
			}
			if n != m.Count(id) || m.Has(id) != (n > 0) {
				t.Fatalf("%v: %d lines, Count %d, Has %v", id, n, m.Count(id), m.Has(id))
			}
			for v := range m.Values(id) {
				if v == "" && isList(id) {
					t.Fatalf("an empty value of %v", id)
				}
			}
		}
		if _, rest, _ := strings.Cut(m.Raw(), "\n"); Validate(m) != nil && rest != "" && (rest[0] == ' ' || rest[0] == '\t') {
			return // what is put before this line is continued by it; nobody forwards such
		}
		var e Edits
		forwardEdits(&e)
		a, err := m.Apply(&e)
		if err != nil {
			if m.Len() > MaxLines-8 || len(raw) > MaxMessage-1024 {
				return
			}
			t.Fatalf("the edited message cannot be indexed: %v", err)
		}
		if v, err := a.TopVia(); err != nil || v.Branch != "z9hG4bKabcdefgh" {
			t.Fatalf("top Via %+v, %v", v, err)
		}
		if n, ok := a.MaxForwards(); !ok || n != 69 {
			t.Fatalf("Max-Forwards %d", n)
		}
		if a.Body() != m.Body() {
			t.Fatalf("body %q becomes %q", m.Body(), a.Body())
		}
		// What was well formed still is.
		if p := Validate(m); p == nil && len(raw) < 16<<10 { // so that the bounds are far
			// A response has another Via now, and that below it is checked for where it leads.
			if p := Validate(a); p != nil && (m.IsRequest() || p.Header != HVia) {
				t.Fatalf("forwarding makes it malformed: %v", p)
			}
			if r, err := NewResponse(m, 200, "", "T").Message(); m.IsRequest() && (err != nil || Validate(r) != nil) {
				t.Fatalf("the response is malformed: %v %v", err, Validate(r))
			}
		}
		respell(t, raw)
		// A value taken from the message cannot add more than its line.
		before := m.Len()
		for i := range min(before, 8) {
			_, name, v := m.Line(i)
			var e Edits
			e.AddName("X-Copy", v)
			e.AddName("X-Copy", m.raw)
			e.AddName(name, v)
			e.RequestURI(v)
			want := before + 2
			if isToken(name) {
				want++
			}
			c := string(m.AppendTo(nil, &e))
			if len(c) > MaxMessage || want > MaxLines {
				return
			}
			if a, err := Parse(c); err != nil || a.Len() != want && !m.cutOff() {
				t.Fatalf("%d lines become %d, want %d: %v", before, a.Len(), want, err)
			}
		}
	})
}

// respell gives lines other values, and wants the index that the text has.
func respell(t *testing.T, raw string) {
	for i, value := range []string{"", "SIP/2.0/UDP h;branch=z9hG4bK1;received=192.0.2.1", "x", ""} {
		m, err := Parse(raw)
		if err != nil || i >= m.Len() || m.flags&msgBareLF != 0 || m.lines[i].flags&lineNoColon != 0 || m.lines[i].id == HContentLength {
			continue
		}
		text := m.raw[:m.lines[i].nameEnd] + ": " + value + "\r\n" + m.raw[m.lines[i].end:]
		if err := m.Respell(i, []byte(value)); err != nil {
			if len(text) <= MaxMessage {
				t.Fatalf("line %d as %q: %v", i, value, err)
			}
			continue
		}
		if m.raw != text {
			t.Fatalf("line %d as %q leaves %q, want %q", i, value, m.raw, text)
		}
		if want := mustParse(t, text); !reflect.DeepEqual(m, want) {
			t.Fatalf("line %d as %q has index\n%+v, want\n%+v", i, value, m, want)
		}
	}
}

func (m *Message) cutOff() bool { return m.flags&msgCutOff != 0 }

// FuzzValidate: nothing breaks it, and what it accepts can be read.
func FuzzValidate(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, raw string) {
		m, err := Parse(raw)
		if err != nil {
			return
		}
		if p := Validate(m); p != nil {
			if p.Error() == "" || p.Status != 0 && p.Reason == "" || !m.IsRequest() && p.Status != 0 {
				t.Fatalf("%+v", p)
			}
			return
		}
		if _, err := observeOurs(m); err != nil {
			t.Fatalf("accepted, but cannot be read: %v", err)
		}
		if m.Method() == "" || m.CallID() == "" {
			t.Fatal("accepted without method or Call-ID")
		}
		for i := range m.Len() {
			if strings.ContainsAny(m.RawLine(i)[:len(m.RawLine(i))-2], "\x00") && !strings.Contains(m.RawLine(i), "\\\x00") {
				t.Fatal("accepted with NUL")
			}
		}
	})
}

// FuzzFrame: framing stays inside the buffer, agrees with the index on where a
// message ends, and does not change its mind when more arrives.
func FuzzFrame(f *testing.F) {
	for _, c := range torture.RFC4475 {
		f.Add([]byte(c.Raw()))
	}
	f.Add([]byte("\r\n\r\n" + tortuous + tortuous))
	f.Fuzz(func(t *testing.T, buf []byte) {
		n, skip, err := Frame(buf)
		if n < 0 || skip < 0 || skip+n > len(buf) || n > MaxMessage || len(bytes.Trim(buf[:skip], "\r\n")) > 0 {
			t.Fatalf("%d, %d of %d", n, skip, len(buf))
		}
		if err == nil && n > 0 {
			m, err := Parse(string(buf[skip : skip+n]))
			if err == nil && len(m.Raw()) != n {
				t.Fatalf("framed %d octets, indexed %d", n, len(m.Raw()))
			}
			if err == nil && m.flags&(msgBadLength|msgShortBody|msgNoLength|msgCutOff) != 0 {
				t.Fatal("framed, but the index finds no usable length")
			}
		}
		if n2, skip2, err2 := Frame(append(slices.Clip(buf), "\r\n"...)); err == nil && n > 0 && (n2 != n || skip2 != skip || err2 != nil) {
			t.Fatalf("%d, %d; with more %d, %d, %v", n, skip, n2, skip2, err2)
		}
		for cut := len(buf) - 1; cut >= 0 && cut > len(buf)-20; cut-- {
			if n1, skip1, err1 := Frame(buf[:cut]); n1 > 0 && err1 == nil && (n1 != n || skip1 != skip) {
				t.Fatalf("with %d octets %d, %d; with all %d, %d, %v", cut, skip1, n1, skip, n, err)
			}
		}
	})
}

// fuzzHeader: what a parser reads, and AppendTo writes, is read the same again.
func fuzzHeader[T interface{ AppendTo([]byte) []byte }](f *testing.F, parse func(string) (T, error), seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4096 {
			return
		}
		v, err := parse(s)
		if err != nil {
			return
		}
		text := string(v.AppendTo(nil))
		again, err := parse(text)
		if err != nil {
			t.Fatalf("%q is written as %q, which cannot be read: %v", s, text, err)
		}
		if d := cmp.Diff(v, again, noParams); d != "" {
			t.Fatalf("%q is written as %q: %s", s, text, d)
		}
		if twice := string(again.AppendTo(nil)); twice != text {
			t.Fatalf("%q is written as %q, then as %q", s, text, twice)
		}
	})
}

func FuzzVia(f *testing.F) {
	fuzzHeader(f, ParseVia, "SIP / 2.0 / UDP [::1]:5 (c) ;rport=1;received=[::2];ttl=1;maddr=x;branch=z9hG4bK;x=\"y\"")
}

func FuzzNameAddr(f *testing.F) {
	fuzzHeader(f, ParseNameAddr, `"A \" B" <sip:a@b;lr?x=y>;tag=1;q="x;y"`, "sip:a@b;tag=1", "A B<tel:1>")
}

func FuzzCSeq(f *testing.F) { fuzzHeader(f, ParseCSeq, "0009 \r\n INVITE") }

func FuzzRAck(f *testing.F) { fuzzHeader(f, ParseRAck, "1 2 INVITE") }

func FuzzChallenge(f *testing.F) {
	fuzzHeader(f, ParseChallenge, `Digest realm="h",nonce="n",algorithm=AKAv1-MD5,qop="auth,auth-int",stale=true,ck="0a",x=y`, "Basic a=b")
}

func FuzzCredentials(f *testing.F) {
	fuzzHeader(f, ParseCredentials, `Digest username="u\"",realm=h,nonce="",uri="sip:h",response="",nc=00000001,auts="a==",x=y`, "Basic abc==")
}

func FuzzSecMechanism(f *testing.F) {
	fuzzHeader(f, ParseSecMechanism, "ipsec-3gpp; alg=hmac-md5-96; spi-c=0001; spi-s=2; port-c=3; port-s=4; q=0.1; x", "tls;q=0.2", "digest;d-alg=md5")
}

func FuzzChargingVector(f *testing.F) {
	fuzzHeader(f, ParseChargingVector, `icid-value="a;b";orig-ioi="Type 1h";term-ioi=x;icid-generated-at=h;y="z"`)
}

func FuzzChargingAddresses(f *testing.F) {
	fuzzHeader(f, ParseChargingAddresses, `ccf=a; ccf="[::1]";ecf=b`)
}

func FuzzAccessNetworkInfo(f *testing.F) {
	fuzzHeader(f, ParseAccessNetworkInfo, `3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=001;x="y;z";network-provided`)
}

func FuzzVisitedNetworkID(f *testing.F) {
	fuzzHeader(f, ParseVisitedNetworkID, `"Visited \"net\"";x=1`, "visited.example", "two words")
}

func FuzzServedUser(f *testing.F) {
	fuzzHeader(f, ParseServedUser, "<sip:u@h>;sescase=orig;regstate=reg;orig-cdiv;x=1")
}

func FuzzEvent(f *testing.F) { fuzzHeader(f, ParseEvent, "reg;id=1;x") }

func FuzzSubscriptionState(f *testing.F) {
	fuzzHeader(f, ParseSubscriptionState, "terminated;reason=probation;expires=1;retry-after=9;x")
}

func FuzzContentType(f *testing.F) {
	fuzzHeader(f, ParseContentType, `multipart / mixed;boundary="a;b"`)
}

func FuzzReason(f *testing.F) {
	fuzzHeader(f, ParseReason, `SIP ;cause=580;text="a\"b"`, "Q.850;cause=16")
}

func FuzzSessionExpires(f *testing.F) {
	fuzzHeader(f, ParseSessionExpires, "1800 ;refresher=uac;x=1")
}

func FuzzHistoryInfo(f *testing.F) {
	fuzzHeader(f, ParseHistoryInfo, "<sip:b@h?Reason=SIP%3Bcause%3D302&Privacy=history>;index=1.1;rc=1;x")
}

func FuzzUserDatabase(f *testing.F) {
	f.Add("<aaa://hss.example.org:3868;transport=tcp>")
	f.Fuzz(func(t *testing.T, s string) {
		host, err := ParseUserDatabase(s)
		if err != nil {
			return
		}
		if again, err := ParseUserDatabase(UserDatabase(host)); err != nil || again != host {
			t.Errorf("%q is read back as %q: %v", host, again, err)
		}
	})
}

func FuzzAcceptContact(f *testing.F) {
	fuzzHeader(f, ParseAcceptContact, `*;+g.3gpp.icsi-ref="urn%3Ax,y";require;explicit;audio`)
}
