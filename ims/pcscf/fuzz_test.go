package pcscf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
)

// FuzzSecurityAgreement: whatever Security-Client says, what is taken of it is an
// offer that can be set up, in bounded memory, and the list that we write is read as
// it was meant.
func FuzzSecurityAgreement(f *testing.F) {
	f.Add("ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;prot=esp;mod=trans;spi-c=4096;spi-s=4097;port-c=5062;port-s=5064", false)
	f.Add("ipsec-3gpp;q=0.5;alg=hmac-md5-96;spi-c=4096;spi-s=4097;port-c=1;port-s=2, tls;q=0.1", true)
	f.Add("ipsec-3gpp;mod=UDP-enc-tun;alg=hmac-md5-96;ealg=null;spi-c=4294967295;spi-s=256;port-c=65535;port-s=2", true)
	f.Add("ipsec-3gpp;q=NaN;alg=x;spi-c=1;spi-s=1;port-c=1;port-s=1", false)
	f.Fuzz(func(t *testing.T, header string, nat bool) {
		if len(header) > 16<<10 || strings.ContainsAny(header, "\r\n\x00") {
			return
		}
		m, err := sip.Parse("REGISTER sip:h SIP/2.0\r\nSecurity-Client: " + header + "\r\n\r\n")
		if err != nil {
			return
		}
		list, _, _ := mechanisms(m, sip.HSecurityClient)
		if len(list) > ipsec.MaxOffers {
			t.Fatalf("%d offers are kept", len(list))
		}
		for _, o := range list {
			if max(len(o.Alg), len(o.EAlg), len(o.Prot), len(o.Mod)) > maxName || o.Q > 1000 {
				t.Fatalf("kept: %+v", o)
			}
		}
		if err := ipsec.Consistent(list, list); err != nil {
			t.Fatalf("the same list twice: %v", err)
		}
		c, err := ipsec.Choose(ipsec.Policy{NAT: true}, list, nat)
		if err != nil {
			if len(err.Error()) > 64<<10 {
				t.Fatalf("a refusal of %d octets", len(err.Error()))
			}
			return
		}
		p := c.Phone
		if !c.Pair.Valid() || p.SPIC < ipsec.MinSPI || p.SPIS < ipsec.MinSPI || p.SPIC == p.SPIS || p.PortC == 0 || p.PortS == 0 || p.PortC == p.PortS {
			t.Fatalf("taken: %+v", c)
		}
		chosen := list[c.Index]
		chosen.Q = max(chosen.Q, 0)
		again, err := sip.Parse("REGISTER sip:h SIP/2.0\r\nSecurity-Client: " + securityServer([]ipsec.Mechanism{chosen}) + "\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		back, _, bad := mechanisms(again, sip.HSecurityClient)
		if d := cmp.Diff([]ipsec.Mechanism{chosen}, back); d != "" || bad != nil {
			t.Fatalf("written as %q (-meant +read): %s%v", securityServer([]ipsec.Mechanism{chosen}), d, bad)
		}
	})
}

// FuzzChallengeKeys: keys are taken out of a 401 when there are 16 octets of each,
// and only then.
func FuzzChallengeKeys(f *testing.F) {
	f.Add(`Digest realm="h",nonce="n",ck="00112233445566778899aabbccddeeff",ik="ffeeddccbbaa99887766554433221100"`)
	f.Add(`Digest realm="h",nonce="n",ck="0011",ik=""`)
	f.Fuzz(func(t *testing.T, header string) {
		m, err := sip.Parse("SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: " + strings.NewReplacer("\r", "", "\n", "").Replace(header) + "\r\n\r\n")
		if err != nil {
			return
		}
		k := keysOf(m)
		if !k.ok {
			if k != (keys{}) {
				t.Fatal("there are none, and some are given")
			}
			return
		}
		ch, err := sip.ParseChallenge(m.Get(sip.HWWWAuthenticate))
		if err != nil || len(ch.CK) != 32 || len(ch.IK) != 32 {
			t.Fatalf("keys out of %q", header)
		}
	})
}
