package identity_test

import (
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/uri"
)

const home = "ims.mnc001.mcc001.3gppnetwork.org"

func mustURI(t testing.TB, s string) uri.URI {
	t.Helper()
	u, err := uri.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestParseIMPI(t *testing.T) {
	for _, tc := range []struct {
		name, in, want, user, domain, imsi string
	}{
		{"derived", "001010000000001@IMS.mnc001.mcc001.3gppnetwork.org", "001010000000001@" + home, "001010000000001", home, "001010000000001"},
		{"own realm", "Alice.private@Example.com", "Alice.private@example.com", "Alice.private", "example.com", ""},
		{"'@' in the user", "a@b@example.com", "a@b@example.com", "a@b", "example.com", ""},
		{"container's name", "u@core_1", "u@core_1", "u", "core_1", ""},
		{"digits but another realm", "001010000000001@example.com", "001010000000001@example.com", "001010000000001", "example.com", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := identity.ParseIMPI(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			imsi, ok := got.IMSI()
			if string(got) != tc.want || got.User() != tc.user || got.Domain() != tc.domain || imsi != tc.imsi || ok != (imsi != "") {
				t.Errorf("%q: user %q domain %q IMSI %q", got, got.User(), got.Domain(), imsi)
			}
			if unsafe.StringData(string(got)) == unsafe.StringData(tc.in) {
				t.Error("it holds on to the text that it was in")
			}
			if in, err := identity.ParseIMPIIn(tc.in); in != got || err != nil {
				t.Errorf("without a copy %q, %v", in, err)
			}
		})
	}
	for name, in := range map[string]string{
		"no realm":          "alice",
		"empty realm":       "alice@",
		"empty user":        "@example.com",
		"space":             "a b@example.com",
		"line break":        "a\r\nb@example.com",
		"quote":             `a"@example.com`,
		"port in the realm": "a@example.com:5060",
		"parameter":         "a@example.com;x=y",
		"UTF-8 in realm":    "a@exämple.com",
		"empty label":       "a@example..com",
		"too long":          strings.Repeat("a", 250) + "@example.com",
	} {
		if got, err := identity.ParseIMPI(in); !errors.Is(err, identity.ErrIMPI) {
			t.Errorf("%s: %q, %v; want ErrIMPI", name, got, err)
		}
	}
}

func TestNamesFromIMSI(t *testing.T) {
	for _, tc := range []struct {
		imsi string
		mnc  int
		dom  string
	}{
		{"001010000000001", 2, "ims.mnc001.mcc001.3gppnetwork.org"},
		{"310410123456789", 3, "ims.mnc410.mcc310.3gppnetwork.org"},
		{"234150999999999", 2, "ims.mnc015.mcc234.3gppnetwork.org"}, // the example of TS 23.003 13.2
	} {
		impi, err := identity.IMPIFromIMSI(tc.imsi, tc.mnc)
		if err != nil || string(impi) != tc.imsi+"@"+tc.dom {
			t.Errorf("IMPI %q, %v", impi, err)
		}
		impu, err := identity.TemporaryIMPU(tc.imsi, tc.mnc)
		if err != nil || string(impu) != "sip:"+tc.imsi+"@"+tc.dom {
			t.Errorf("IMPU %q, %v", impu, err)
		}
		if !impu.IsTemporaryOf(impi) {
			t.Errorf("%s is not seen as the temporary identity of %s", impu, impi)
		}
		if got, ok := impi.IMSI(); !ok || got != tc.imsi {
			t.Errorf("IMSI of %s: %q", impi, got)
		}
		if p, ok := identity.PLMNOf(strings.ToUpper(tc.dom)); !ok || p.Domain() != tc.dom {
			t.Errorf("PLMN of %s: %v %v", tc.dom, p, ok)
		}
	}
	if identity.IMPU("sip:alice@" + home).IsTemporaryOf("001010000000001@" + home) {
		t.Error("any identity passes for the temporary one")
	}
	for _, bad := range []struct {
		imsi string
		mnc  int
	}{{"00101", 2}, {"0010100000000012", 2}, {"00101000000000a", 2}, {"001010000000001", 4}, {"", 2}} {
		if got, err := identity.IMPIFromIMSI(bad.imsi, bad.mnc); err == nil {
			t.Errorf("IMSI %q with MNC of %d digits gives %q", bad.imsi, bad.mnc, got)
		}
		if _, err := identity.TemporaryIMPU(bad.imsi, bad.mnc); err == nil {
			t.Errorf("IMSI %q gives a temporary IMPU", bad.imsi)
		}
	}
	for _, d := range []string{"", "example.com", "ims.mnc0x1.mcc001.3gppnetwork.org", "ims.mnc001.mcc001.3gppnetwork.com"} {
		if p, ok := identity.PLMNOf(d); ok {
			t.Errorf("PLMN of %q: %v", d, p)
		}
	}
}

// IC-03's derivation.
func TestIMPIFromIMPU(t *testing.T) {
	for in, want := range map[string]string{
		"sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org": "001010000000001@" + home,
		"sip:Alice:pw@Example.COM:5060;transport=tcp;lr?a=b":    "Alice@example.com",
		"sips:%61lice@example.com":                              "alice@example.com",
		"sip:+4912@example.com;user=phone":                      "+4912@example.com",
	} {
		if got, err := identity.IMPIFromIMPU(mustURI(t, in)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"tel:+4912", "sip:example.com", "sip:a@[::1]", "sip:a%00b@h"} {
		if got, err := identity.IMPIFromIMPU(mustURI(t, in)); !errors.Is(err, identity.ErrIMPI) {
			t.Errorf("%s: %q, %v; want ErrIMPI", in, got, err)
		}
	}
}

func TestParseIMPU(t *testing.T) {
	for in, want := range map[string]identity.IMPU{
		"sip:Alice@EXAMPLE.com:5060;transport=udp": "sip:Alice@example.com",
		"tel:+49-123":                    "tel:+49123",
		"tel:0012345":                    "tel:0012345",
		"sip:!.*!@Example.com":           "sip:!.*!@example.com",
		"sip:user![0-9]{3}!@Example.com": "sip:user![0-9]{3}!@example.com",
	} {
		if got, err := identity.ParseIMPU(in); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "alice", "sip:example.com", "urn:service:sos", "sip:![!@h"} {
		if got, err := identity.ParseIMPU(in); !errors.Is(err, identity.ErrIMPU) {
			t.Errorf("%q: %q, %v; want ErrIMPU", in, got, err)
		}
	}
	if _, err := identity.ParseIMPU("urn:service:sos"); !errors.Is(err, uri.ErrScheme) {
		t.Errorf("%v does not tell the scheme apart", err)
	}
}

func TestAliases(t *testing.T) {
	for _, tc := range []struct {
		in       identity.IMPU
		sip, tel identity.IMPU
		domain   string
		isTel    bool
	}{
		{"tel:+49123", "sip:+49123@example.org", "tel:+49123", "", true},
		{"sip:+49123@example.org", "sip:+49123@example.org", "tel:+49123", "example.org", false},
		{"sip:+49123@example.net", "sip:+49123@example.net", "", "example.net", false},
		{"sip:alice@example.org", "sip:alice@example.org", "", "example.org", false},
		{"sip:+alice@example.org", "sip:+alice@example.org", "", "example.org", false},
		{"tel:*31#", "sip:*31%23@example.org", "tel:*31#", "", true},
	} {
		if got := tc.in.SIPForm("Example.ORG"); got != tc.sip {
			t.Errorf("%s as sip: %s, want %s", tc.in, got, tc.sip)
		}
		if got, ok := tc.in.TelForm("Example.ORG"); got != tc.tel || ok != (tc.tel != "") {
			t.Errorf("%s as tel: %s, %v, want %s", tc.in, got, ok, tc.tel)
		}
		if tc.in.Domain() != tc.domain || tc.in.IsTel() != tc.isTel {
			t.Errorf("%s: domain %q, tel %v", tc.in, tc.in.Domain(), tc.in.IsTel())
		}
	}
}

func TestWildcard(t *testing.T) {
	for _, tc := range []struct {
		wild string
		yes  []identity.IMPU
		no   []identity.IMPU
	}{
		{"sip:!.*!@Example.com",
			[]identity.IMPU{"sip:anyone@example.com", "sip:@example.com"},
			[]identity.IMPU{"sip:anyone@example.net", "tel:+49", "sips:anyone@example.com"}},
		{"sip:chatlist!.*!@example.com",
			[]identity.IMPU{"sip:chatlist1@example.com", "sip:chatlist@example.com", "sip:chatlistabc@example.com"},
			[]identity.IMPU{"sip:chat@example.com", "sip:achatlist1@example.com"}},
		{"sip:room![0-9]{2}!x@example.com",
			[]identity.IMPU{"sip:room12x@example.com"},
			[]identity.IMPU{"sip:room123x@example.com", "sip:room12@example.com", "sip:room1x@example.com"}},
		{"sip:!a|bc!@example.com", // the anchors hold both alternatives
			[]identity.IMPU{"sip:a@example.com", "sip:bc@example.com"},
			[]identity.IMPU{"sip:ax@example.com", "sip:xbc@example.com"}},
		{"tel:+49-30!.{3}!",
			[]identity.IMPU{"tel:+4930123"},
			[]identity.IMPU{"tel:+493012", "tel:+4940123"}},
	} {
		w, err := identity.ParseWildcard(tc.wild)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range tc.yes {
			if !w.Match(u) {
				t.Errorf("%s does not match %s", tc.wild, u)
			}
		}
		for _, u := range tc.no {
			if w.Match(u) {
				t.Errorf("%s matches %s", tc.wild, u)
			}
		}
	}
	for name, bad := range map[string]string{
		"no '!'":                   "sip:alice@example.com",
		"one '!'":                  "sip:ali!ce@example.com",
		"nothing between":          "sip:!!@example.com",
		"not an expression":        "sip:!(!@example.com",
		"leaving the anchors":      "sip:!a)|(b!@example.com",
		"no host":                  "sip:!.*!",
		"host with tel":            "tel:!.*!@example.com",
		"other scheme":             "urn:!.*!",
		"too long":                 "sip:!" + strings.Repeat("a", 600) + "!@h",
		"Perl's classes, no POSIX": `sip:!\d+!@example.com`,
	} {
		if w, err := identity.ParseWildcard(bad); err == nil {
			t.Errorf("%s: %s is taken", name, w.IMPU())
		}
	}
	narrow, _ := identity.ParseWildcard("sip:a!.*!@h")
	wide, _ := identity.ParseWildcard("sip:!.*!@h")
	if narrow.Literal() <= wide.Literal() {
		t.Error("the narrower wildcard is not the more specific")
	}
}

func TestTarget(t *testing.T) {
	plan := identity.NumberingPlan{CountryCode: "49", InternationalPrefix: "00", NationalPrefix: "0"}
	none := identity.NumberingPlan{}
	for _, tc := range []struct {
		name string
		plan identity.NumberingPlan
		in   string
		want identity.Target
	}{
		{"sip identity of ours", none, "sip:Bob@" + strings.ToUpper(home) + ";x", identity.Target{Kind: identity.SIPIdentity, Identity: "sip:Bob@" + home, Home: true}},
		{"of others", none, "sip:bob@example.net", identity.Target{Kind: identity.SIPIdentity, Identity: "sip:bob@example.net"}},
		{"E.164 with user=phone (IC-15)", none, "sip:+49-123@" + home + ";user=phone", identity.Target{Kind: identity.GlobalNumber, Identity: "tel:+49123", Home: true}},
		{"E.164 without user=phone stays", none, "sip:+49123@" + home, identity.Target{Kind: identity.SIPIdentity, Identity: "sip:+49123@" + home, Home: true}},
		{"E.164 of another domain stays", none, "sip:+49123@example.net;user=phone", identity.Target{Kind: identity.SIPIdentity, Identity: "sip:+49123@example.net"}},
		{"global tel", none, "tel:+1(201)555-0123;ext=1", identity.Target{Kind: identity.GlobalNumber, Identity: "tel:+12015550123", Home: true}},
		{"context that is a prefix", none, "tel:7042;phone-context=+1-201-555", identity.Target{Kind: identity.GlobalNumber, Identity: "tel:+12015557042", Home: true, Context: "+1-201-555"}},
		{"home context", none, "tel:1002;phone-context=" + home, identity.Target{Kind: identity.LocalNumber, Identity: "tel:1002", Home: true, Context: home}},
		{"geo-local context", none, "tel:1002;phone-context=eps.001.01." + home, identity.Target{Kind: identity.LocalNumber, Identity: "tel:1002", Home: true, Context: "eps.001.01." + home}},
		{"no context", none, "tel:1002", identity.Target{Kind: identity.LocalNumber, Identity: "tel:1002", Home: true}},
		{"context in the user part", none, "sip:1002;phone-context=" + home + "@" + home + ";user=phone", identity.Target{Kind: identity.LocalNumber, Identity: "tel:1002", Home: true, Context: home}},
		{"context beside user=phone", none, "sip:1002@" + home + ";phone-context=" + home + ";user=phone", identity.Target{Kind: identity.LocalNumber, Identity: "tel:1002", Home: true, Context: home}},
		{"Samsung without a domain", none, "sip:1002;phone-context=198101@198101;user=phone", identity.Target{Kind: identity.LocalNumber, Identity: "tel:1002", Home: true, Context: "198101"}},
		{"foreign context", none, "tel:1002;phone-context=Example.net", identity.Target{Kind: identity.ForeignNumber, Identity: "tel:1002;phone-context=example.net", Context: "Example.net"}},
		{"foreign context at our host", none, "sip:1002@" + home + ";phone-context=example.net;user=phone", identity.Target{Kind: identity.ForeignNumber, Identity: "tel:1002;phone-context=example.net", Context: "example.net"}},
		{"a context that only ends like ours", none, "tel:1;phone-context=x" + home, identity.Target{Kind: identity.ForeignNumber, Identity: identity.IMPU("tel:1;phone-context=x" + home), Context: "x" + home}},
		{"service code", plan, "sip:*31%23;phone-context=" + home + "@" + home + ";user=phone", identity.Target{Kind: identity.LocalNumber, Identity: "tel:*31#", Home: true, Context: home}},
		{"service code in a number's context", none, "tel:*31#;phone-context=+49", identity.Target{Kind: identity.LocalNumber, Identity: "tel:*31#", Home: true, Context: "+49"}},
		{"international prefix", plan, "tel:00441234;phone-context=" + home, identity.Target{Kind: identity.GlobalNumber, Identity: "tel:+441234", Home: true, Context: home}},
		{"national prefix", plan, "tel:030-123;phone-context=" + home, identity.Target{Kind: identity.GlobalNumber, Identity: "tel:+4930123", Home: true, Context: home}},
		{"short number under a plan", plan, "tel:110", identity.Target{Kind: identity.LocalNumber, Identity: "tel:110", Home: true}},
		{"prefix alone", plan, "tel:0", identity.Target{Kind: identity.LocalNumber, Identity: "tel:0", Home: true}},
		{"name with user=phone", plan, "sip:anna@" + home + ";user=phone", identity.Target{Kind: identity.SIPIdentity, Identity: "sip:anna@" + home, Home: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.plan.Target(mustURI(t, tc.in), home); got != tc.want {
				t.Errorf("%s:\n got %+v\nwant %+v", tc.in, got, tc.want)
			}
		})
	}
	if got := identity.NormalizeTarget(mustURI(t, "tel:030"), home); got.Kind != identity.LocalNumber {
		t.Errorf("without a plan: %v", got.Kind)
	}
}

func FuzzIdentity(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := identity.ParseIMPI(s); err == nil {
			if again, err := identity.ParseIMPI(string(p)); err != nil || again != p {
				t.Fatalf("%q is not canonical: %q, %v", p, again, err)
			}
		}
		if u, err := identity.ParseIMPU(s); err == nil {
			if again, err := identity.ParseIMPU(string(u)); err != nil || again != u {
				t.Fatalf("%q is not canonical: %q, %v", u, again, err)
			}
		}
		if w, err := identity.ParseWildcard(s); err == nil {
			w.Match("sip:alice@example.com")
		}
		u, err := uri.Parse(s)
		if err != nil {
			return
		}
		_, _ = identity.IMPIFromIMPU(u)
		target := identity.NumberingPlan{CountryCode: "49", InternationalPrefix: "00", NationalPrefix: "0"}.Target(u, home)
		if u.User == "" {
			return
		}
		if again, err := identity.ParseIMPU(string(target.Identity)); err != nil || again != target.Identity {
			t.Fatalf("target %q of %q is not canonical: %q, %v", target.Identity, s, again, err)
		}
	})
}
