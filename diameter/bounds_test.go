package diameter

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

func TestBoundsOfOneConnection(t *testing.T) {
	t.Run("requests under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			server(t, mem, "hss.example.net", "hss:3868", func(*Request) {})
			n := client(t, mem, func(c *Config) { c.MaxPending = 3 }, "hss:3868")
			ready(t, n)
			for range 3 {
				do(n, time.Minute, testRequest(n, "a"))
			}
			r := <-do(n, time.Minute, testRequest(n, "b"))
			if r.err == nil || !strings.Contains(r.err.Error(), "3 requests are unanswered") {
				t.Errorf("%v", r.err)
			}
		})
	})
	t.Run("requests of a peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			cfg := testConfig("hss.example.net")
			cfg.MaxPending, cfg.Handler = 3, func(*Request) {}
			n := newNode(t, cfg)
			if err := n.Listen(mem.listen("hss:3868")); err != nil {
				t.Fatal(err)
			}
			p := dialRaw(t, mem, "hss:3868")
			p.handshake("raw.example.net")
			for range 4 {
				p.write(rawMessage(body(), nil))
			}
			if m := p.read(); result(m) != TooBusy {
				t.Errorf("%v", result(m))
			}
			p.alive()
		})
	})
	t.Run("octets to write", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			server(t, mem, "hss.example.net", "hss:3868", nil)
			p := dialRaw(t, mem, "hss:3868")
			p.handshake("raw.example.net")
			// Asks and asks, and never reads.
			frame := rawMessage(body(goodAVP(avp.ProxyInfo, avp.Mbit, 0, append(goodAVP(avp.ProxyHost, avp.Mbit, 0, []byte("h")),
				goodAVP(avp.ProxyState, avp.Mbit, 0, make([]byte, 200<<10))...))), nil)
			for range 100 {
				if _, err := p.nc.Write(frame); err != nil {
					return
				}
			}
			t.Error("20 MB of answers were queued for a peer that does not read")
		})
	})
	t.Run("connections", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			cfg := testConfig("hss.example.net")
			var seen states
			cfg.MaxConnections, cfg.Observer = 2, &seen
			n := newNode(t, cfg)
			if err := n.Listen(mem.listen("hss:3868")); err != nil {
				t.Fatal(err)
			}
			p := dialRaw(t, mem, "hss:3868")
			p.handshake("raw1.example.net")
			q := dialRaw(t, mem, "hss:3868")
			q.handshake("raw2.example.net")
			dialRaw(t, mem, "hss:3868").expectClosed(time.Second)
			synctest.Wait()
			if !seen.has("refused: diameter: a connection was closed, as 2 stand; find out who opens so many") {
				t.Errorf("nobody was told: %q", seen.all)
			}
			p.nc.Close()
			synctest.Wait()
			dialRaw(t, mem, "hss:3868").handshake("raw3.example.net")
			q.alive()
		})
	})
	t.Run("descriptors", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			var seen states
			cfg := testConfig("hss.example.net")
			cfg.Observer = &seen
			n := newNode(t, cfg)
			l := &failing{Listener: mem.listen("hss:3868"), fail: 3}
			if err := n.Listen(l); err != nil {
				t.Fatal(err)
			}
			dialRaw(t, mem, "hss:3868").handshake("raw.example.net") // it has waited
			seen.mu.Lock()
			defer seen.mu.Unlock()
			told := 0
			for _, s := range seen.all {
				if strings.Contains(s, "cannot accept a connection") && strings.Contains(s, "too many open files") {
					told++
				}
			}
			if told != 3 {
				t.Errorf("%d of 3 failures were told: %q", told, seen.all)
			}
		})
	})
	t.Run("an answer that is too long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			errs := make(chan error, 1)
			server(t, mem, "hss.example.net", "hss:3868", func(r *Request) {
				a := r.NewAnswer(Base(Success))
				a.Add(newAVP(avp.UserName, datatype.UTF8String(make([]byte, ceilingMaxMessage))))
				errs <- r.Answer(a)
			})
			n := client(t, mem, nil, "hss:3868")
			ready(t, n)
			r := <-do(n, time.Second, testRequest(n, "a"))
			var e *ResultError
			if !errors.As(r.err, &e) || !e.Is(UnableToComply) || <-errs == nil {
				t.Errorf("%v", r.err)
			}
		})
	})
	t.Run("an answer over the receiver's bound", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			server(t, mem, "hss.example.net", "hss:3868", func(r *Request) {
				a := r.NewAnswer(Base(Success))
				a.Add(newAVP(avp.UserName, datatype.UTF8String(make([]byte, 8192))))
				_ = r.Answer(a)
			})
			n := client(t, mem, func(c *Config) { c.MaxMessage = 4096 }, "hss:3868")
			ready(t, n)
			r := <-do(n, time.Minute, testRequest(n, "a"))
			var e *ProtocolError
			if !errors.As(r.err, &e) || !strings.Contains(r.err.Error(), "this node takes 4096") {
				t.Errorf("%v", r.err)
			}
		})
	})
}

// failing is a listener whose process has no descriptor left for a while.
type failing struct {
	net.Listener
	fail int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.fail > 0 {
		f.fail--
		return nil, syscall.EMFILE
	}
	return f.Listener.Accept()
}
