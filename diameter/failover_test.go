package diameter

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/testbed/conformance"
)

// twoPeers connects a node to two raw peers, the first preferred.
func twoPeers(t *testing.T, change func(*Config)) (n *Node, mem *memNet, l1 *memListener, p1, p2 *rawPeer) {
	t.Helper()
	mem = newMemNet()
	l1 = mem.listen("hss1:3868")
	l2 := mem.listen("hss2:3868")
	n = client(t, mem, change, "hss1:3868", "hss2:3868")
	p1 = acceptRaw(t, l1)
	p1.accept("hss1.example.net")
	p2 = acceptRaw(t, l2)
	p2.accept("hss2.example.net")
	synctest.Wait()
	return n, mem, l1, p1, p2
}

func TestPeersFailOverWithTheTBitAndFailBack(t *testing.T) {
	conformance.Shows(t, "CX-26", "CX-27")
	t.Run("watchdog", testWatchdog)
	t.Run("duplicates", testDuplicates)
	t.Run("disconnect", testDisconnect)
	t.Run("suspect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _, _, p1, p2 := twoPeers(t, nil)
			p1.read() // a DWR, which stays without answer
			q := testRequest(n, "a")
			ch := do(n, 5*time.Minute, q)
			first := p1.read()
			if first.IsRetransmitted() || first.SessionID() != q.SessionID() {
				t.Errorf("first copy: flags %#x", first.Flags)
			}
			// hss1 says nothing: Suspect, the request moves.
			second := p2.request("hss2.example.net")
			if !second.IsRetransmitted() || second.EndToEnd != first.EndToEnd || second.SessionID() != first.SessionID() {
				t.Errorf("second copy: flags %#x, end-to-end %#x and %#x", second.Flags, first.EndToEnd, second.EndToEnd)
			}
			other := do(n, time.Minute, testRequest(n, "b"))
			if m := p2.request("hss2.example.net"); m.IsRetransmitted() {
				t.Error("a new request carries T")
			} else {
				p2.replyResult(m, "hss2.example.net", Success)
			}
			if r := <-other; r.err != nil {
				t.Error(r.err)
			}
			p2.replyResult(second, "hss2.example.net", Success)
			if r := <-ch; r.err != nil || r.a.Peer != "hss2.example.net" {
				t.Errorf("%+v", r)
			}
			// The late answer to the first copy is nobody's.
			p1.replyResult(first, "hss1.example.net", Success)
			synctest.Wait()
			if len(ch) != 0 {
				t.Error("the callback was called twice")
			}
			// That message brought hss1 back: new requests go there again.
			back := do(n, time.Minute, testRequest(n, "c"))
			p1.replyResult(p1.read(), "hss1.example.net", Success)
			if r := <-back; r.err != nil || r.a.Peer != "hss1.example.net" {
				t.Errorf("after failback: %+v", r)
			}
		})
	})
	t.Run("lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _, l1, p1, p2 := twoPeers(t, nil)
			ch := do(n, time.Minute, testRequest(n, "a"))
			first := p1.read()
			p1.nc.Close()
			second := p2.read()
			if !second.IsRetransmitted() || second.EndToEnd != first.EndToEnd {
				t.Errorf("second copy: flags %#x", second.Flags)
			}
			p2.replyResult(second, "hss2.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Error(r.err)
			}
			// hss1 comes back, has to answer three watchdogs, then is used again.
			p1 = acceptRaw(t, l1)
			p1.accept("hss1.example.net")
			for i := range 3 {
				m := p1.read()
				if m.Command != DeviceWatchdog {
					t.Fatalf("in reopen: %v", m)
				}
				ch := do(n, time.Minute, testRequest(n, "b"))
				q := p2.request("hss2.example.net")
				p2.replyResult(q, "hss2.example.net", Success)
				if r := <-ch; r.err != nil || r.a.Peer != "hss2.example.net" {
					t.Errorf("watchdog %d: %+v", i, r)
				}
				p1.replyResult(m, "hss1.example.net", Success)
			}
			synctest.Wait()
			back := do(n, time.Minute, testRequest(n, "c"))
			p1.replyResult(p1.read(), "hss1.example.net", Success)
			if r := <-back; r.err != nil || r.a.Peer != "hss1.example.net" {
				t.Errorf("after reopen: %+v", r)
			}
		})
	})
	t.Run("busy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _, _, p1, p2 := twoPeers(t, nil)
			ch := do(n, time.Minute, testRequest(n, "a"))
			p1.replyResult(p1.read(), "hss1.example.net", TooBusy)
			second := p2.read()
			if second.IsRetransmitted() {
				t.Error("T although an answer came (RFC 6733 3)")
			}
			p2.replyResult(second, "hss2.example.net", TooBusy)
			r := <-ch
			var e *ResultError
			if !errors.As(r.err, &e) || !e.Is(TooBusy) || e.Peer != "hss2.example.net" {
				t.Errorf("%v", r.err)
			}
		})
	})
	t.Run("no other peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			n := client(t, mem, nil, "hss:3868")
			p := acceptRaw(t, l)
			p.accept("hss.example.net")
			ready(t, n)
			ch := do(n, time.Minute, testRequest(n, "a"))
			p.read()
			p.nc.Close()
			r := <-ch
			var e *TransportError
			if !errors.As(r.err, &e) || e.Peer != "hss.example.net" {
				t.Errorf("%v", r.err)
			}
		})
	})
	t.Run("a peer alone is used while it proves itself", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			n := client(t, mem, nil, "hss:3868")
			p := acceptRaw(t, l)
			p.accept("hss.example.net")
			ready(t, n)
			p.nc.Close()
			p = acceptRaw(t, l)
			p.accept("hss.example.net")
			p.replyResult(p.read(), "hss.example.net", Success) // the first of three DWRs
			synctest.Wait()
			if s := n.Peers()[0].State; s != Reopen {
				t.Errorf("state %v", s)
			}
			ch := do(n, time.Second, testRequest(n, "a"))
			p.replyResult(p.request("hss.example.net"), "hss.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Error(r.err)
			}
		})
	})
	t.Run("suspect without another peer keeps the request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			var seen states
			n := client(t, mem, func(c *Config) { c.Observer = &seen }, "hss:3868")
			p := acceptRaw(t, l)
			p.accept("hss.example.net")
			ready(t, n)
			p.read() // DWR
			ch := do(n, 2*time.Minute, testRequest(n, "a"))
			q := p.read()
			pass(33 * time.Second)
			if !seen.has("hss.example.net suspect") {
				t.Fatal("not suspect")
			}
			p.replyResult(q, "hss.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Error(r.err)
			}
		})
	})
}
