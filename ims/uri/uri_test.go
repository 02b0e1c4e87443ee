package uri_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/ims/uri"
)

func parse(t testing.TB, s string) uri.URI {
	t.Helper()
	u, err := uri.Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return u
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     uri.URI
	}{
		{"host alone", "sip:example.com", uri.URI{Scheme: "sip", Host: "example.com"}},
		{"scheme in capitals", "SIPS:a@B", uri.URI{Scheme: "sips", User: "a", Host: "B"}},
		{"all parts", "sip:u:p@h.example:5061;transport=tcp;lr?Subject=x%20y&To=z", uri.URI{
			Scheme: "sip", User: "u", Password: "p", Host: "h.example", Port: 5061, Params: "transport=tcp;lr", Headers: "Subject=x%20y&To=z"}},
		{"empty password is none", "sip:u:@h", uri.URI{Scheme: "sip", User: "u", Host: "h"}},
		{"IPv6", "sip:[2001:db8::10]:5070;lr", uri.URI{Scheme: "sip", Host: "[2001:db8::10]", Port: 5070, Params: "lr"}},
		{"IPv6 where the port was swallowed (RFC 5118 4.3)", "sip:[2001:db8::10:5070]", uri.URI{Scheme: "sip", Host: "[2001:db8::10:5070]"}},
		{"IPv4 in IPv6 (RFC 5118 4.10)", "sip:user@[::ffff:192.0.2.10]:19823", uri.URI{Scheme: "sip", User: "user", Host: "[::ffff:192.0.2.10]", Port: 19823}},
		{"header without parameters", "sip:user@example.com?Route=%3Csip:example.com%3E", uri.URI{
			Scheme: "sip", User: "user", Host: "example.com", Headers: "Route=%3Csip:example.com%3E"}},
		{"trailing dot", "sip:a@example.com.", uri.URI{Scheme: "sip", User: "a", Host: "example.com."}},
		{"container's name", "sip:scscf_1:6060", uri.URI{Scheme: "sip", Host: "scscf_1", Port: 6060}},
		{"Samsung's phone-context", "sip:0612;phone-context=198101@198101;user=phone", uri.URI{
			Scheme: "sip", User: "0612;phone-context=198101", Host: "198101", Params: "user=phone"}},
		{"padding of a route parameter", "sip:h;lr=on;did=ab==", uri.URI{Scheme: "sip", Host: "h", Params: "lr=on;did=ab=="}},
		{"service code in a user part", "sip:*31#@h;user=phone", uri.URI{Scheme: "sip", User: "*31#", Host: "h", Params: "user=phone"}},
		{"wildcarded PSI", "sip:chatlist!.*!@example.com", uri.URI{Scheme: "sip", User: "chatlist!.*!", Host: "example.com"}},
		{"tel", "tel:+1-201-555-0123", uri.URI{Scheme: "tel", User: "+1-201-555-0123"}},
		{"local tel", "tel:7042;phone-context=example.com", uri.URI{Scheme: "tel", User: "7042", Params: "phone-context=example.com"}},
		{"hexadecimal digits and codes", "tel:*12a#;phone-context=+49", uri.URI{Scheme: "tel", User: "*12a#", Params: "phone-context=+49"}},
		{"escaped code", "tel:%2331%23", uri.URI{Scheme: "tel", User: "%2331%23"}},
		{"local tel as an HSS names it", "tel:0012345", uri.URI{Scheme: "tel", User: "0012345"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := uri.Parse(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tc.in, d)
			}
			if again := parse(t, got.String()); again != got {
				t.Errorf("%q reads back as %+v", got.String(), again)
			}
		})
	}
}

// The URIs of RFC 4475's messages that the RFC calls valid.
func TestParseTortureURIs(t *testing.T) {
	for _, s := range []string{
		"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com", // 3.1.1.2
		"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com",
		"sip:sips%3Auser%40example.com@example.net", // 3.1.1.3
		"sip:I%20have%20spaces@example.net",
		"sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31",
		"sip:null-%00-null@example.com", // 3.1.1.4
		"sip:%00%00@host5.example.com",
		"sip:user@example.com:6000;unknownparam1=v;longparam" + strings.Repeat("name", 30) + "=x;long" + strings.Repeat("very", 30), // 3.1.1.7
		"sip:user;par=u%40example.net@example.com",       // 3.1.1.9
		"sip:vivekg@chair-dnrc.example.com;unknownparam", // 3.1.1.1
		"sip:services.example.com;lr;unknownwith=value;unknown-no-value",
		"sip:user@example.com?Route=%3Csip:sip.example.com%3E", // 3.1.2.13
		"sip:+19725552222@gw1.example.net;unknownparam",        // 3.1.2.11
	} {
		u := parse(t, s)
		if got := u.String(); got != s {
			t.Errorf("%q is written as %q", s, got)
		}
	}
	if u := parse(t, "sip:user;par=u%40example.net@example.com"); u.User != "user;par=u%40example.net" || u.Params != "" {
		t.Errorf("a parameter inside the user part was taken for a URI parameter: %+v", u)
	}
	if u := parse(t, "sip:cal%6Cer@h;%6C%72;n%61me=v%61lue%25%34%31"); !u.HasParam("lr") {
		t.Error("an escaped lr is not found")
	} else if v, _ := u.Param("NAME"); uri.Unescape(v) != "value%41" {
		t.Errorf("value decoded twice or not at all: %q", uri.Unescape(v))
	}
	if got := uri.Unescape(parse(t, "sip:null-%00-null@example.com").User); got != "null-\x00-null" {
		t.Errorf("NUL lost: %q", got)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		kind     error
		offset   int
	}{
		{"empty", "", uri.ErrSyntax, 0},
		{"no scheme", "example.com", uri.ErrSyntax, 11},
		{"star", "*", uri.ErrSyntax, 0},
		{"angle brackets (RFC 4475 3.1.2.7)", "<sip:user@example.com>", uri.ErrSyntax, 0},
		{"unknown scheme (RFC 4475 3.3.3)", "nobodyKnowsThisScheme:totallyopaquecontent", uri.ErrScheme, 0},
		{"unknown hierarchical scheme (RFC 4475 3.3.2)", "soap.beep://192.0.2.103:3002", uri.ErrScheme, 0},
		{"urn", "urn:service:sos", uri.ErrScheme, 0},
		{"scheme alone", "sip:", uri.ErrSyntax, 4},
		{"no user before @", "sip:@h", uri.ErrSyntax, 4},
		{"no host", "sip:u@", uri.ErrSyntax, 6},
		{"two @", "sip:a@b@c", uri.ErrSyntax, 7},
		{"space (RFC 4475 3.1.2.8)", "sip:user@example.com; lr", uri.ErrSyntax, 21},
		{"control octet in the user part", "sip:a\r\nb@h", uri.ErrSyntax, 5},
		{"NUL", "sip:a\x00@h", uri.ErrSyntax, 5},
		{"UTF-8 not escaped", "sip:жук@h", uri.ErrSyntax, 4},
		{"half an escape", "sip:a%4@h", uri.ErrSyntax, 5},
		{"escape in the host", "sip:a@h%41", uri.ErrSyntax, 7},
		{"port 0", "sip:h:0", uri.ErrSyntax, 6},
		{"port missing", "sip:h:", uri.ErrSyntax, 6},
		{"port too big", "sip:h:65536", uri.ErrSyntax, 6},
		{"port too big for an int", "sip:h:99999999999999999999999", uri.ErrSyntax, 6},
		{"empty label", "sip:a..b", uri.ErrSyntax, 6},
		{"hyphen behind a label", "sip:a-.b", uri.ErrSyntax, 6},
		{"hyphen before a label", "sip:a.-b", uri.ErrSyntax, 6},
		{"hyphen before the root", "sip:a-.", uri.ErrSyntax, 6},
		{"bracket not closed", "sip:[::1", uri.ErrSyntax, 8},
		{"IPv4 in brackets", "sip:[192.0.2.1]", uri.ErrSyntax, 4},
		{"IPv6 zone", "sip:[fe80::1%25eth0]", uri.ErrSyntax, 4},
		{"IPv6 without brackets (RFC 5118 4.2)", "sip:2001:db8::10", uri.ErrSyntax, 9},
		{"empty parameter", "sip:h;;lr", uri.ErrSyntax, 6},
		{"trailing semicolon", "sip:h;", uri.ErrSyntax, 6},
		{"parameter without name", "sip:h;=x", uri.ErrSyntax, 6},
		{"quote in a parameter", `sip:h;a="b"`, uri.ErrSyntax, 8},
		{"empty headers", "sip:h?", uri.ErrSyntax, 6},
		{"header without value", "sip:h?a", uri.ErrSyntax, 6},
		{"tel without digits", "tel:+-", uri.ErrSyntax, 6},
		{"tel with letters", "tel:1-800-FLOWERS", uri.ErrSyntax, 11},
		{"hexadecimal digits after +", "tel:+49a", uri.ErrSyntax, 7},
		{"tel with host", "tel:+49@h", uri.ErrSyntax, 7},
		{"129 parameters", "sip:h" + strings.Repeat(";a", 129), uri.ErrSyntax, 6 + 2*128},
		{"129 headers", "sip:h?" + strings.Repeat("a=&", 128) + "a=", uri.ErrSyntax, 6 + 3*128},
		{"too long", "sip:" + strings.Repeat("a", uri.MaxLen), uri.ErrTooLong, uri.MaxLen + 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := uri.Parse(tc.in)
			var e *uri.Error
			if !errors.As(err, &e) {
				t.Fatalf("Parse(%q) = %+v, %v; want a *uri.Error", tc.in, u, err)
			}
			if !errors.Is(err, tc.kind) || e.Offset != tc.offset {
				t.Errorf("Parse(%q): %v; want kind %v at %d", tc.in, err, tc.kind, tc.offset)
			}
			if !u.IsZero() {
				t.Errorf("an error came with %+v", u)
			}
			if len(err.Error()) > 200 {
				t.Errorf("error quotes the whole URI: %d octets", len(err.Error()))
			}
		})
	}
}

func TestParams(t *testing.T) {
	u := parse(t, "sip:h;a=1;LR;b=%41;A=2")
	if v, ok := u.Param("A"); !ok || v != "1" {
		t.Errorf("A = %q, %v; want the first, without case", v, ok)
	}
	if v, ok := u.Param("lr"); !ok || v != "" {
		t.Errorf("lr = %q, %v", v, ok)
	}
	if _, ok := u.Param("c"); ok {
		t.Error("c is not there")
	}
	for _, tc := range []struct {
		name string
		got  uri.URI
		want string
	}{
		{"replaced, second one dropped", u.WithParam("a", "9"), "sip:h;a=9;LR;b=%41"},
		{"added", u.WithParam("z", "x"), "sip:h;a=1;LR;b=%41;A=2;z=x"},
		{"added without value", parse(t, "sip:h").WithParam("lr", ""), "sip:h;lr"},
		{"escaped", parse(t, "sip:h").WithParam("n", "a;b@c\r\nd%41"), "sip:h;n=a%3Bb%40c%0D%0Ad%41"},
		{"removed, all of them", u.WithoutParam("A"), "sip:h;LR;b=%41"},
		{"removed, the last", u.WithoutParam("a").WithoutParam("lr").WithoutParam("b"), "sip:h"},
		{"nothing to remove", u.WithoutParam("zz"), u.String()},
	} {
		if got := tc.got.String(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		parse(t, tc.got.String())
	}
	h := parse(t, "sip:h?Subject=next%20meeting&to=sip:bob%40x")
	if v, ok := h.Header("subject"); !ok || v != "next%20meeting" {
		t.Errorf("Subject = %q, %v", v, ok)
	}
	if _, ok := h.Header("from"); ok {
		t.Error("From is not there")
	}
}

func TestHost(t *testing.T) {
	for _, tc := range []struct {
		in, name string
		addr     netip.Addr
		port     uint16
	}{
		{"sip:[2001:DB8::1]:5061", "2001:DB8::1", netip.MustParseAddr("2001:db8::1"), 5061},
		{"sip:192.0.2.1", "192.0.2.1", netip.MustParseAddr("192.0.2.1"), 5060},
		{"sip:h.example", "h.example", netip.Addr{}, 5060},
		{"sip:198101", "198101", netip.Addr{}, 5060},
		{"tel:+49", "", netip.Addr{}, 5060},
	} {
		u := parse(t, tc.in)
		a, ok := u.Addr()
		if u.HostName() != tc.name || a != tc.addr || ok != tc.addr.IsValid() || u.PortOr(5060) != tc.port {
			t.Errorf("%s: name %q, addr %v %v, port %d", tc.in, u.HostName(), a, ok, u.PortOr(5060))
		}
	}
}

func TestEscapeUser(t *testing.T) {
	for in, want := range map[string]string{
		"alice":     "alice",
		"a b@c:d#%": "a%20b%40c%3Ad%23%25",
		"a\x00\r\n": "a%00%0D%0A",
	} {
		got := uri.EscapeUser(in)
		if got != want || uri.Unescape(got) != in {
			t.Errorf("EscapeUser(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	u := parse(t, "sip:u:p@h;a=b?c=d")
	if c := u.Clone(); c != u {
		t.Errorf("clone differs: %+v", c)
	}
}
