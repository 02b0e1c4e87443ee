package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// A connection that is refused before the message could wait for it is not dialled for the
// same message again.
func TestOneDialForAMessage(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		a := newEnd(t, ha, addrA, sip.RoleCore, Config{})
		n.SetLink("192.0.2.1", "192.0.2.2", memnet.Link{Refuse: true})
		to := sip.Flow{Proto: sip.TCP, Role: sip.RoleCore, Remote: netip.MustParseAddrPort(addrB)}
		const many = 2000
		for range many {
			a.Send(Outgoing{Flow: to, Data: []byte(message("a", 0)), Insist: true, Fail: a.Fail})
			synctest.Wait()
		}
		if dials := a.counted(DialFailed); dials != many || len(a.failed()) != many {
			t.Errorf("%d connections were dialled for %d messages, %d of which failed", dials, many, len(a.failed()))
		}
	})
}

func TestConnectFails(t *testing.T) {
	for _, tc := range []struct {
		name  string
		link  memnet.Link
		after time.Duration
		want  error
	}{
		{"refused", memnet.Link{Refuse: true}, 0, syscall.ECONNREFUSED},
		{"unreachable", memnet.Link{Unreachable: true}, 0, syscall.EHOSTUNREACH},
		{"no answer", memnet.Link{Blackhole: true}, time.Second, context.DeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
				a, b := newEnd(t, ha, addrA, sip.RoleCore, Config{}), newEnd(t, hb, addrB, sip.RoleCore, Config{})
				n.SetLink("192.0.2.1", "192.0.2.2", tc.link)
				begin := time.Now()
				var took time.Duration
				f, _ := a.Pick(sip.TCP, sip.RoleCore, b.addr)
				out := Outgoing{Flow: f, Data: []byte(message("a", 0)), Fail: func(err error) { took = time.Since(begin); a.Fail(err) }}
				a.Send(out)
				time.Sleep(2 * time.Second)
				if errs := a.failed(); len(errs) != 1 || !errors.Is(errs[0], tc.want) || took != tc.after {
					t.Fatalf("failed after %s with %v; want %v after %s", took, errs, tc.want, tc.after)
				}
				if !a.Refused(sip.RoleCore, netip.AddrPort{}, b.addr) || a.Refused(sip.RoleGm, netip.AddrPort{}, b.addr) {
					t.Error("the refusal is not remembered for its role alone")
				}

				// Remembered: the next one fails at once, though the link is mended.
				n.SetLink("192.0.2.1", "192.0.2.2", memnet.Link{})
				a.Send(out)
				errs := a.failed()
				var refused *RefusedError
				if len(errs) != 2 || !errors.As(errs[1], &refused) || !errors.Is(errs[1], tc.want) {
					t.Fatalf("then failed with %v, want a RefusedError", errs)
				}
				out.Insist = true
				a.Send(out)
				synctest.Wait()
				if len(b.received()) != 1 {
					t.Error("a sender that insists does not get through")
				}
				if a.Refused(sip.RoleCore, netip.AddrPort{}, b.addr) {
					t.Error("the refusal is remembered though a connection came up")
				}
			})
		})
	}
	t.Run("of one SA set alone", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
			a := newEnd(t, ha, addrA, sip.RoleCore, Config{})
			to, one, other := netip.MustParseAddrPort(addrB), netip.MustParseAddrPort("192.0.2.1:5100"), netip.MustParseAddrPort("192.0.2.1:5101")
			a.Send(Outgoing{Flow: sip.Flow{Proto: sip.TCP, Role: sip.RoleProtectedClient, Local: one, Remote: to}, Data: []byte(message("a", 0)), Fail: a.Fail})
			synctest.Wait()
			if !a.Refused(sip.RoleProtectedClient, one, to) || a.Refused(sip.RoleProtectedClient, other, to) {
				t.Error("the refusal is not remembered for the ports of its SA set alone")
			}
		})
	})
	t.Run("forgotten in time", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
			a := newEnd(t, ha, addrA, sip.RoleCore, Config{RefusalTTL: 10 * time.Second})
			to := netip.MustParseAddrPort(addrB)
			a.send(t, sip.TCP, sip.RoleCore, to, message("a", 0))
			synctest.Wait()
			time.Sleep(10*time.Second - 1)
			if !a.Refused(sip.RoleCore, netip.AddrPort{}, to) {
				t.Error("forgotten too early")
			}
			time.Sleep(1)
			if a.Refused(sip.RoleCore, netip.AddrPort{}, to) {
				t.Error("remembered for too long")
			}
		})
	})
	t.Run("bounded", func(t *testing.T) {
		r := refusals{ttl: time.Minute, max: 10}
		for i := range 100 {
			r.add(way{peer: peer{remote: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), uint16(i+1))}}, syscall.ECONNREFUSED)
		}
		if len(r.m) != 10 {
			t.Errorf("%d refusals remembered, want 10", len(r.m))
		}
	})
}

func TestSlowConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{MaxQueue: 100 << 10})
		c := rawDial(t, ha, b.addr)
		write(t, c, message("hello", 0))
		synctest.Wait()
		f := b.of("receive")[0].flow
		msg := []byte(message("x", 1000))
		sent := 0
		for len(b.failed()) == 0 && sent < 10000 {
			b.Send(Outgoing{Flow: f, Data: msg, NoDial: true, Fail: b.Fail})
			sent++
			synctest.Wait()
		}
		if octets := sent * len(msg); octets < 100<<10 || octets > 300<<10 {
			t.Errorf("closed after %d octets that nobody read", octets)
		}
		if n := b.counted(SlowConsumer); n != 1 {
			t.Errorf("counted %d slow consumers, want 1", n)
		}
		for _, err := range b.failed() {
			if !errors.Is(err, ErrSlowConsumer) {
				t.Errorf("failed with %v, want ErrSlowConsumer", err)
			}
		}
		if len(b.of("closed")) != 1 || b.Stats() != (Stats{}) {
			t.Errorf("%d closed, %+v left", len(b.of("closed")), b.Stats())
		}
		// What had left was not reported as failed.
		got, _ := io.ReadAll(c)
		unsent := 0
		for _, err := range b.failed() {
			if !errors.As(err, new(*LostError)) {
				unsent++
			}
		}
		if left := len(got) / len(msg); left+unsent != sent {
			t.Errorf("%d whole messages read and %d failed of %d", left, unsent, sent)
		}
		if lost := len(b.failed()) - unsent; lost == 0 || lost > sent-unsent {
			t.Errorf("%d of %d that were written are reported as perhaps lost", lost, sent-unsent)
		}
	})
	t.Run("one message", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
			b := newEnd(t, hb, addrB, sip.RoleGm, Config{})
			write(t, rawDial(t, ha, b.addr), message("hello", 0))
			synctest.Wait()
			f, begin := b.of("receive")[0].flow, time.Now()
			for range 70 { // more than the window, less than the queue
				b.Send(Outgoing{Flow: f, Data: []byte(message("x", 1000)), Fail: b.Fail})
			}
			time.Sleep(time.Minute)
			closed := b.of("closed")
			if len(closed) != 1 || closed[0].at.Sub(begin) != 10*time.Second {
				t.Errorf("a peer that does not read: closed %v, want once after 10 s", closed)
			}
			if errs := b.failed(); len(errs) == 0 || !errors.Is(errs[0], ErrSlowConsumer) {
				t.Errorf("failed with %v", errs)
			}
		})
	})
}

func TestLimits(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		hc, hd := n.Host("192.0.2.3"), n.Host("192.0.2.4")
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{MaxConns: 5, MaxConnsPerAddr: 3})
		closed := func(c net.Conn) bool {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, err := c.Read(make([]byte, 1))
			return err == io.EOF
		}
		var open []net.Conn
		for i := range 5 {
			c := rawDial(t, ha, b.addr)
			synctest.Wait()
			if got, want := closed(c), i >= 3; got != want {
				t.Errorf("connection %d of one address: closed %v, want %v", i+1, got, want)
			}
			open = append(open, c)
		}
		for i := range 3 {
			if got, want := closed(rawDial(t, hc, b.addr)), i >= 2; got != want {
				t.Errorf("connection %d in all: closed %v, want %v", i+4, got, want)
			}
		}
		if x, y := b.counted(AddrLimit), b.counted(ConnLimit); x != 2 || y != 1 {
			t.Errorf("counted %d by address and %d in all, want 2 and 1", x, y)
		}
		b.send(t, sip.TCP, sip.RoleGm, netip.AddrPortFrom(hd.Addrs()[0], 5060), message("a", 0))
		if errs := b.failed(); len(errs) != 1 || !errors.Is(errs[0], ErrTooManyConns) {
			t.Errorf("dialling at the limit: %v, want ErrTooManyConns", errs)
		}
		_ = open[0].Close()
		synctest.Wait()
		if closed(rawDial(t, ha, b.addr)) {
			t.Error("a place that became free is not given again")
		}
	})
}

func TestStrangersLeaveRoomToDial(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		a := newEnd(t, ha, addrA, sip.RoleCore, Config{})
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{MaxConns: 16})
		hc := n.Host("192.0.2.3")
		for range 20 {
			rawDial(t, hc, b.addr)
		}
		synctest.Wait()
		if n := b.Stats().Conns; n != 14 {
			t.Errorf("%d connections of strangers, want 14 of 16", n)
		}
		b.send(t, sip.TCP, sip.RoleGm, a.addr, message("a", 0))
		synctest.Wait()
		if len(a.received()) != 1 {
			t.Errorf("nothing can be dialled any more: %v", b.failed())
		}
	})
}

func TestTimeouts(t *testing.T) {
	t.Run("slow loris", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
			b := newEnd(t, hb, addrB, sip.RoleGm, Config{})
			c := rawDial(t, ha, b.addr)
			begin := time.Now()
			write(t, c, message("a", 0))
			for _, o := range []byte(message("b", 0)) {
				if _, err := c.Write([]byte{o}); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
			closed := b.of("closed")
			if len(closed) != 1 || closed[0].at.Sub(begin) != 30*time.Second {
				t.Errorf("closed %v, want once after 30 s", closed)
			}
			if n := b.counted(MessageTimeout); n != 1 {
				t.Errorf("counted %d, want 1", n)
			}
		})
	})
	t.Run("slow but in time", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
			b := newEnd(t, hb, addrB, sip.RoleGm, Config{})
			c := rawDial(t, ha, b.addr)
			m := message("a", 0)
			for range 5 { // each takes 20 s: it is the message that counts, not the connection
				write(t, c, m[:20])
				time.Sleep(20 * time.Second)
				write(t, c, m[20:])
			}
			synctest.Wait()
			if n := len(b.received()); n != 5 {
				t.Errorf("%d messages, want 5", n)
			}
		})
	})
	for _, tc := range []struct {
		name string
		role sip.Role
		cfg  Config
		want time.Duration // 0: not within a day
	}{
		{"idle", sip.RoleGm, Config{}, 3700 * time.Second},
		{"idle as configured", sip.RoleGm, Config{IdleTimeout: time.Minute}, time.Minute},
		{"idle by role", sip.RoleGm, Config{IdleTimeouts: map[sip.Role]time.Duration{sip.RoleGm: time.Hour}}, time.Hour},
		{"idle, never", sip.RoleGm, Config{IdleTimeout: -1}, 0},
		{"protected", sip.RoleProtectedServer, Config{}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
				b := newEnd(t, hb, addrB, tc.role, tc.cfg)
				c := rawDial(t, ha, b.addr)
				write(t, c, message("a", 0))
				time.Sleep(10 * time.Second)
				// A ping counts as traffic, and so does its answer.
				write(t, c, "\r\n\r\n")
				synctest.Wait()
				begin := time.Now()
				time.Sleep(24 * time.Hour)
				closed := b.of("closed")
				switch {
				case tc.want == 0 && len(closed) != 0:
					t.Errorf("closed after %s, want never", closed[0].at.Sub(begin))
				case tc.want != 0 && (len(closed) != 1 || closed[0].at.Sub(begin) != tc.want):
					t.Errorf("closed %v, want once after %s", closed, tc.want)
				}
			})
		})
	}
}

func TestAcceptBacksOff(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{})
		synctest.Wait()
		hb.FailAccepts(b.addr, 1000, syscall.EMFILE)
		time.Sleep(10 * time.Second)
		if n := b.counted(AcceptFailed); n < 5 || n > 25 {
			t.Errorf("failed %d times in 10 s, want some and no spinning", n)
		}
		hb.FailAccepts(b.addr, 0, nil)
		write(t, rawDial(t, ha, b.addr), message("a", 0))
		time.Sleep(2 * time.Second)
		if len(b.received()) != 1 {
			t.Error("not accepted once descriptors are free")
		}
	})
}

// Pongs cost a peer nothing to ask for; what it does not read must not pile up
// here, and pings alone are no reason to hold a megabyte for each connection.
func TestPingsOfOneWhoDoesNotRead(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{WriteTimeout: time.Hour})
		c := rawDial(t, ha, b.addr)
		write(t, c, message("hello", 0))
		synctest.Wait()
		f := b.of("receive")[0].flow
		for range 70 { // fills the window
			b.Send(Outgoing{Flow: f, Data: []byte(message("x", 1000))})
		}
		synctest.Wait()
		for range 1000 {
			write(t, c, "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n")
			synctest.Wait()
		}
		b.Transport.mu.Lock()
		conn := b.Transport.conns[f.Conn]
		b.Transport.mu.Unlock()
		conn.mu.Lock()
		defer conn.mu.Unlock()
		if len(conn.queue) > 200 {
			t.Errorf("%d messages wait for a peer that only pings", len(conn.queue))
		}
	})
}

// What is not admitted is neither read nor answered, and counted.
func TestAdmit(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		known := netip.MustParseAddrPort("192.0.2.2:7000")
		a := newEnd(t, ha, addrA, sip.RoleProtectedServer, Config{Admit: func(f sip.Flow) bool {
			return f.Role == sip.RoleProtectedServer && f.Local.String() == addrA && f.Remote == known
		}})
		for _, port := range []uint16{7000, 7001} {
			local := netip.AddrPortFrom(known.Addr(), port)
			pc, err := hb.ListenPacket(local)
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			if _, err := pc.WriteTo([]byte(message("udp", int(port))), net.UDPAddrFromAddrPort(a.addr)); err != nil {
				t.Fatal(err)
			}
			c, err := hb.Dial(t.Context(), local, a.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = c.Write([]byte(message("tcp", int(port)))) // may find it closed
			time.Sleep(time.Second)
		}
		if got := a.of("receive"); len(got) != 2 || got[0].flow.Remote != known || got[1].flow.Remote != known {
			t.Errorf("received %v, want one over each protocol from %v", got, known)
		}
		if n := a.counted(NotAdmitted); n != 2 {
			t.Errorf("%d dropped, want 2", n)
		}
		if n := a.Stats().Conns; n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}
