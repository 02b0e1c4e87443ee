package transaction

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// TestPastAgainstModel: through any mixture of records each is found until it ends and
// not after, nothing else is, and in the end nothing is kept.
func TestPastAgainstModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Shards: 1, Sender: senderFunc(func(sip.Flow, []byte, func(error)) {}), User: &tu{}})
		defer l.Close()
		sh := newShard(l) // without a goroutine: the test is its owner
		random := rand.New(rand.NewPCG(1, 2))
		type entry struct {
			t    *tx
			ends time.Duration
		}
		start := time.Now()
		var model []entry
		stays := []time.Duration{5 * time.Second, 32 * time.Second, 128 * time.Second, 17 * time.Second}
		flows := []sip.Flow{udp, gmUDP, {Proto: sip.UDP, Remote: netip.MustParseAddrPort("[2001:db8::1]:5060")}, {Proto: sip.TCP, Conn: 1 << 40, Local: addr("[::ffff:192.0.2.7]:1"), Remote: addr("192.0.2.8:2")}}
		check := func(e entry, there bool) {
			r := sh.past.find(e.t.kind, e.t.hash, e.t.key)
			if (r != nil) != there {
				t.Fatalf("a record that ends at %v is found at %v: %v", e.ends, time.Since(start), r != nil)
			}
			if !there {
				return
			}
			to, data := r.response()
			if to != e.t.to || r.flow() != e.t.to || !bytes.Equal(data, e.t.last) {
				t.Fatalf("%v with %d octets comes back as %v with %d", e.t.to, len(e.t.last), to, len(data))
			}
		}
		for i := range 1500 {
			k := [...]kind{nonInviteClient, nonInviteServer}[random.IntN(2)]
			x := &tx{machine: machine{kind: k, state: completed}, to: flows[random.IntN(len(flows))], key: fmt.Append(nil, "key", i)}
			x.hash = uint64(random.IntN(750)) // many share one
			if k == nonInviteServer {
				x.last = bytes.Repeat([]byte{byte(i)}, random.IntN(1500)+1)
				if i%500 == 0 {
					x.last = bytes.Repeat([]byte{byte(i)}, pastChunk-100)
				}
			}
			stay := stays[random.IntN(len(stays))]
			if !sh.past.add(x, stay) {
				t.Fatal("a record is not taken")
			}
			model = append(model, entry{x, time.Since(start) + stay})
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			sh.expire()
			now, kept := time.Since(start), model[:0]
			for _, e := range model {
				switch {
				case now < e.ends:
					if kept = append(kept, e); i%50 == 0 || random.IntN(100) == 0 {
						check(e, true)
					}
				case now >= e.ends+time.Duration(pastGrid):
					check(e, false)
				default: // until the next wake-up it may be there
					kept = append(kept, e)
				}
			}
			model = kept
		}
		time.Sleep(130 * time.Second)
		sh.expire()
		if sh.past.index.n != 0 || l.memory.octets.Load() != 0 || len(sh.timers.entries) != 0 {
			t.Errorf("left behind: %d records, %d octets, %d timers", sh.past.index.n, l.memory.octets.Load(), len(sh.timers.entries))
		}
	})
}

// TestPastEndsAChunk: a chunk that is used again ends behind its last record, though those
// of its earlier use follow.
func TestPastEndsAChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Shards: 1, Sender: senderFunc(func(sip.Flow, []byte, func(error)) {}), User: &tu{}})
		defer l.Close()
		sh := newShard(l) // without a goroutine: the test is its owner
		added := int64(0)
		add := func(octets int) {
			added++
			x := &tx{machine: machine{kind: nonInviteServer, state: completed}, to: udp, hash: 1, last: make([]byte, octets)}
			if !sh.past.add(x, time.Second) {
				t.Fatal("a record is not taken")
			}
		}
		for range pastChunk / 1200 {
			add(1000)
		}
		time.Sleep(2 * time.Second)
		sh.expire()
		add(1000)
		add(pastChunk - 1000) // in another chunk
		if n := len(sh.past.queues[0].chunks); n != 2 {
			t.Fatalf("in %d chunks", n)
		}
		time.Sleep(2 * time.Second)
		sh.expire()
		if n := l.lingering.Load(); n != -added || l.memory.octets.Load() != 0 {
			t.Errorf("%d records have ended of %d, %d octets are kept", -n, added, l.memory.octets.Load())
		}
	})
}

// TestPastShrinks: what a burst has taken is given back, and one wake-up ends many.
func TestPastShrinks(t *testing.T) {
	bubble(t, Config{Shards: 1}, func(r *rig) {
		r.tu.request = func(s *Server) { answer(s, 200) }
		const burst = 10000
		for i := range burst {
			r.l.Receive(gmUDP, request("MESSAGE", fmt.Sprint("burst", i), ""))
			if i%1000 == 999 {
				synctest.Wait()
				r.wire.take()
			}
		}
		s, sh := r.l.Stats(), r.l.shards[0]
		if s.Lingering != burst || s.Timers != 1 || s.Octets != 0 {
			r.Errorf("behind the burst: %+v", s)
		}
		if n := len(sh.servers); n != 0 {
			r.Errorf("%d are still transactions", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if sh.past.most != 0 || sh.past.chunks != nil || r.l.memory.octets.Load() != 0 {
			r.Errorf("a minute later the index has room for %d, and %d octets are kept", sh.past.most, r.l.memory.octets.Load())
		}
		if n := len(sh.past.index.slots); n > leastSlots {
			r.Errorf("a minute later the index has %d slots", n)
		}
	})
}

// TestPastAnswersAgain: a repeated request gets the same octets by the same way as long
// as Timer J runs, and nobody else is told anything of it.
func TestPastAnswersAgain(t *testing.T) {
	protected := sip.Flow{Proto: sip.UDP, Role: sip.RoleProtectedServer, Local: addr("192.0.2.9:6000"), Remote: addr("192.0.2.1:6001")}
	for name, flow := range map[string]sip.Flow{"core": udp, "Gm": gmUDP, "protected": protected} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				r.tu.request = func(s *Server) { answer(s, 404) }
				r.receive(flow, request("MESSAGE", "1", "P-Odd: \x01\xff\r\n"))
				first := r.wire.take()
				r.sleepTo(32*time.Second - 1)
				r.receive(flow, request("MESSAGE", "1", ""))
				again := r.wire.take()
				if len(first) != 1 || len(again) != 1 || first[0].msg.Raw() != again[0].msg.Raw() || first[0].flow != again[0].flow {
					r.Errorf("first\n%v\nthen\n%v", first, again)
				}
				if flow != protected {
					r.sleepTo(33 * time.Second)
					r.receive(flow, request("CANCEL", "1", ""))
					r.want("to a CANCEL for what is over", lines(r.wire.take()), "481 CANCEL")
					return
				}
				r.receive(udp, request("MESSAGE", "1", ""))
				r.want("to whom it does not belong", lines(r.wire.take()), "")
				if s := r.l.Stats(); s.Unprotected != 1 || s.Absorbed != 1 {
					r.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestFewShareABranch: requests that differ in their methods alone are looked through one
// by one, so that there must not be any number of them.
func TestFewShareABranch(t *testing.T) {
	bubble(t, Config{Shards: 1}, func(r *rig) {
		r.tu.request = func(s *Server) { answer(s, 200) }
		for i := range 2 * maxSharing {
			r.receive(udp, strings.ReplaceAll(request("MESSAGE", "1", ""), "MESSAGE", fmt.Sprint("M", i)))
		}
		if s := r.l.Stats(); s.Lingering != maxSharing {
			r.Errorf("%d share a branch, want %d", s.Lingering, maxSharing)
		}
		r.wire.take()
		r.receive(udp, strings.ReplaceAll(request("MESSAGE", "1", ""), "MESSAGE", fmt.Sprint("M", maxSharing)))
		r.want("one too many", lines(r.wire.take()), fmt.Sprint("400 M", maxSharing))
		r.receive(udp, strings.ReplaceAll(request("MESSAGE", "1", ""), "MESSAGE", "M0"))
		r.want("one that is known", lines(r.wire.take()), "200 M0")
	})
}

// What past does not take lingers as it did before: a flow with a zone, as many octets
// as a chunk has, more than Config.MaxOctets.
func TestPastDeclines(t *testing.T) {
	zone := udp
	zone.Remote = netip.MustParseAddrPort("[fe80::1%eth0]:5060")
	for name, c := range map[string]struct {
		flow   sip.Flow
		cfg    Config
		octets int
	}{"zone": {flow: zone}, "large": {flow: udp, octets: pastChunk - 10}, "no room": {flow: udp, cfg: Config{MaxOctets: 30000}}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, c.cfg, func(r *rig) {
				r.tu.request = func(s *Server) {
					response := func(n int) []byte {
						return sip.NewResponse(s.Req, 200, "", "us").Body("text/plain", strings.Repeat("x", n)).Bytes()
					}
					s.Respond(200, response(max(0, c.octets-len(response(10000))+10000)))
				}
				r.receive(c.flow, request("MESSAGE", "1", ""))
				r.sleepTo(32*time.Second - 1)
				r.receive(c.flow, request("MESSAGE", "1", ""))
				r.want("sent", lines(r.wire.take()), "200 MESSAGE, 200 MESSAGE")
				if s := r.l.Stats(); s.Lingering != 1 || r.l.memory.octets.Load() != 0 {
					r.Errorf("%d octets kept, %+v", r.l.memory.octets.Load(), s)
				}
			})
		})
	}
}

// What the transport may still call, for seconds, does not keep a User's part of a
// request that is answered.
func TestClientLetsGoOfItsUser(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		var c *Client
		r.on(func(sh *Shard) { c = sh.Client(r.tu.client(udp, "MESSAGE", "1")) })
		if c.req.Response == nil || c.req.Failed == nil {
			r.Error("gone before an answer")
		}
		r.receive(udp, response(200, "MESSAGE", "1"))
		if c.req.Response != nil || c.req.Failed != nil || c.req.Render != nil || c.Flow() != udp {
			r.Errorf("behind the answer: %+v", c.req)
		}
		c.fail(ErrTimeout) // ICMP, say
		synctest.Wait()
		r.want("log", r.tu.take(), "200 MESSAGE")
	})
}
