package uri_test

import (
	"testing"

	"github.com/gocscf/gocscf/ims/uri"
)

func TestEqual(t *testing.T) {
	for _, tc := range []struct {
		rule string
		a, b string
		want bool
	}{
		// The examples of RFC 3261 19.1.4.
		{"escaped letter, host and parameter without case", "sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"unknown parameter in one", "sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"different unknown parameters", "sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"order of parameters", "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"order of headers", "sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		{"user is case-sensitive", "SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"default port named", "sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"transport named", "sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"port and transport", "sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"header in one", "sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"name and address", "sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"same unknown parameter, other value", "sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false},
		// The rest of the clause.
		{"sip and sips", "sip:a@h", "sips:a@h", false},
		{"password in one", "sip:a:b@h", "sip:a@h", false},
		{"user in one", "sip:h", "sip:a@h", false},
		{"reserved escaped", "sip:a%3Bb@h", "sip:a;b@h", false},
		{"reserved escaped in both", "sip:a%3Bb@h", "sip:a%3bb@h", true},
		{"user parameter in one", "sip:+49@h;user=phone", "sip:+49@h", false},
		{"ttl in one", "sip:h;ttl=1", "sip:h", false},
		{"method in one", "sip:h", "sip:h;method=INVITE", false},
		{"maddr in one", "sip:h;maddr=192.0.2.1", "sip:h", false},
		{"IPv6 written otherwise", "sip:[2001:db8::1]", "sip:[2001:DB8:0:0::1]", true},
		{"IPv6 differs", "sip:[2001:db8::1]", "sip:[2001:db8::2]", false},
		{"longer user", "sip:alice@h", "sip:alicex@h", false},
		// RFC 3966 clause 4.
		{"visual separators", "tel:+1-201-555-0123", "tel:+1(201)555.0123", true},
		{"local and global", "tel:+12015550123", "tel:12015550123", false},
		{"hexadecimal digits without case", "tel:12A;phone-context=h", "tel:12a;phone-context=H", true},
		{"context that is a number", "tel:1;phone-context=+1-201", "tel:1;phone-context=+1201", true},
		{"context in one", "tel:1;phone-context=h", "tel:1", false},
		{"extension with separators", "tel:+1;ext=1-2", "tel:+1;ext=12", true},
		{"order", "tel:+1;ext=1;isub=2", "tel:+1;isub=2;ext=1", true},
		{"unknown parameter in one", "tel:+1;x=1", "tel:+1", false},
		{"tel and sip", "tel:+1", "sip:+1@h;user=phone", false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			a, b := parse(t, tc.a), parse(t, tc.b)
			if got := uri.Equal(a, b); got != tc.want {
				t.Errorf("Equal(%q, %q) = %v", tc.a, tc.b, got)
			}
			if got := uri.Equal(b, a); got != tc.want {
				t.Errorf("Equal(%q, %q) = %v", tc.b, tc.a, got)
			}
			if !uri.Equal(a, a) || !uri.Equal(b, b) {
				t.Error("a URI differs from itself")
			}
		})
	}
}

func TestKey(t *testing.T) {
	for _, tc := range []struct{ rule, in, want string }{
		{"parameters, port, password and headers go", "sip:Alice:pw@Example.COM:5060;transport=tcp;lr?a=b", "sip:Alice@example.com"},
		{"no user", "sip:Example.com:5060", "sip:example.com"},
		{"escapes that are not needed", "sip:%61l%3Bice@h", "sip:al;ice@h"},
		{"escapes that are", "sip:a%40%00%c3%23@h", "sip:a%40%00%C3%23@h"},
		{"IPv6", "sip:a@[2001:DB8:0::1]:5060", "sip:a@[2001:db8::1]"},
		{"dot of the root", "sip:a@h.", "sip:a@h"},
		{"sips stays", "sips:a@h", "sips:a@h"},
		{"number in a sip URI", "sip:+49-(0)123@H;user=phone", "sip:+490123@h"},
		{"its telephone parameters", "sip:+49;ext=1;isub=2@h;user=phone", "sip:+49@h"},
		{"local number in a sip URI", "sip:06-12;ext=9;phone-context=Example.ORG@h;user=phone", "sip:0612;phone-context=example.org@h"},
		{"context beside user=phone", "sip:0612@h;phone-context=h;user=phone", "sip:0612;phone-context=h@h"},
		{"separators stay without user=phone", "sip:06-12@h", "sip:06-12@h"},
		{"user=phone but no number", "sip:Anna@h;user=phone", "sip:Anna@h"},
		{"global tel", "tel:+49-(0)123;ext=1", "tel:+490123"},
		{"local tel", "tel:7.0.4.2;phone-context=+1-201", "tel:7042;phone-context=+1201"},
		{"local tel, named context", "tel:7042;x=y;Phone-Context=EXAMPLE.com", "tel:7042;phone-context=example.com"},
		{"local tel as an HSS names it", "tel:0012345", "tel:0012345"},
		{"service code", "tel:%2a31%23", "tel:*31#"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			u := parse(t, tc.in)
			got := u.Key()
			if got != tc.want {
				t.Errorf("Key of %q is %q, want %q", tc.in, got, tc.want)
			}
			if again := parse(t, got).Key(); again != got {
				t.Errorf("%q is not its own key but %q", got, again)
			}
		})
	}
}

func TestTel(t *testing.T) {
	const home = "ims.example.org"
	for _, tc := range []struct {
		rule, in string
		want     string // "" = not a telephone number of ours
		context  string
		global   bool
	}{
		{"E.164", "sip:+4912345@IMS.example.org;user=phone", "tel:+4912345", "", true},
		{"separators are kept", "sip:+49-123@ims.example.org;user=PHONE", "tel:+49-123", "", true},
		{"local with context", "sip:0612;phone-context=ims.example.org@ims.example.org;user=phone", "tel:0612;phone-context=ims.example.org", "ims.example.org", false},
		{"context beside user=phone", "sip:0612@ims.example.org;phone-context=x.org;user=phone", "tel:0612", "x.org", false},
		{"other domain", "sip:+49123@example.net;user=phone", "", "", true},
		{"no user=phone", "sip:+49123@ims.example.org", "", "", false},
		{"user=dialstring", "sip:123@ims.example.org;user=dialstring", "", "", false},
		{"no number", "sip:anna@ims.example.org;user=phone", "", "", false},
		{"no user", "sip:ims.example.org;user=phone", "", "", false},
		{"broken parameters", "sip:12;;@ims.example.org;user=phone", "", "", false},
		{"tel itself", "tel:+49", "", "", true},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			u := parse(t, tc.in)
			tel, ok := u.TelFromUserPhone(home)
			if ok != (tc.want != "") || ok && tel.String() != tc.want {
				t.Errorf("%q as tel: %q, %v; want %q", tc.in, tel.String(), ok, tc.want)
			}
			if ok {
				parse(t, tel.String())
			}
			if got, _ := u.PhoneContext(); got != tc.context {
				t.Errorf("phone-context %q, want %q", got, tc.context)
			}
			if got := u.IsGlobalNumber(); got != tc.global {
				t.Errorf("IsGlobalNumber = %v", got)
			}
		})
	}
	if _, ok := parse(t, "sip:+49@example.net;user=phone").TelFromUserPhone(""); !ok {
		t.Error("an empty home domain accepts every host")
	}
	for in, want := range map[string]string{"+49-(0)1.2": "+49012", "%23A": "#a", "0612": "0612"} {
		if got := uri.CanonicalNumber(in); got != want {
			t.Errorf("CanonicalNumber(%q) = %q, want %q", in, got, want)
		}
	}
}
