package lab

import (
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/ue"
)

// TestPairsOfAlgorithms: each pair of TS 33.203 Annex H carries a registration and
// messages, over UDP and over TCP.
func TestPairsOfAlgorithms(t *testing.T) {
	conformance.Partly(t, "IP-01", "IP-02", "IP-10")
	t.Parallel()
	type row struct {
		pair  ipsec.Pair
		proto sip.Proto
	}
	var rows []row
	var names []string
	for _, pair := range ipsec.Pairs {
		for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
			rows = append(rows, row{pair, proto})
			names = append(names, strings.ReplaceAll(pair.String(), "/", "+")+"-"+proto.String())
		}
	}
	subs := manySubscribers(2*len(rows), shortDomain)
	b := startSecure(t, subs, inDatagrams)
	sideBySide(t, names, func(t *testing.T, i int) {
		pair, proto, subs := rows[i].pair, rows[i].proto, subs[2*i:2*i+2]
		var phones [2]*ue.Phone
		for j := range phones {
			phones[j] = b.phone(t, names[i]+string(rune('a'+j)), subs[j], func(c *ue.Config) { c.Offer, c.Transport = []ipsec.Pair{pair}, proto })
			mustWork(t, "registering", register(phones[j]))
			if got := phones[j].Registration().Protection; got.Pair != pair {
				t.Fatalf("it is protected by %v", got.Pair)
			}
		}
		mustWork(t, "a message", message(phones[0], phones[1], "good morning"))
		b.came(t, phones[1], proto, "MESSAGE")
		mustWork(t, "a long message", message(phones[1], phones[0], strings.Repeat("x", 3000)))
		r := b.says(t, subs[0].IMPI, "fine", "registered over IPsec with "+pair.String())
		if s := r.Sets[0]; s.Alg != pair.Alg.String() || s.EAlg != pair.EAlg.String() || s.In[ipsec.AtServer].Packets == 0 || s.Out[ipsec.AtClient].Packets+s.Out[ipsec.AtServer].Packets == 0 {
			t.Errorf("the P-CSCF has %+v", s)
		}
	})
	b.keepsSecret(t)
}
