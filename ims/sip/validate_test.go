package sip

import (
	"strings"
	"testing"
)

const validRequest = "MESSAGE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@h>;tag=1\r\n" +
	"To: <sip:b@h>\r\nCall-ID: 1@h\r\nCSeq: 1 MESSAGE\r\nContent-Length: 2\r\n\r\nhi"

// What RFC 4475 does not have.
func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name, old, new string
		reason         string // "" means accept
	}{
		{"as it is", "", "", ""},
		{"no Via", "Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\n", "", "Missing Via"},
		{"empty Via", "SIP/2.0/UDP a;branch=z9hG4bK1", ",", "Missing Via"},
		{"a lower Via that nobody could answer to", "=z9hG4bK1", "=z9hG4bK1, nonsense", "Bad Via"},
		{"headers that others on the way would add to until they cannot be framed", "Max-Forwards", "X: " + strings.Repeat("x", MaxHeader-growth) + "\r\nMax-Forwards", "Message Too Large"},
		{"headers of 20 KiB", "Max-Forwards", "X: " + strings.Repeat("x", 20<<10) + "\r\nMax-Forwards", ""},
		{"a body of the same kind", "Content-Length: 2\r\n\r\nhi", "Content-Length: 60000\r\n\r\n" + strings.Repeat("x", 60000), "Message Too Large"},
		{"no From", "From: <sip:a@h>;tag=1\r\n", "", "Missing From"},
		{"no To", "To: <sip:b@h>\r\n", "", "Missing To"},
		{"no Call-ID", "Call-ID: 1@h\r\n", "", "Missing Call-ID"},
		{"no CSeq", "CSeq: 1 MESSAGE\r\n", "", "Missing CSeq"},
		{"no Max-Forwards: RFC 2543", "Max-Forwards: 70\r\n", "", ""},
		{"two Call-IDs", "Call-ID: 1@h\r\n", "Call-ID: 1@h\r\ni: 1@h\r\n", "Multiple Call-ID"},
		{"white space in Call-ID", "1@h", "1 @h", "Bad Call-ID"},
		{"Max-Forwards too large", "70", "256", "Bad Max-Forwards"},
		{"Max-Forwards no number", "70", "x", "Bad Max-Forwards"},
		{"From without URI", "<sip:a@h>", "<>", "Bad From"},
		{"To without scheme", "<sip:b@h>", "<b@h>", "Bad To"},
		{"tel URI in To", "<sip:b@h>", "<tel:+1;phone-context=h>", ""},
		{"UTF-8 name without quotes", "From: <", "From: Jörg Müller <", ""},
		{"a semicolon at the end", "tag=1", "tag=1;", ""},
		{"empty parameters", "tag=1", "tag=1;;x", "Bad From"},
		{"bad Contact", "Max-Forwards", "Contact: <sip:a\r\nMax-Forwards", "Bad Contact"},
		{"Contact with an asterisk", "Max-Forwards", "Contact: *\r\nMax-Forwards", ""},
		{"bad Route", "Max-Forwards", "Route: <sip:a>, b c\r\nMax-Forwards", "Bad Route"},
		{"bad Path", "Max-Forwards", "Path: <\r\nMax-Forwards", "Bad Path"},
		{"a bad header that nobody here reads", "Max-Forwards", "Accept-Contact: nonsense\r\nMax-Forwards", ""},
		{"a line without colon", "Max-Forwards", "nonsense\r\nMax-Forwards", "Bad Header"},
		{"a name that is no token", "Max-Forwards", "x y: z\r\nMax-Forwards", "Bad Header"},
		{"a name with a control", "Max-Forwards", "x\x01: z\r\nMax-Forwards", "Bad Header"},
		{"an empty name", "Max-Forwards", ": z\r\nMax-Forwards", "Bad Header"},
		{"LF alone: another parser may not see a line", "70\r\n", "70\n", "Bad Line End"},
		{"CR alone", "70", "70\rX: y", "Bad Line End"},
		{"NUL", "70\r\n", "70\r\nX: a\x00b\r\n", "Bad Header"},
		{"NUL in a quoted pair", "70\r\n", "70\r\nX: \"a\\\x00b\"\r\n", ""},
		{"Content-Length beyond the datagram", "2\r\n\r\nhi", "3\r\n\r\nhi", "Bad Content-Length"},
		{"no Content-Length", "Content-Length: 2\r\n", "", ""},
		{"no empty line", "\r\n\r\nhi", "\r\n", "Bad Content-Length"},
		{"no empty line, no length", "Content-Length: 2\r\n\r\nhi", "", "Missing Empty Line"},
		{"cut off in a line", "2\r\n\r\nhi", "0", "Missing Empty Line"},
		{"method in CSeq", "1 MESSAGE", "1 INVITE", "Bad CSeq"},
		{"CSeq too large", "1 MESSAGE", "2147483648 MESSAGE", "Bad CSeq"},
		{"a tab in the request line", "sip:b@h SIP", "sip:b@h\tSIP", "no message"},
		{"a method that is no token", "MESSAGE sip", "MESS@GE sip", "Bad Request-Line"},
		{"Request-URI without scheme", "sip:b@h SIP", "b@h SIP", "Bad Request-URI"},
		{"Request-URI without host", "sip:b@h SIP", "sip:b@ SIP", "Bad Request-URI"},
		{"Request-URI with a bad port", "sip:b@h SIP", "sip:b@h:99999 SIP", "Bad Request-URI"},
		{"Request-URI of a phone with two domains", "sip:b@h SIP", "sip:1;phone-context=a@h;user=phone SIP", ""},
		{"tel Request-URI", "sip:b@h SIP", "tel:112 SIP", ""},
		{"urn Request-URI", "sip:b@h SIP", "urn:service:sos SIP", ""},
		{"IPv6 Request-URI", "sip:b@h SIP", "sip:b@[2001:db8::1]:5060;lr SIP", ""},
		{"lower case version", "SIP/2.0\r\n", "sip/2.0\r\n", ""},
		{"version 3.0", "SIP/2.0\r\n", "SIP/3.0\r\n", "Version Not Supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.old != "" && !strings.Contains(validRequest, tt.old) {
				t.Fatal("the row changes nothing")
			}
			m, err := Parse(strings.Replace(validRequest, tt.old, tt.new, 1))
			if err != nil {
				if tt.reason != "no message" {
					t.Fatal(err)
				}
				return
			}
			got := ""
			if p := Validate(m); p != nil {
				got = p.Reason
				if p.Status < 400 || p.Detail == "" || !strings.Contains(p.Error(), p.Detail) {
					t.Errorf("%+v", p)
				}
			}
			if got != tt.reason {
				t.Errorf("got %q, want %q", got, tt.reason)
			}
		})
	}
}

// Nobody can be told: a malformed response or ACK is dropped (RFC 3261 §18.1.2).
func TestMalformedResponsesAndACKsAreDropped(t *testing.T) {
	for _, raw := range []string{
		strings.Replace(validRequest, "MESSAGE sip:b@h SIP/2.0", "SIP/2.0 200 OK", 1),
		strings.ReplaceAll(validRequest, "MESSAGE", "ACK"),
	} {
		if p := Validate(mustParse(t, raw)); p != nil {
			t.Errorf("%q is refused: %v", raw, p)
		}
		p := Validate(mustParse(t, strings.Replace(raw, "CSeq: 1", "CSeq: x", 1)))
		if p == nil || p.Status != 0 {
			t.Errorf("%q gets %v", raw, p)
		}
	}
	for _, start := range []string{"SIP/2.0 99 x", "SIP/2.0 700 x", "SIP/2.0 0200 x", "SIP/2.0", "SIP/2.0 ", "SIP/2.0  200 OK", "SIP/2.0\t200 OK"} {
		m, err := Parse(strings.Replace(validRequest, "MESSAGE sip:b@h SIP/2.0", start, 1))
		if err != nil {
			continue
		}
		if p := Validate(m); p == nil || p.Status != 0 {
			t.Errorf("%q gets %v", start, p)
		}
	}
}

func TestSamplesAreValid(t *testing.T) {
	for _, raw := range []string{sampleRegister, sampleInvite, tortuous} {
		if p := Validate(mustParse(t, raw)); p != nil {
			t.Errorf("%.20q: %v", raw, p)
		}
	}
	if n := len(sampleInvite); n < 1000 || n > 2000 {
		t.Errorf("the sample has %d octets", n)
	}
}

func TestScheme(t *testing.T) {
	for in, want := range map[string]string{
		"sip:a": "sip", "TEL:+1": "TEL", "soap.beep://x": "soap.beep", "urn:x": "urn", "": "", ":": "", "a": "", "1a:": "", "<sip:a>": "", "a@b:1": "",
	} {
		if got, ok := Scheme(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v", in, got, ok)
		}
	}
}
