package sip

import (
	"slices"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/testbed/conformance"
)

// Whole messages in the forms of real phones, each with what made other stacks
// stumble. Every one must be valid and leave as it came.
func TestMessagesOfRealPhones(t *testing.T) {
	const common = "Max-Forwards: 70\r\nCSeq: 1 REGISTER\r\n"
	for _, tt := range []struct {
		name, raw string
		check     func(t *testing.T, m *Message)
	}{
		{"compact names, IPv6, offers without prot and mod",
			"REGISTER sip:ims.example SIP/2.0\r\n" + common +
				"v: SIP/2.0/TCP [2001:db8::7]:9900;branch=z9hG4bK1;rport\r\nf: <sip:u@ims.example>;tag=1\r\nt: <sip:u@ims.example>\r\ni: 1@[2001:db8::7]\r\n" +
				"m: <sip:u@[2001:db8::7]:9900>;expires=600000;audio\r\nk: path, sec-agree\r\n" +
				"Security-Client: ipsec-3gpp; alg=hmac-md5-96; ealg=null; spi-c=1; spi-s=2; port-c=9950; port-s=9900, ipsec-3gpp; alg=hmac-sha-1-96; spi-c=1; spi-s=2; port-c=9950; port-s=9900\r\n" +
				"l: 0\r\n\r\n",
			func(t *testing.T, m *Message) {
				if c, err := ParseNameAddr(m.First(HContact)); err != nil || c.URI != "sip:u@[2001:db8::7]:9900" {
					t.Errorf("%+v %v", c, err)
				}
				n := 0
				for v := range m.Values(HSecurityClient) {
					if sm, err := ParseSecMechanism(v); err != nil || sm.PortC != 9950 || sm.Encryption() != "null" {
						t.Errorf("%+v %v", sm, err)
					}
					n++
				}
				if n != 2 || !m.HasOption(HSupported, "sec-agree") {
					t.Errorf("%d offers", n)
				}
			}},
		{"Authorization folded, Require on several lines, Expires 600000",
			"REGISTER sip:ims.example SIP/2.0\r\n" + common +
				"Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1;rport;keep;transport=UDP\r\nFrom: <sip:u@ims.example>;tag=1\r\nTo: <sip:u@ims.example>\r\nCall-ID: 1\r\n" +
				"Contact: <sip:u@10.0.0.2:5060>;+sip.instance=\"<urn:gsma:imei:35622410-483840-0>\";q=1.0\r\nExpires: 600000\r\n" +
				"Require: sec-agree\r\nRequire: gruu\r\nProxy-Require: sec-agree\r\n" +
				"Authorization: Digest username=\"u@ims.example\",\r\n realm=\"ims.example\",\r\n nonce=\"\",\r\n uri=\"sip:ims.example\",\r\n response=\"\"\r\nContent-Length: 0\r\n\r\n",
			func(t *testing.T, m *Message) {
				c, err := ParseCredentials(m.Get(HAuthorization))
				if err != nil || c.Username != "u@ims.example" || c.URI != "sip:ims.example" || c.Algorithm != "" {
					t.Errorf("%v %v", c, err)
				}
				if !m.HasOption(HRequire, "sec-agree") || !m.HasOption(HRequire, "gruu") {
					t.Error("Require")
				}
				if n, ok := m.Expires(); !ok || n != 600000 {
					t.Errorf("expires %d", n)
				}
			}},
		{"REGISTER with a PIDF body",
			"REGISTER sip:ims.example SIP/2.0\r\n" + common +
				"Via: SIP/2.0/TCP [2001:db8::7]:5060;branch=z9hG4bK1\r\nFrom: <sip:u@ims.example>;tag=1\r\nTo: <sip:u@ims.example>\r\nCall-ID: 1\r\n" +
				"Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\nGeolocation: <cid:1@h>\r\n" +
				"Content-Type: application/pidf+xml\r\nContent-Length: 11\r\n\r\n<presence/>",
			func(t *testing.T, m *Message) {
				if ct, err := ParseContentType(m.Get(HContentType)); err != nil || !ct.Is("application/pidf+xml") || m.Body() != "<presence/>" {
					t.Errorf("%v %v %q", ct, err, m.Body())
				}
			}},
		{"INVITE whose user part has parameters and two domains",
			"INVITE sip:5550002;phone-context=ims.example@ims.example;user=phone SIP/2.0\r\nMax-Forwards: 70\r\nCSeq: 1 INVITE\r\n" +
				"Via: SIP/2.0/UDP 10.0.0.2:6300;branch=z9hG4bK1\r\nFrom: <tel:5550001;phone-context=ims.example>;tag=1\r\n" +
				"To: <sip:5550002;phone-context=ims.example@ims.example;user=phone>\r\nCall-ID: 1\r\nRoute: <sip:10.0.0.1:6100;lr>\r\nRoute: <sip:orig@scscf.ims.example;lr>\r\n" +
				"P-Preferred-Identity: <tel:5550001;phone-context=ims.example>\r\n" +
				"P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp= 0010100010019B01 \r\nContent-Length: 0\r\n\r\n",
			func(t *testing.T, m *Message) {
				if n := len(slices.Collect(m.Values(HRoute))); n != 2 {
					t.Errorf("%d routes", n)
				}
				if a, err := ParseAccessNetworkInfo(m.First(HPAccessNetworkInfo)); err != nil || a.CellID() != "0010100010019B01" {
					t.Errorf("%+v %v", a, err)
				}
			}},
		{"Security-Verify in several rows, SPI padded",
			"REGISTER sip:ims.example SIP/2.0\r\n" + common +
				"Via: SIP/2.0/TCP 10.0.0.2:39001;branch=z9hG4bK1\r\nFrom: <sip:u@ims.example>;tag=1\r\nTo: <sip:u@ims.example>\r\nCall-ID: 1\r\n" +
				"Security-Verify: ipsec-3gpp;q=0.1;alg=hmac-md5-96;spi-c=0000004096;spi-s=0000004097;port-c=5100;port-s=6100\r\n" +
				"Security-Verify: ipsec-3gpp;q=0.2;alg=hmac-sha-1-96;spi-c=4096;spi-s=4097;port-c=5100;port-s=6100\r\nContent-Length: 0\r\n\r\n",
			func(t *testing.T, m *Message) {
				for v := range m.Values(HSecurityVerify) {
					if sm, err := ParseSecMechanism(v); err != nil || sm.SPIC != 4096 || sm.SPIS != 4097 {
						t.Errorf("%+v %v", sm, err)
					}
				}
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := mustParse(t, tt.raw)
			if p := Validate(m); p != nil {
				t.Fatal(p)
			}
			tt.check(t, m)
			var e Edits
			e.Prepend(HVia, "SIP/2.0/UDP p;branch=z9hG4bK2")
			const via = "Via: SIP/2.0/UDP p;branch=z9hG4bK2\r\n"
			if got := string(m.AppendTo(nil, &e)); strings.Count(got, via) != 1 || strings.Replace(got, via, "", 1) != tt.raw {
				t.Errorf("leaves as %q", got)
			}
		})
	}
}

// The Security-Client of every phone that we know of, with the offers in it.
func TestSecurityClientOfRealPhones(t *testing.T) {
	conformance.Partly(t, "PR-13")
	const (
		samsung  = "ipsec-3gpp;prot=esp;mod=trans;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300;alg=hmac-%s;ealg=%s"
		qualcomm = "ipsec-3gpp; alg=hmac-%s; ealg=%s; spi-c=25656; spi-s=25657; port-c=6301; port-s=6300"
		aosp     = "ipsec-3gpp;alg=hmac-%s;prot=esp;mod=trans;ealg=%s;spi-c=0000025656;spi-s=0000025657;port-c=6301;port-s=6300"
		iphone   = "ipsec-3gpp;alg=hmac-%s;ealg=%s;mod=trans;port-c=6301;port-s=6300;prot=esp;spi-c=25656;spi-s=25657"
		bare     = "ipsec-3gpp;alg=hmac-%s;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300" // ealg means null
	)
	six := []string{"md5-96/des-ede3-cbc", "md5-96/aes-cbc", "md5-96/null", "sha-1-96/des-ede3-cbc", "sha-1-96/aes-cbc", "sha-1-96/null"}
	four := []string{"md5-96/aes-cbc", "md5-96/null", "sha-1-96/aes-cbc", "sha-1-96/null"}
	list := func(format, sep string, pairs []string) string {
		var all []string
		for _, p := range pairs {
			alg, ealg, _ := strings.Cut(p, "/")
			all = append(all, strings.Replace(strings.Replace(format, "%s", alg, 1), "%s", ealg, 1))
		}
		return strings.Join(all, sep)
	}
	for _, tt := range []struct {
		name, header string
		pairs        []string
	}{
		{"Samsung SM-T515", list(samsung, "", []string{"md5-96/null"}), []string{"md5-96/null"}},
		{"newer Samsung", list(samsung, ", ", six), six},
		{"Qualcomm, China Mobile", list(qualcomm, ", ", six), six},
		{"MediaTek, AT&T", list(qualcomm, ",", six), six},
		{"ZTE A2022P", list(qualcomm, "", []string{"md5-96/null"}), []string{"md5-96/null"}},
		{"iPhone 16e: no space after the comma", list(iphone, ",", four), four},
		{"AOSP: padded SPIs", list(aosp, ", ", six), six},
		{"SFR: ealg implicit", list(bare, "", []string{"sha-1-96/null"}), []string{"sha-1-96/null"}},
		{"several lines", list(samsung, "\r\nSecurity-Client: ", six), six},
		{"folded after each comma", list(qualcomm, ",\r\n\t", six), six},
		{"folded after each semicolon", strings.ReplaceAll(list(samsung, ", ", four), ";", ";\r\n "), four},
		{"other mechanisms beside", "tls;q=0.2, digest;d-qop=auth;d-alg=md5, " + list(bare, ",", []string{"md5-96/null"}) + ",ipsec-ike;q=0.1, ipsec-man", []string{"md5-96/null"}},
		{"an offer that cannot be read beside", "ipsec-3gpp;alg=hmac-md5-96;spi-c=x;spi-s=1;port-c=1;port-s=2, " + list(bare, "", []string{"md5-96/null"}), []string{"md5-96/null"}},
	} {
		m := mustParse(t, "REGISTER sip:ims.example SIP/2.0\r\nSecurity-Client: "+tt.header+"\r\n\r\n")
		var got []string
		for v := range m.Values(HSecurityClient) {
			sm, err := ParseSecMechanism(v)
			if err != nil || !sm.IsIPsec() {
				continue
			}
			got = append(got, strings.TrimPrefix(sm.Alg, "hmac-")+"/"+sm.Encryption())
			if sm.SPIC != 25656 || sm.SPIS != 25657 || sm.PortC != 6301 || sm.PortS != 6300 || sm.Protocol() != "esp" || sm.Mode() != "trans" {
				t.Errorf("%s: %+v", tt.name, sm)
			}
		}
		if !slices.Equal(got, tt.pairs) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.pairs)
		}
	}
}
