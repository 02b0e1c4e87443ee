package scscf

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func trusting(networks ...string) func(*Config) {
	return func(c *Config) {
		for _, n := range networks {
			c.Trusted = append(c.Trusted, netip.MustParsePrefix(n))
		}
	}
}

// insideOnly are headers with a mark that may not leave the network; inResponse
// those of a response.
var insideOnly = []string{
	"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;MiNe", "P-Charging-Function-Addresses: ccf=MiNe", "P-Served-User: <sip:alice@home.test>;x=MiNe",
	"P-Visited-Network-ID: MiNe", "P-Asserted-Service: urn:urn-7:MiNe", "P-User-Database: <aaa://MiNe>", "P-Profile-Key: <sip:MiNe!.*!@home.test>",
	"Feature-Caps: *;+MiNe", "P-Early-Media: supported, MiNe", "Resource-Priority: MiNe.0", "Cellular-Network-Info: MiNe",
	"History-Info: <sip:MiNe@home.test?Privacy=history>;index=1, <sip:bob@other.test>;index=1.1;mp=1",
}

// fields are these lines of a response.
func fields(lines ...string) []sip.Field {
	var out []sip.Field
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		out = append(out, sip.Field{ID: sip.IDOf(name), Value: value})
	}
	return out
}

func TestWhatLeavesTheTrustDomain(t *testing.T) {
	conformance.Shows(t, "HD-05", "HD-06")
	conformance.Partly(t, "SO-10")
	tests := []struct {
		name, privacy string
		change        []func(*Config)
		inside        bool // the other domain is of the trust domain
		asserted      string
	}{
		{"another domain", "X: y", nil, false, "<sip:alice@home.test> | <tel:+4911>"},
		{"with privacy", "Privacy: id", nil, false, ""},
		{"others are trusted", "Privacy: id", []func(*Config){trusting("192.0.2.0/28")}, false, ""},
		{"a partner", "Privacy: id", []func(*Config){trusting("192.0.2.0/28", "192.0.2.30/32")}, true, "<sip:alice@home.test> | <tel:+4911>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.alice()
				w.p.call("sip:bob@other.test", append(insideOnly, tt.privacy)...)
				got := w.other.want("INVITE")
				w.header(got, sip.HPAssertedIdentity, tt.asserted)
				w.header(got, sip.HPServedUser, "")
				if strings.Contains(got.Raw(), "MiNe") != tt.inside || got.Has(sip.HPChargingVector) != tt.inside {
					t.Errorf("to the other network goes:\n%s", got.Raw())
				}
				// What it says of itself counts as little.
				w.other.reply(got, 180, fields(append(insideOnly, "P-Asserted-Identity: <sip:eve@other.test>", `P-Charging-Vector: icid-value="theirs";orig-ioi="Type 2home.test"`)...)...)
				back := w.p.want("180")
				if strings.Contains(back.Raw(), "MiNe") != tt.inside || back.Has(sip.HPAssertedIdentity) != tt.inside {
					t.Errorf("from the other network comes:\n%s", back.Raw())
				}
				w.header(back, sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 1visited.test";term-ioi="Type 1home.test"`)
			}, tt.change...)
		})
	}
}

// What another network sends to the S-CSCF itself: nothing that begins here, and
// nothing about itself within a dialog.
func TestWhatComesFromOutsideOfTheTrustDomain(t *testing.T) {
	conformance.Shows(t, "HD-05", "HD-06")
	lines := append([]string{"P-Asserted-Identity: <sip:MiNe@home.test>"}, insideOnly...)
	inWorld(t, nil, func(w *world) {
		w.alice()
		w.bob()
		for _, method := range []string{"INVITE", "REGISTER", "SUBSCRIBE", "MESSAGE"} {
			w.other.send(method, "sip:bob@home.test", append(lines, alongSR, "Event: reg")...)
			w.why(w.other.want("403"), "not of the trust domain")
		}
		w.p.nothing()

		within := []string{"To: <sip:bob@home.test>;tag=t"}
		w.other.send("BYE", "sip:bob@10.0.0.2", append(append(within, lines...), "Route: <sip:mt@"+scscfAddr+";lr>, <sip:token@192.0.2.1;lr>")...)
		got := w.p.want("BYE")
		if strings.Contains(got.Raw(), "MiNe") || got.Has(sip.HPChargingVector) {
			t.Errorf("within a dialog comes:\n%s", got.Raw())
		}
		w.p.reply(got, 200, fields(insideOnly...)...)
		if back := w.other.want("200"); strings.Contains(back.Raw(), "MiNe") {
			t.Errorf("within a dialog leaves:\n%s", back.Raw())
		}

		w.p.send("INFO", "sip:eve@192.0.2.30", append(append(within, insideOnly...), "Route: <sip:mo@"+scscfAddr+";lr>")...)
		got = w.other.want("INFO")
		if strings.Contains(got.Raw(), "MiNe") || got.Has(sip.HPChargingVector) {
			t.Errorf("within a dialog leaves:\n%s", got.Raw())
		}
		w.other.reply(got, 200, fields(lines...)...)
		if back := w.p.want("200"); strings.Contains(back.Raw(), "MiNe") {
			t.Errorf("within a dialog comes:\n%s", back.Raw())
		}
	}, trusting("192.0.2.0/28"))
}

// acks counts the ACKs that the S-CSCF sends from now on.
func (w *world) acks() *atomic.Int64 {
	var n atomic.Int64
	w.net.SetHook(func(k memnet.Packet) memnet.Verdict {
		if k.From.String() == scscfAddr && strings.HasPrefix(string(k.Data), "ACK ") {
			n.Add(1)
		}
		return memnet.Pass
	})
	return &n
}

// Whoever is outside of the trust domain and writes a To tag into a request has it carried
// nowhere, unless we are in the route of the dialog: then he may send to us.
func TestDialogsOfOutsiders(t *testing.T) {
	const tagged = "To: <sip:x@192.0.2.21>;tag=1"
	inWorld(t, nil, func(w *world) {
		acks := w.acks()
		for _, method := range []string{"INVITE", "BYE", "NOTIFY", "ACK"} {
			for _, route := range []string{"<sip:" + scscfAddr + ";lr>, ", "<sip:orig@" + scscfAddr + ";lr>, ", "<sip:odi-x@" + scscfAddr + ";lr>, ", "<sip:mt@192.0.2.22;lr>, ", ""} {
				w.other.send(method, "sip:x@192.0.2.21", tagged, "Route: "+route+"<sip:192.0.2.21;lr>")
				if method != "ACK" {
					w.why(w.other.want("481"), "which is not of the trust domain, and not along our Record-Route")
				}
			}
			w.as1.nothing()
			w.as2.nothing()
		}
		if n := acks.Load(); n != 0 {
			t.Errorf("%d ACKs went on", n)
		}
		for _, way := range [][]string{
			{"sip:bob@10.0.0.2", "<sip:mt@" + scscfAddr + ";lr>, <sip:token@192.0.2.1;lr>"},
			{"sip:bob@10.0.0.2", "<sip:mo@" + scscfAddr + ";lr>, <sip:mt@" + scscfAddr + ";lr>, <sip:token@192.0.2.1;lr>"},
			{"sip:mt@" + scscfAddr + ";lr", "<sip:token@192.0.2.1;lr>, <sip:bob@10.0.0.2>"},
		} {
			for _, method := range []string{"INVITE", "BYE"} {
				w.other.send(method, way[0], tagged, "Route: "+way[1])
				got := w.p.want(method)
				w.ruri(got, "sip:bob@10.0.0.2")
				w.p.reply(got, 200)
				w.other.want("200")
			}
			w.other.send("ACK", way[0], tagged, "Route: "+way[1])
			time.Sleep(time.Second)
			if n := acks.Swap(0); n != 1 {
				t.Errorf("%d ACKs came along %s", n, way[1])
			}
		}
	}, trusting("192.0.2.0/28"))
}

// Where little room is left, what strangers say to be within dialogs is let in no more;
// what is along our Record-Route is.
func TestOutsidersAreLetInAfterOthers(t *testing.T) {
	const most = 16
	inWorld(t, nil, func(w *world) {
		w.alice()
		for range (most - most/8) / 2 { // each is two transactions
			w.p.call("sip:bob@home.test")
			w.i.want("INVITE")
		}
		if open := w.s.core.Stats().Transaction.Open; open != most-most/8 {
			t.Errorf("%d transactions are open", open)
		}
		w.other.send("INVITE", "sip:x@192.0.2.21", "To: <sip:x@192.0.2.21>;tag=1", "Route: <sip:"+scscfAddr+";lr>, <sip:192.0.2.21;lr>")
		w.other.want("503")
		w.as1.nothing()
		w.other.send("BYE", "sip:bob@10.0.0.2", "To: <sip:bob@home.test>;tag=t", "Route: <sip:mt@"+scscfAddr+";lr>, <sip:token@192.0.2.1;lr>")
		w.p.reply(w.p.want("BYE"), 200)
		w.other.want("200")
	}, trusting("192.0.2.0/28"), func(c *Config) { c.MaxTransactions = most })
}

// Our Record-Route is no secret: what comes along it from outside of the trust domain, and
// rings, takes its share and no more.
func TestShareOfOutsiders(t *testing.T) {
	const share = 3
	const tagged, along = "To: <sip:x@192.0.2.21>;tag=1", "Route: <sip:mt@" + scscfAddr + ";lr>, <sip:192.0.2.21;lr>"
	inWorld(t, nil, func(w *world) {
		var ringing []*sip.Message
		again := func() {
			w.other.send("INVITE", "sip:x@192.0.2.21", tagged, along)
			m := w.as1.want("INVITE")
			w.as1.reply(m, 180)
			w.other.want("180")
			ringing = append(ringing, m)
		}
		for range share {
			again()
		}
		w.other.send("INVITE", "sip:x@192.0.2.21", tagged, along)
		m := w.other.want("500")
		w.why(m, "Too many INVITEs within dialogs")
		w.header(m, sip.HRetryAfter, "5")
		w.as1.nothing()

		// Neither what ends by itself nor our own wait for them.
		w.other.send("BYE", "sip:x@192.0.2.21", tagged, along)
		w.as1.reply(w.as1.want("BYE"), 200)
		w.other.want("200")
		w.p.send("INVITE", "sip:x@192.0.2.21", tagged, along)
		w.as1.reply(w.as1.want("INVITE"), 200)
		w.p.want("200")

		w.as1.reply(ringing[0], 200)
		w.other.want("200")
		again()
	}, trusting("192.0.2.0/28"), func(c *Config) { c.MaxTransactions = 16 * share })
}
