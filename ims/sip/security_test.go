package sip

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The forms that phones send: see the UE inventory of the project.
func TestParseSecMechanismOfPhones(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     SecMechanism
	}{
		{"Samsung: alg last", "ipsec-3gpp;prot=esp;mod=trans;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300;alg=hmac-md5-96;ealg=null",
			SecMechanism{Name: "ipsec-3gpp", Prot: "esp", Mod: "trans", SPIC: 25656, SPIS: 25657, PortC: 6301, PortS: 6300, Alg: "hmac-md5-96", EAlg: "null"}},
		{"Qualcomm: spaces, no prot and mod", "ipsec-3gpp; alg=hmac-sha-1-96; ealg=aes-cbc; spi-c=4096; spi-s=4097; port-c=9950; port-s=9900",
			SecMechanism{Name: "ipsec-3gpp", SPIC: 4096, SPIS: 4097, PortC: 9950, PortS: 9900, Alg: "hmac-sha-1-96", EAlg: "aes-cbc"}},
		{"ZTE: SPI above 2^31", "ipsec-3gpp;alg=hmac-md5-96;spi-c=4294967295;spi-s=2147483649;port-c=5100;port-s=6100",
			SecMechanism{Name: "ipsec-3gpp", SPIC: 4294967295, SPIS: 2147483649, PortC: 5100, PortS: 6100, Alg: "hmac-md5-96"}},
		{"AOSP: padded SPI", "ipsec-3gpp;alg=hmac-md5-96;prot=esp;mod=trans;ealg=null;spi-c=0000025656;spi-s=0000025657;port-c=38001;port-s=39001",
			SecMechanism{Name: "ipsec-3gpp", Prot: "esp", Mod: "trans", SPIC: 25656, SPIS: 25657, PortC: 38001, PortS: 39001, Alg: "hmac-md5-96", EAlg: "null"}},
		{"iPhone: alphabetical", "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;mod=trans;port-c=5062;port-s=5063;prot=esp;spi-c=1;spi-s=2",
			SecMechanism{Name: "ipsec-3gpp", Prot: "esp", Mod: "trans", SPIC: 1, SPIS: 2, PortC: 5062, PortS: 5063, Alg: "hmac-sha-1-96", EAlg: "aes-cbc"}},
		{"folded, any case, spaces around the equals sign", "IPSEC-3GPP ;\r\n ALG = hmac-md5-96 ;\r\n\tspi-c= 1;spi-s =2;port-c=3;port-s=4; q = 0.1",
			SecMechanism{Name: "IPSEC-3GPP", Q: "0.1", SPIC: 1, SPIS: 2, PortC: 3, PortS: 4, Alg: "hmac-md5-96"}},
		{"tls", "tls;q=0.2", SecMechanism{Name: "tls", Q: "0.2"}},
		{"digest", "digest;d-alg=md5;q=0.1", SecMechanism{Name: "digest", Q: "0.1"}},
	} {
		got, err := ParseSecMechanism(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if d := cmp.Diff(tt.want, got, noParams); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
	const rest = ";spi-s=2;port-c=3;port-s=4"
	for _, in := range []string{
		"", ";alg=x", "ipsec-3gpp", "ipsec-3gpp;alg=a;spi-c=4294967296" + rest, "ipsec-3gpp;alg=a;spi-c=-1" + rest,
		"ipsec-3gpp;alg=a;spi-c=0x10" + rest, "ipsec-3gpp;alg=a;spi-c=1;spi-c=2" + rest, "ipsec-3gpp;spi-c=1" + rest,
		"ipsec-3gpp;alg=a;spi-c=1;spi-s=2;port-c=0;port-s=4", "ipsec-3gpp;alg=a;spi-c=1;spi-s=2;port-c=65536;port-s=4",
		"ipsec-3gpp;alg=;spi-c=1" + rest, "ipsec 3gpp;alg=a;spi-c=1" + rest,
	} {
		if sm, err := ParseSecMechanism(in); err == nil {
			t.Errorf("%q is read as %+v", in, sm)
		}
	}
}

func TestSecMechanismDefaults(t *testing.T) {
	sm, err := ParseSecMechanism("ipsec-3gpp;alg=hmac-md5-96;spi-c=1;spi-s=2;port-c=3;port-s=4")
	if err != nil {
		t.Fatal(err)
	}
	if sm.Protocol() != "esp" || sm.Mode() != "trans" || sm.Encryption() != "null" {
		t.Errorf("%s %s %s", sm.Protocol(), sm.Mode(), sm.Encryption())
	}
}

func TestSecMechanismSame(t *testing.T) {
	parse := func(s string) SecMechanism {
		sm, err := ParseSecMechanism(s)
		if err != nil {
			t.Fatal(err)
		}
		return sm
	}
	server := parse("ipsec-3gpp;q=0.1;prot=esp;mod=trans;spi-c=16;spi-s=17;port-c=5100;port-s=6100;alg=hmac-sha-1-96;ealg=null")
	for _, tt := range []struct {
		name, in string
		want     bool
	}{
		{"itself", server.String(), true},
		{"another order, padded, defaults left out", "ipsec-3gpp; alg=hmac-sha-1-96; port-s=6100; port-c=5100; spi-s=0017; spi-c=0016; q=0.10", true},
		{"another SPI", "ipsec-3gpp;q=0.1;spi-c=18;spi-s=17;port-c=5100;port-s=6100;alg=hmac-sha-1-96", false},
		{"another algorithm: the bidding down that Security-Verify is there to find",
			"ipsec-3gpp;q=0.1;spi-c=16;spi-s=17;port-c=5100;port-s=6100;alg=hmac-md5-96", false},
		{"another preference", "ipsec-3gpp;q=0.2;spi-c=16;spi-s=17;port-c=5100;port-s=6100;alg=hmac-sha-1-96", false},
		{"no preference", "ipsec-3gpp;spi-c=16;spi-s=17;port-c=5100;port-s=6100;alg=hmac-sha-1-96", false},
		{"another encryption", "ipsec-3gpp;q=0.1;spi-c=16;spi-s=17;port-c=5100;port-s=6100;alg=hmac-sha-1-96;ealg=aes-cbc", false},
		{"another port", "ipsec-3gpp;q=0.1;spi-c=16;spi-s=17;port-c=5101;port-s=6100;alg=hmac-sha-1-96", false},
	} {
		if got := server.Same(parse(tt.in)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// Six offers, separated by ", " on one line and on lines of their own.
func TestSecMechanismOffers(t *testing.T) {
	const offer = "ipsec-3gpp; alg=hmac-md5-96; ealg=null; spi-c=1; spi-s=2; port-c=3; port-s=4"
	m, err := Parse("REGISTER sip:h SIP/2.0\r\nSecurity-Client: " + offer + ", " + offer + ",\r\n " + offer +
		"\r\nsecurity-client: " + offer + "\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for s := range m.Values(HSecurityClient) {
		if _, err := ParseSecMechanism(s); err != nil {
			t.Error(err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d offers", n)
	}
}

func TestSecMechanismAppend(t *testing.T) {
	sm, err := ParseSecMechanism("ipsec-3gpp;new=x;port-s=6100;port-c=5100;spi-s=17;spi-c=16;alg=hmac-md5-96")
	if err != nil {
		t.Fatal(err)
	}
	sm.Q, sm.EAlg = "0.1", "null"
	const want = "ipsec-3gpp;q=0.1;alg=hmac-md5-96;ealg=null;spi-c=16;spi-s=17;port-c=5100;port-s=6100;new=x"
	if got := sm.String(); got != want {
		t.Errorf("%s", got)
	}
}

func TestSecMechanismPreference(t *testing.T) {
	for q, want := range map[string]int{"0.1": 100, "0.10": 100, "1": 1000, "1.000": 1000, "0.001": 1, "0": 0, "": -1, "x": -1, "2": -1, "NaN": -1, "-0.1": -1} {
		if got := (SecMechanism{Q: q}).Preference(); got != want {
			t.Errorf("q=%q is %d", q, got)
		}
	}
	for n, want := range map[int]string{-5: "0", 0: "0", 1: "0.001", 100: "0.1", 850: "0.85", 1000: "1", 2000: "1"} {
		var sm SecMechanism
		if sm.SetPreference(n); sm.Q != want {
			t.Errorf("%d is written as q=%s", n, sm.Q)
		}
	}
}
