package ipsec

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gocscf/gocscf/testbed/conformance"
)

// offer is what a phone may send: two SPIs and two ports that can be told apart.
func offer(alg, ealg string) Mechanism {
	return Mechanism{Q: -1, Alg: alg, EAlg: ealg, Prot: "esp", Mod: "trans", SPIC: 25656, SPIS: 25657, PortC: 6301, PortS: 6300}
}

// offers is a list of "alg/ealg".
func offers(pairs ...string) (list []Mechanism) {
	for _, p := range pairs {
		alg, ealg, _ := strings.Cut(p, "/")
		list = append(list, offer(alg, ealg))
	}
	return list
}

func bare(list []Mechanism) []Mechanism {
	for i := range list {
		list[i].Prot, list[i].Mod = "", ""
	}
	return list
}

func pair(t *testing.T, s string) Pair {
	t.Helper()
	alg, ealg, _ := strings.Cut(s, "/")
	p, ok := ParsePair(alg, ealg)
	if !ok {
		t.Fatalf("%q is no pair", s)
	}
	return p
}

// What the phones that we know of offer, as typed values; ims/sip reads the
// headers themselves.
func TestChoiceFollowsOurOrder(t *testing.T) {
	conformance.Partly(t, "PR-13", "IP-10")
	samsung6 := offers("hmac-md5-96/des-ede3-cbc", "hmac-md5-96/aes-cbc", "hmac-md5-96/null",
		"hmac-sha-1-96/des-ede3-cbc", "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null")
	aosp := slices.Clone(samsung6)
	for i := range aosp {
		aosp[i].SPIC, aosp[i].SPIS, aosp[i].PortC, aosp[i].PortS = 1000000000, 1000000001, 38001, 39001
	}
	zte := bare(offers("hmac-md5-96/null"))
	zte[0].SPIC, zte[0].SPIS = 4294967295, 2147483649
	for _, c := range []struct {
		name   string
		policy string // pairs; "" is our default
		offers []Mechanism
		pair   string
		index  int
	}{
		{"Samsung SM-T515: one offer", "", offers("hmac-md5-96/null"), "hmac-md5-96/null", 0},
		{"newer Samsung: six offers", "", samsung6, "hmac-sha-1-96/aes-cbc", 4},
		{"newer Samsung, lab that reads along", "hmac-md5-96/null hmac-sha-1-96/null", samsung6, "hmac-md5-96/null", 2},
		{"Qualcomm, MediaTek: no prot, no mod", "", bare(slices.Clone(samsung6)), "hmac-sha-1-96/aes-cbc", 4},
		{"ZTE: SPIs above 2^31", "", zte, "hmac-md5-96/null", 0},
		{"iPhone 16e: four offers, aes and null", "", offers("hmac-md5-96/aes-cbc", "hmac-md5-96/null", "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null"), "hmac-sha-1-96/aes-cbc", 2},
		{"AOSP: alg outer, ealg inner", "", aosp, "hmac-sha-1-96/aes-cbc", 4},
		{"SFR: ealg left out", "", offers("hmac-sha-1-96/"), "hmac-sha-1-96/null", 0},
		{"any letter case", "", offers("HMAC-SHA-1-96/AES-CBC"), "hmac-sha-1-96/aes-cbc", 0},
		{"Rel-13: gcm before all", "", offers("hmac-sha-1-96/aes-cbc", "null/aes-gcm", "aes-gmac/null"), "null/aes-gcm", 1},
		{"both algorithms are of one offer", "hmac-sha-1-96/aes-cbc hmac-md5-96/aes-cbc", offers("hmac-sha-1-96/null", "hmac-md5-96/aes-cbc"), "hmac-md5-96/aes-cbc", 1},
		{"what we do not know beside what we do", "", offers("hmac-sha-256-128/aes-cbc", "null/null", "hmac-md5-96/null"), "hmac-md5-96/null", 2},
		{"gcm with a second integrity algorithm is no pair", "", offers("hmac-sha-1-96/aes-gcm", "hmac-md5-96/null"), "hmac-md5-96/null", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Policy
			for f := range strings.FieldsSeq(c.policy) {
				p.Pairs = append(p.Pairs, pair(t, f))
			}
			got, err := Choose(p, c.offers, false)
			if err != nil {
				t.Fatal(err)
			}
			o := c.offers[c.index]
			want := Choice{Pair: pair(t, c.pair), Phone: End{PortC: o.PortC, PortS: o.PortS, SPIC: o.SPIC, SPIS: o.SPIS}, Index: c.index}
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// hmac-md5-96 and des-ede3-cbc are deprecated, and what many phones choose: on
// unless the list of the configuration leaves them out.
func TestLegacyAlgorithmsAreAPolicy(t *testing.T) {
	conformance.Partly(t, "IP-09")
	for _, p := range []string{"hmac-md5-96/null", "hmac-md5-96/des-ede3-cbc", "hmac-sha-1-96/des-ede3-cbc"} {
		if _, err := Choose(Policy{}, offers(p), false); err != nil {
			t.Errorf("%s by default: %v", p, err)
		}
		_, err := Choose(Policy{Pairs: []Pair{{HMACSHA1, AESCBC}}}, offers(p), false)
		if err == nil || !strings.Contains(err.Error(), p+" is not allowed") {
			t.Errorf("%s when left out: %v", p, err)
		}
	}
}

func TestNoAcceptableProposal(t *testing.T) {
	conformance.Partly(t, "IP-20")
	with := func(change func(*Mechanism)) []Mechanism {
		o := offer("hmac-sha-1-96", "null")
		change(&o)
		return []Mechanism{o}
	}
	for _, c := range []struct {
		name   string
		offers []Mechanism
		nat    bool
		why    string
	}{
		{"nothing offered", nil, false, "offers no ipsec-3gpp"},
		{"unknown algorithm", offers("hmac-sha-256-128/null"), false, `alg="hmac-sha-256-128" with ealg="null" is no pair`},
		{"no protection at all", offers("null/null"), false, "is no pair"},
		{"AH", with(func(m *Mechanism) { m.Prot = "ah" }), false, `prot="ah"`},
		{"tunnel mode", with(func(m *Mechanism) { m.Mod = "tun" }), false, `mod="tun"`},
		{"reserved SPI", with(func(m *Mechanism) { m.SPIC = 255 }), false, "spi-c=255"},
		{"one SPI twice", with(func(m *Mechanism) { m.SPIC = m.SPIS }), false, "want two that differ"},
		{"one port twice", with(func(m *Mechanism) { m.PortC = m.PortS }), false, "want two that differ"},
		{"transport mode behind a NAT", offers("hmac-sha-1-96/null"), true, "the phone is behind a NAT"},
		{"a NAT is not what is wrong", offers("x/null"), true, "is no pair"},
		{"UDP-enc-tun without a NAT", with(func(m *Mechanism) { m.Mod = "UDP-enc-tun" }), false, "there is no NAT"},
		{"what does not fit a log", offers(strings.Repeat("x", 5000) + "\r\n/null"), false, "…"},
	} {
		_, err := Choose(Policy{}, c.offers, c.nat)
		var un *UnacceptableError
		if !errors.As(err, &un) || !strings.Contains(err.Error(), c.why) || len(err.Error()) > 300 || len(un.Why) != len(c.offers) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Choose(Policy{}, slices.Repeat(offers("x/y"), 10000), false); len(err.Error()) > 4000 {
		t.Errorf("10,000 offers make an error of %d octets", len(err.Error()))
	}
}

func TestPhoneBehindANAT(t *testing.T) {
	conformance.Partly(t, "IP-19")
	list := offers("hmac-sha-1-96/aes-cbc", "hmac-md5-96/null")
	list[1].Mod = "udp-enc-tun"
	for _, c := range []struct {
		nat  bool
		want Choice
	}{
		{false, Choice{Pair: Pair{HMACSHA1, AESCBC}, Mode: Transport, Phone: list[0].end(), Index: 0}},
		{true, Choice{Pair: Pair{HMACMD5, NoEncryption}, Mode: UDPTunnel, Phone: list[1].end(), Index: 1}},
	} {
		if got, err := Choose(Policy{NAT: true}, list, c.nat); err != nil || got != c.want {
			t.Errorf("NAT %v: %+v, %v", c.nat, got, err)
		}
	}
	if _, err := Choose(Policy{}, list, true); err == nil || !strings.Contains(err.Error(), "behind a NAT") {
		t.Errorf("UDP-enc-tun when it is not allowed: %v", err)
	}
	if a := Answer(Policy{NAT: true}, Choice{Mode: UDPTunnel}, End{}); a[0].Mod != "UDP-enc-tun" {
		t.Errorf("Security-Server says %+v", a[0])
	}
}

func TestSecurityServerListsOurOrder(t *testing.T) {
	conformance.Partly(t, "PR-13", "PR-15")
	ours := End{SPIC: 4096, SPIS: 4097, PortC: 5100, PortS: 6100}
	c := Choice{Pair: Pair{HMACMD5, NoEncryption}}
	list := Answer(Policy{}, c, ours)
	if len(list) != len(Pairs) {
		t.Fatalf("%d values", len(list))
	}
	for i, m := range list {
		p, ok := m.Pair()
		if !ok || p != Pairs[i] || m.end() != ours || m.Prot != "esp" || m.Mod != "trans" {
			t.Errorf("value %d is %+v", i, m)
		}
		if m.Q <= 0 || m.Q > 1000 || i > 0 && m.Q >= list[i-1].Q {
			t.Errorf("q of value %d is %d", i, m.Q)
		}
	}
	one := Answer(Policy{ListChosenOnly: true}, c, ours)
	want := Mechanism{Q: 100, Alg: "hmac-md5-96", EAlg: "null", Prot: "esp", Mod: "trans", SPIC: 4096, SPIS: 4097, PortC: 5100, PortS: 6100}
	if len(one) != 1 || one[0] != want {
		t.Errorf("the chosen one alone is %+v", one)
	}
	// Whatever a phone offers, the first value of ours that it knows is our choice.
	for _, offered := range []string{"hmac-md5-96/null", "hmac-md5-96/des-ede3-cbc hmac-sha-1-96/null", "aes-gmac/null hmac-md5-96/aes-cbc"} {
		phone := offers(strings.Fields(offered)...)
		c, err := Choose(Policy{}, phone, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range Answer(Policy{}, c, ours) {
			if slices.ContainsFunc(phone, func(o Mechanism) bool { return o.Alg == m.Alg && o.EAlg == m.EAlg }) {
				if p, _ := m.Pair(); p != c.Pair {
					t.Errorf("%s: the phone takes %v, we %v", offered, p, c.Pair)
				}
				break
			}
		}
	}
}

func TestSecurityVerifyIsComparedValueByValue(t *testing.T) {
	conformance.Partly(t, "PR-19", "PR-20")
	ours := End{SPIC: 4096, SPIS: 4097, PortC: 5100, PortS: 6100}
	sent := Answer(Policy{}, Choice{}, ours)
	change := func(f func([]Mechanism) []Mechanism) []Mechanism { return f(slices.Clone(sent)) }
	for _, c := range []struct {
		name   string
		verify []Mechanism
		want   error
	}{
		{"as it was sent", sent, nil},
		{"defaults left out, capitals", change(func(l []Mechanism) []Mechanism {
			l[1].EAlg, l[1].Prot, l[1].Mod, l[0].Alg = "", "", "", "NULL"
			return l
		}), nil},
		{"another order of the lines", change(func(l []Mechanism) []Mechanism { slices.Reverse(l); return l }), nil},
		{"absent", nil, ErrNoVerify},
		{"the strongest missing: bidding down", sent[1:], ErrVerify},
		{"one twice for another", change(func(l []Mechanism) []Mechanism { l[0] = l[1]; return l }), ErrVerify},
		{"one more", append(slices.Clone(sent), sent[0]), ErrVerify},
		{"another algorithm", change(func(l []Mechanism) []Mechanism { l[0].Alg = "hmac-md5-96"; return l }), ErrVerify},
		{"another SPI: the set of another challenge", change(func(l []Mechanism) []Mechanism { l[3].SPIS++; return l }), ErrVerify},
		{"another port", change(func(l []Mechanism) []Mechanism { l[3].PortC++; return l }), ErrVerify},
		{"another preference", change(func(l []Mechanism) []Mechanism { l[0].Q, l[1].Q = l[1].Q, l[0].Q; return l }), ErrVerify},
		{"another mode", change(func(l []Mechanism) []Mechanism { l[0].Mod = "UDP-enc-tun"; return l }), ErrVerify},
	} {
		if err := Compare(sent, c.verify); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestSecurityClientIsTheFirstOne(t *testing.T) {
	conformance.Partly(t, "PR-21")
	first := offers("hmac-sha-1-96/aes-cbc", "hmac-md5-96/null")
	again := bare(slices.Clone(first))
	if err := Consistent(first, again); err != nil {
		t.Errorf("the same: %v", err)
	}
	again[0].SPIC++
	for name, second := range map[string][]Mechanism{"another SPI": again, "one more": append(slices.Clone(first), offer("null", "aes-gcm")), "none": nil} {
		if err := Consistent(first, second); !errors.Is(err, ErrClient) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReRegistrationOffersNewValues(t *testing.T) {
	conformance.Partly(t, "PR-23")
	addr := netip.MustParseAddr("192.0.2.1")
	held := []*Set{
		{Remote: End{Addr: addr, PortC: 6301, PortS: 6300, SPIC: 1000, SPIS: 1001}},
		{Remote: End{Addr: addr, PortC: 6303, PortS: 6300, SPIC: 1002, SPIS: 1003}},
	}
	for _, c := range []struct {
		name   string
		offer  Mechanism
		want   StaleError
		refuse bool
	}{
		{"AOSP: new SPIs and port-c", Mechanism{SPIC: 1004, SPIS: 1005, PortC: 6305, PortS: 6300}, StaleError{}, false},
		{"an SPI of the set in use", Mechanism{SPIC: 1004, SPIS: 1001, PortC: 6305, PortS: 6300}, StaleError{SPI: 1001}, true},
		{"an SPI of the older set, exchanged", Mechanism{SPIC: 1003, SPIS: 1005, PortC: 6305, PortS: 6300}, StaleError{SPI: 1003}, true},
		{"Samsung: the same ports again", Mechanism{SPIC: 1004, SPIS: 1005, PortC: 6301, PortS: 6300}, StaleError{PortC: 6301}, false},
		{"another port-s", Mechanism{SPIC: 1004, SPIS: 1005, PortC: 6305, PortS: 6302}, StaleError{PortS: 6302}, false},
	} {
		err := Fresh([]Mechanism{c.offer}, held)
		var got StaleError
		if stale := (*StaleError)(nil); errors.As(err, &stale) {
			got = *stale
		}
		if got != c.want || got.Refuse() != c.refuse || (err == nil) != (c.want == StaleError{}) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := Fresh([]Mechanism{held[0].asOffer()}, nil); err != nil {
		t.Errorf("values that never became a set: %v", err)
	}
}

func (s *Set) asOffer() Mechanism {
	return Mechanism{SPIC: s.Remote.SPIC, SPIS: s.Remote.SPIS, PortC: s.Remote.PortC, PortS: s.Remote.PortS}
}

// Whatever is offered: what is chosen makes a set that back ends accept, of
// algorithms that we allow and one offer has; or no offer has them.
func TestChoiceMakesAPossibleSet(t *testing.T) {
	conformance.Partly(t, "IP-10")
	ours := End{Addr: netip.MustParseAddr("192.0.2.9"), SPIC: 4096, SPIS: 4097, PortC: 5100, PortS: 6100}
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string, values ...string) string { return rapid.SampledFrom(values).Draw(t, label) }
		list := make([]Mechanism, rapid.IntRange(0, 6).Draw(t, "offers"))
		for i := range list {
			list[i] = Mechanism{
				Alg:  text("alg", "null", "hmac-md5-96", "HMAC-SHA-1-96", "aes-gmac", "hmac-sha-256-128", ""),
				EAlg: text("ealg", "", "null", "aes-cbc", "des-ede3-cbc", "aes-gcm", "x"),
				Prot: text("prot", "", "", "esp", "ah"), Mod: text("mod", "", "", "trans", "UDP-enc-tun", "tun"),
				SPIC: rapid.Uint32Range(254, 260).Draw(t, "spi-c"), SPIS: rapid.Uint32Range(254, 260).Draw(t, "spi-s"),
				PortC: rapid.Uint16Range(0, 3).Draw(t, "port-c"), PortS: rapid.Uint16Range(0, 3).Draw(t, "port-s"),
			}
		}
		p := Policy{NAT: rapid.Bool().Draw(t, "allow NAT"), Pairs: rapid.SliceOfDistinct(rapid.SampledFrom(Pairs), rapid.ID).Draw(t, "pairs")}
		nat := rapid.Bool().Draw(t, "behind NAT")
		c, err := Choose(p, list, nat)
		if err != nil {
			return
		}
		c.Phone.Addr = phoneAddr
		s := Set{ID: 1, Local: ours, Remote: c.Phone, Pair: c.Pair, Mode: c.Mode}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		if pair, _ := list[c.Index].Pair(); pair != c.Pair || !slices.Contains(p.Pairs, c.Pair) || list[c.Index].end() != (End{SPIC: c.Phone.SPIC, SPIS: c.Phone.SPIS, PortC: c.Phone.PortC, PortS: c.Phone.PortS}) {
			t.Fatalf("%+v of %+v", c, list[c.Index])
		}
		if (c.Mode == UDPTunnel) != nat {
			t.Fatalf("mode %v, behind a NAT: %v", c.Mode, nat)
		}
	})
}
