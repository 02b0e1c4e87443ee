package attack

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/testbed/lab"
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
	shortFloods(t, startTarget(t, 1, 1))
}

// TestFloodsBehindIPsec: the same where the honest phones have IPsec and the P-CSCF demands it,
// and floods of ESP.
func TestFloodsBehindIPsec(t *testing.T) {
	target := startTargetWith(t, 1, 1, true)
	shortFloods(t, target, "registers", "victim", "names", "half-open", "sos", "spoofed", "nat", "esp", "esp-forged")
	p, err := target.Services[0].Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for reason, least := range map[esp.Reason]float64{esp.UnknownSPI: 100, esp.BadICV: 180} {
		if n := p[`gocscf_pcscf_esp_drops_total{reason="`+reason.String()+`"}`]; n < least {
			t.Errorf("%v packets were dropped as %q, want at least %v of 200", n, reason, least)
		}
	}
}

func shortFloods(t *testing.T, target *Target, only ...string) {
	const messages = 200
	honest := round(t, target)
	// How many transactions a message may leave at the P-CSCF, a server's and a client's; of
	// the other floods none. Every second that is spoofed is a REGISTER, and every third in a
	// loop comes to it from outside.
	leaves := map[string]int{"registers": 2, "sos": 2, "victim": 2, "names": 2, "nat": 2, "spoofed": 1, "loops": 1}
	// How many SA sets it may leave at least and at most, where there are any. Some of the
	// REGISTERs are refused as too much; of one user 64 phones have sets, and an honest one three.
	sets := map[string][2]int{"names": {messages / 4, messages + 4}, "victim": {32, 64 + 4}, "nat": {8, 8 + 4}}
	cfg := FloodConfig{For: 10 * time.Second, Messages: messages, Rate: 4000, Conns: 50, Only: []string{"sos"}}
	// With the first REGISTERs of many come tables that stay.
	if err := Floods(t.Context(), target, cfg, func(FloodReport) {}); err != nil {
		t.Fatal(err)
	}
	cfg.Only = only
	ran := 0
	lived := liveHeap()
	err := Floods(t.Context(), target, cfg, func(r FloodReport) {
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
		if want, has := sets[r.Name]; has && target.ESP.IsValid() {
			if n := after.Sets - before.Sets; n < want[0] || n > want[1] {
				t.Errorf("%s: %d SA sets more stand after %d messages, want %d to %d", r.Name, n, messages, want[0], want[1])
			}
		}
		now := liveHeap()
		if grown := now - lived; grown > messages*mostLeft {
			t.Errorf("%s: %d octets of the heap live more than before, want at most %d a message", r.Name, grown, mostLeft)
		}
		t.Logf("%s: %d sent, %d of %d honest, %d transactions, %d sets, %d octets a message, %s", r.Name, r.Sent, r.Honest-r.Failed, r.Honest, held, after.Sets-before.Sets, (now-lived)/messages, r.FirstFailure)
		lived = now
	})
	if err != nil {
		t.Fatal(err)
	}
	want := len(only)
	for _, f := range floods {
		if only == nil && !f.esp {
			want++
		}
	}
	if ran != want {
		t.Errorf("%d floods of %d", ran, want)
	}
}

// mostLeft is how many octets of the heap a message may leave, with what the honest rounds
// beside it leave, some 5 KiB a message: a REGISTER that is answered leaves two transactions and
// with IPsec an SA set.
const mostLeft = 20 << 10

// liveHeap is how much of the heap lives.
func liveHeap() int {
	runtime.GC()
	runtime.GC() // what is kept for the next user (sync.Pool) goes with the second
	return int(processMetrics()["go_memstats_heap_alloc_bytes"])
}

// TestFloodTakesTooMuch: a service that takes more memory than it may is a failure, and the
// flood's report is given all the same.
func TestFloodTakesTooMuch(t *testing.T) {
	target := startTarget(t, 1, 1)
	rss := map[string]float64{lab.NameP: 1 << 20, lab.NameI: 65 << 20, lab.NameS: 1 << 20}
	for i, s := range target.Services {
		target.Services[i].Read = func(ctx context.Context) (map[string]float64, error) {
			v, err := s.Read(ctx)
			if err == nil {
				v["process_resident_memory_bytes"] = rss[s.Name]
			}
			return v, err
		}
	}
	for _, tt := range []struct {
		most   uint64
		scscf  float64
		failed string
	}{
		{64 << 20, 1 << 20, "the memory of icscf has grown from 65 to 65 MiB, and 64 are allowed"},
		{65 << 20, 1 << 20, ""},
		{65 << 20, 0, "the metrics of scscf have no process_resident_memory_bytes"},
		{0, 0, ""},
	} {
		reports := 0
		rss[lab.NameS] = tt.scscf
		err := Floods(t.Context(), target, FloodConfig{For: time.Second, Messages: 20, Only: []string{"acks"}, Memory: tt.most}, func(FloodReport) { reports++ })
		if failed := err != nil; failed != (tt.failed != "") || failed && !strings.Contains(err.Error(), tt.failed) {
			t.Errorf("65 MiB where %d are allowed: %v", tt.most>>20, err)
		}
		if reports != 1 {
			t.Errorf("%d reports", reports)
		}
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
