package diameter

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// testDisconnect shows DPR and DPA in both directions.
func testDisconnect(t *testing.T) {
	t.Run("by us, after the requests under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			n := client(t, mem, nil, "hss:3868")
			p := acceptRaw(t, l)
			p.accept("hss.example.net")
			ready(t, n)
			ch := do(n, time.Minute, testRequest(n, "a"))
			q := p.read()
			closed := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				closed <- n.Close(ctx)
			}()
			synctest.Wait()
			if r := <-do(n, time.Second, testRequest(n, "late")); !errors.Is(r.err, ErrClosed) {
				t.Errorf("a request after Close: %v", r.err)
			}
			p.replyResult(q, "hss.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Errorf("the request under way: %v", r.err)
			}
			dpr := p.read()
			cause, ok := Enumerated(dpr.Find(avp.DisconnectCause, 0))
			if dpr.Command != DisconnectPeer || !dpr.IsRequest() || !ok || cause != 0 {
				t.Errorf("%v, cause %d", dpr, cause)
			}
			p.replyResult(dpr, "hss.example.net", Success)
			p.expectClosed(time.Second)
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("by us, the peer is silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			n := client(t, mem, nil, "hss:3868")
			p := acceptRaw(t, l)
			p.accept("hss.example.net")
			ready(t, n)
			ch := do(n, time.Minute, testRequest(n, "a"))
			start := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			if err := n.Close(ctx); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d > 4*time.Second {
				t.Errorf("Close took %v", d)
			}
			if r := <-ch; !errors.Is(r.err, ErrClosed) {
				t.Errorf("%v", r.err)
			}
		})
	})
	t.Run("by the peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _, l1, p1, p2 := twoPeers(t, nil)
			ch := do(n, time.Minute, testRequest(n, "a"))
			under := p1.read()
			p1.send(baseMessage(DisconnectPeer, true, append(origin("hss1.example.net"), newAVP(avp.DisconnectCause, datatype.Enumerated(0)))...))
			if m := p1.read(); m.Command != DisconnectPeer || m.IsRequest() || result(m) != Success {
				t.Errorf("instead of a DPA: %v", m)
			}
			other := do(n, time.Minute, testRequest(n, "b"))
			p2.replyResult(p2.read(), "hss2.example.net", Success)
			if r := <-other; r.err != nil {
				t.Error(r.err)
			}
			p1.replyResult(under, "hss1.example.net", Success) // may still come
			if r := <-ch; r.err != nil {
				t.Error(r.err)
			}
			p1.nc.Close()
			// It went in order, so it need not prove itself when it is back.
			p1 = acceptRaw(t, l1)
			p1.accept("hss1.example.net")
			synctest.Wait()
			if s := n.Peers()[0].State; s != Okay {
				t.Errorf("state %v", s)
			}
		})
	})
	t.Run("by the peer that then does not close", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			server(t, mem, "hss.example.net", "hss:3868", nil)
			p := dialRaw(t, mem, "hss:3868")
			p.handshake("raw.example.net")
			p.send(baseMessage(DisconnectPeer, true, append(origin("raw.example.net"), newAVP(avp.DisconnectCause, datatype.Enumerated(2)))...))
			p.read()
			p.expectClosed(closeTimeout + time.Second)
		})
	})
}
