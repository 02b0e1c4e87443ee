package attack

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// round is how many transactions one honest round leaves at the P-CSCF.
func round(t *testing.T, target *Target) int {
	t.Helper()
	read := func() int {
		all, err := target.gauges(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all["pcscf"].Open + all["pcscf"].Lingering
	}
	before := read()
	if err := target.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return read() - before
}

// TestFloods: of each flood a short form, during which honest phones register and call. After
// it they do so, too, and no more is held than what was sent may leave. The long form, with
// what memory it costs, is `make flood`.
func TestFloods(t *testing.T) {
	target := startTarget(t, 1, 1)
	const messages = 200
	honest := round(t, target)
	// How many transactions a message may leave at the P-CSCF, a server's and a client's; of
	// the other floods none. Every second that is spoofed is a REGISTER, and every third in a
	// loop comes to it from outside.
	leaves := map[string]int{"registers": 2, "sos": 2, "victim": 2, "spoofed": 1, "loops": 1}
	ran := 0
	err := Floods(t.Context(), target, FloodConfig{For: 10 * time.Second, Messages: messages, Rate: 4000, Conns: 50}, func(r FloodReport) {
		ran++
		if r.Sent < messages {
			t.Errorf("%s: %d of %d sent", r.Name, r.Sent, messages)
		}
		// Strangers who send in his name push out what an honest phone is about to answer.
		if r.Failed > 0 && r.Name != "victim" {
			t.Errorf("%s: %d of %d honest rounds failed: %s", r.Name, r.Failed, r.Honest, r.FirstFailure)
		}
		after, before := r.After["pcscf"], r.Before["pcscf"]
		held := after.Open + after.Lingering - before.Open - before.Lingering - honest*(r.Honest+1)
		if most := leaves[r.Name]*messages + messages/8; held > most {
			t.Errorf("%s: the P-CSCF holds %d transactions more after %d messages, want at most %d", r.Name, held, messages, most)
		}
		if r.Name == "registers" && held < messages/4 { // all, but for what is refused as too much
			t.Errorf("%s: %d transactions were seen, of %d messages that leave one each", r.Name, held, messages)
		}
		t.Logf("%s: %d sent, %d of %d honest, %d transactions, %s", r.Name, r.Sent, r.Honest-r.Failed, r.Honest, held, r.FirstFailure)
	})
	if err != nil {
		t.Fatal(err)
	}
	if ran != len(floods) {
		t.Errorf("%d floods of %d", ran, len(floods))
	}
}

// TestPlacesTakenByStrangers: silent connections from many addresses, more than there may be,
// keep no phone with TCP out.
func TestPlacesTakenByStrangers(t *testing.T) {
	target := startTarget(t, 1, 1)
	for i := range maxConnections + 20 {
		d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(many(64*i), 0))}
		c, err := d.DialContext(t.Context(), "tcp", target.Gm.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	for range 3 {
		if err := target.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestFloodsAreApart: what one flood sends is no retransmission of what another has sent. The
// floods of REGISTERs behind the first were mostly that, and so went no further.
func TestFloodsAreApart(t *testing.T) {
	seen := map[string]string{}
	for _, x := range floods {
		for n := range int64(2) {
			m, err := sip.Parse((&flooding{name: x.name}).request("REGISTER", "sip:a", n, "<sip:a>"))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []string{m.First(sip.HVia), m.CallID()} {
				if other, has := seen[v]; has {
					t.Errorf("%s sends %q as %s does", x.name, v, other)
				}
				seen[v] = x.name
			}
		}
	}
}
