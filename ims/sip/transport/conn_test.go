package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestStreamFraming(t *testing.T) {
	conformance.Shows(t, "TR-09")
	msgs := numbered(20)
	for _, segment := range []int{0, 1, 100, 1460} {
		bubble(t, func(t *testing.T, n *memnet.Network, a, b *memnet.Host) {
			n.SetDefault(memnet.Link{Delay: time.Millisecond, Segment: segment})
			e := newEnd(t, b, addrB, sip.RoleGm, Config{})
			write(t, rawDial(t, a, e.addr), strings.Join(msgs, ""))
			synctest.Wait()
			time.Sleep(time.Second)
			if got := e.received(); !slices.Equal(got, msgs) {
				t.Errorf("segments of %d octets gave %s, want %s", segment, short(got), short(msgs))
			}
		})
	}
	bubble(t, func(t *testing.T, n *memnet.Network, a, b *memnet.Host) {
		e := newEnd(t, b, addrB, sip.RoleGm, Config{})
		const answer = "SIP/2.0 400 Missing Content-Length\r\nContent-Length: 0\r\n\r\n"
		e.onArrival(func(what string, f sip.Flow, _ string) {
			if what == "malformed" {
				e.Send(Outgoing{Flow: f, Data: []byte(answer), Fail: e.Fail})
			}
		})
		c := rawDial(t, a, e.addr)
		bad := strings.Replace(msgs[1], "Content-Length: 100\r\n", "", 1)
		write(t, c, msgs[0]+bad+msgs[2])
		got, err := io.ReadAll(c)
		if err != nil || string(got) != answer {
			t.Errorf("the sender of a message without Content-Length read %q, %v; want the 400 and the end", got, err)
		}
		synctest.Wait()
		_ = c.Close()
		synctest.Wait()
		if got := e.received(); !slices.Equal(got, msgs[:1]) {
			t.Errorf("handed on %s, want the first message alone", short(got))
		}
		if m := e.of("malformed"); len(m) != 1 || !strings.HasPrefix(m[0].raw, bad) {
			t.Errorf("malformed: %v, want one that starts with the bad message", m)
		}
		if len(e.of("closed")) != 1 || e.Stats().Conns != 0 {
			t.Errorf("%d closed, %d connections left; want 1 and 0", len(e.of("closed")), e.Stats().Conns)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	conformance.Shows(t, "TR-10")
	bubble(t, func(t *testing.T, n *memnet.Network, a, b *memnet.Host) {
		e := newEnd(t, b, addrB, sip.RoleGm, Config{})
		c := rawDial(t, a, e.addr)
		read := func() string {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			got, _ := io.ReadAll(c)
			return string(got)
		}
		for _, tc := range []struct{ name, in, want string }{
			{"ping", "\r\n\r\n", "\r\n"},
			{"two pings", "\r\n\r\n\r\n\r\n", "\r\n\r\n"},
			{"ping before a message", "\r\n\r\n" + message("a", 3), "\r\n"},
			{"ping behind a message", message("b", 3) + "\r\n\r\n", "\r\n"},
			{"pong", "\r\n", ""},
			{"second half of a ping", "\r\n", "\r\n"},
		} {
			write(t, c, tc.in)
			if got := read(); got != tc.want {
				t.Errorf("%s: answered %q, want %q", tc.name, got, tc.want)
			}
		}
		if got := e.received(); len(got) != 2 {
			t.Errorf("handed on %q, want the two messages", got)
		}
	})
	bubble(t, func(t *testing.T, n *memnet.Network, a, b *memnet.Host) {
		// Over UDP keep-alive is STUN's (RFC 5626 §4.4.2): CRLF is not answered.
		e := newEnd(t, b, addrB, sip.RoleGm, Config{})
		pc, err := a.ListenPacket(netip.MustParseAddrPort(addrA))
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		ping, to := "\r\n\r\n", net.UDPAddrFromAddrPort(e.addr)
		for _, d := range []string{ping, "\x00", "jaK", "\r\n" + message("a", 0), "\x00\x01\x00\x00\x21\x12\xa4\x42" + strings.Repeat("i", 12)} {
			if _, err := pc.WriteTo([]byte(d), to); err != nil {
				t.Fatal(err)
			}
		}
		_ = pc.SetReadDeadline(time.Now().Add(time.Second))
		if n, _, err := pc.ReadFrom(make([]byte, 100)); err == nil {
			t.Errorf("UDP keep-alive was answered with %d octets", n)
		}
		if got := e.received(); !slices.Equal(got, []string{message("a", 0)}) {
			t.Errorf("handed on %q, want the one message without the line end before it", got)
		}
		if k, s := e.counted(KeepAlive), e.counted(NotSIP); k != 3 || s != 1 {
			t.Errorf("counted %d keep-alives and %d not SIP, want 3 and 1", k, s)
		}
	})
}

// Requests in both directions and responses share the connection that is there.
func TestConnectionIsUsedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		n.SetDefault(memnet.Link{Delay: 10 * time.Millisecond})
		a, b := newEnd(t, ha, addrA, sip.RoleCore, Config{}), newEnd(t, hb, addrB, sip.RoleCore, Config{})
		msgs := numbered(5)
		for _, m := range msgs { // all but the first while it is dialled
			a.send(t, sip.TCP, sip.RoleCore, b.addr, m)
		}
		time.Sleep(time.Second)
		if got := b.received(); !slices.Equal(got, msgs) {
			t.Fatalf("arrived %s, want %s", short(got), short(msgs))
		}
		in := b.of("receive")[0].flow
		if in.Proto != sip.TCP || in.Role != sip.RoleCore || in.Local != b.addr || in.Conn == 0 || in.Remote.Addr() != a.addr.Addr() {
			t.Errorf("arrived on %s", in)
		}
		b.Send(Outgoing{Flow: in, Data: []byte("SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"), Fail: b.Fail})
		back := b.send(t, sip.TCP, sip.RoleCore, in.Remote, msgs[0])
		if back != in {
			t.Errorf("a request to the peer's port takes %s, want the open connection %s", back, in)
		}
		time.Sleep(time.Second)
		if got := a.received(); len(got) != 2 || got[1] != msgs[0] {
			t.Errorf("the dialler received %q", got)
		}
		if a.Stats().Conns != 1 || b.Stats().Conns != 1 {
			t.Errorf("%d and %d connections, want one", a.Stats().Conns, b.Stats().Conns)
		}
	})
}

// With a fixed source port each phone's request leaves on its own connection.
func TestFixedLocalPort(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		hc := n.Host("192.0.2.3")
		a := newEnd(t, ha, addrA, sip.RoleProtectedClient, Config{})
		b, c := newEnd(t, hb, addrB, sip.RoleProtectedServer, Config{}), newEnd(t, hc, "192.0.2.3:5060", sip.RoleProtectedServer, Config{})
		for i, to := range []*end{b, c, b, c} {
			f := a.send(t, sip.TCP, sip.RoleProtectedClient, to.addr, message(string(rune('a'+i)), 0))
			if f.Local != a.addr {
				t.Errorf("a protected client flow leaves from %s, want %s", f.Local, a.addr)
			}
			synctest.Wait()
		}
		for i, to := range []*end{b, c} {
			got := to.of("receive")
			if len(got) != 2 || !strings.Contains(got[0].raw, "Call-ID: "+string(rune('a'+i))) {
				t.Errorf("%s received %v, want its own two messages", to.addr, got)
				continue
			}
			if got[0].flow.Remote != a.addr || got[0].flow.Conn != got[1].flow.Conn {
				t.Errorf("arrived on %s and %s, want one connection from %s", got[0].flow, got[1].flow, a.addr)
			}
		}
		if errs := a.failed(); errs != nil {
			t.Error(errs)
		}
	})
}

func TestConnectionGone(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		a, b := newEnd(t, ha, addrA, sip.RoleGm, Config{}), newEnd(t, hb, addrB, sip.RoleGm, Config{})
		c, err := ha.Dial(t.Context(), netip.AddrPort{}, b.addr)
		if err != nil {
			t.Fatal(err)
		}
		write(t, c, message("request", 0))
		synctest.Wait()
		f := b.of("receive")[0].flow
		_ = c.Close()
		synctest.Wait()
		if closed := b.of("closed"); len(closed) != 1 || closed[0].flow != f {
			t.Errorf("closed: %v, want %s once", closed, f)
		}

		b.Send(Outgoing{Flow: f, Data: []byte(message("first", 0)), NoDial: true, Fail: b.Fail})
		if errs := b.failed(); len(errs) != 1 || !errors.Is(errs[0], ErrConnGone) {
			t.Errorf("without dialling: %v, want ErrConnGone", errs)
		}
		f.Remote = a.addr // where sent-by says (RFC 3261 §18.2.2)
		b.Send(Outgoing{Flow: f, Data: []byte(message("second", 0)), Fail: b.Fail})
		synctest.Wait()
		got := a.of("receive")
		if len(got) != 1 || got[0].raw != message("second", 0) {
			t.Fatalf("the sent-by received %v", got)
		}
		if r := got[0].flow.Remote; r.Addr() != b.addr.Addr() || r.Port() == b.addr.Port() {
			t.Errorf("dialled from %s, want another port of %s than the ended connection's", r, b.addr.Addr())
		}
	})
}

func TestConnectionNumbersAreNotUsedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{})
		for range 50 {
			// The same four addresses each time.
			c, err := ha.Dial(t.Context(), netip.MustParseAddrPort(addrA), b.addr)
			if err != nil {
				t.Fatal(err)
			}
			write(t, c, message("a", 0))
			synctest.Wait()
			_ = c.Close()
			synctest.Wait()
		}
		seen := map[uint64]bool{}
		for _, a := range b.of("receive") {
			seen[a.flow.Conn] = true
		}
		if len(seen) != 50 {
			t.Errorf("%d numbers for 50 connections", len(seen))
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
				if !a.Refused(sip.RoleCore, b.addr) || a.Refused(sip.RoleGm, b.addr) {
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
				if a.Refused(sip.RoleCore, b.addr) {
					t.Error("the refusal is remembered though a connection came up")
				}
			})
		})
	}
	t.Run("forgotten in time", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
			a := newEnd(t, ha, addrA, sip.RoleCore, Config{RefusalTTL: 10 * time.Second})
			to := netip.MustParseAddrPort(addrB)
			a.send(t, sip.TCP, sip.RoleCore, to, message("a", 0))
			synctest.Wait()
			time.Sleep(10*time.Second - 1)
			if !a.Refused(sip.RoleCore, to) {
				t.Error("forgotten too early")
			}
			time.Sleep(1)
			if a.Refused(sip.RoleCore, to) {
				t.Error("remembered for too long")
			}
		})
	})
	t.Run("bounded", func(t *testing.T) {
		r := refusals{ttl: time.Minute, max: 10}
		for i := range 100 {
			r.add(peer{remote: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), uint16(i+1))}, syscall.ECONNREFUSED)
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
		if left := len(got) / len(msg); left+len(b.failed()) != sent {
			t.Errorf("%d whole messages read and %d failed of %d", left, len(b.failed()), sent)
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

// A connection that breaks in the middle of a write: what left entirely is not
// reported, the rest is, once each, and the next message dials anew.
func TestCutMidMessage(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		a, b := newEnd(t, ha, addrA, sip.RoleCore, Config{}), newEnd(t, hb, addrB, sip.RoleCore, Config{})
		a.send(t, sip.TCP, sip.RoleCore, b.addr, message("first", 0))
		synctest.Wait()
		n.SetHook(func(p memnet.Packet) memnet.Verdict {
			if p.Kind == memnet.Segment && strings.Contains(string(p.Data), "second") {
				return memnet.Cut
			}
			return memnet.Pass
		})
		a.send(t, sip.TCP, sip.RoleCore, b.addr, message("second", 500))
		synctest.Wait()
		if got := b.received(); !slices.Equal(got, []string{message("first", 0)}) {
			t.Errorf("handed on %s, want the whole message alone", short(got))
		}
		if len(a.of("closed")) != 1 || len(b.of("closed")) != 1 {
			t.Errorf("closed %d and %d times, want once at each end", len(a.of("closed")), len(b.of("closed")))
		}
		a.send(t, sip.TCP, sip.RoleCore, b.addr, message("third", 0))
		synctest.Wait()
		if got := b.received(); len(got) != 2 || got[1] != message("third", 0) {
			t.Errorf("after the cut %s arrived, want the third", short(got))
		}
	})
}

func TestHalfClose(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		n.SetDefault(memnet.Link{Delay: 10 * time.Millisecond})
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{})
		b.onArrival(func(what string, f sip.Flow, raw string) {
			if what == "receive" {
				b.Send(Outgoing{Flow: f, Data: []byte(raw), Fail: b.Fail})
			}
		})
		c := rawDial(t, ha, b.addr)
		write(t, c, message("a", 9))
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if string(got) != message("a", 9) || err != nil {
			t.Errorf("read %q, %v after finishing to write; want what was queued, then the end", got, err)
		}
		time.Sleep(time.Second)
		if len(b.of("closed")) != 1 {
			t.Error("not closed after the peer finished")
		}
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

func TestCloseFailsWhatIsQueued(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		a := newEnd(t, ha, addrA, sip.RoleCore, Config{})
		n.SetLink("192.0.2.1", "192.0.2.2", memnet.Link{Blackhole: true})
		for range 3 {
			a.send(t, sip.TCP, sip.RoleCore, netip.MustParseAddrPort(addrB), message("a", 0))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := a.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain with messages stuck: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		a.Send(Outgoing{Flow: sip.Flow{Proto: sip.UDP, Local: a.addr, Remote: a.addr}, Data: []byte("x"), Fail: a.Fail})
		errs := a.failed()
		if len(errs) != 4 {
			t.Errorf("%d failures, want 4", len(errs))
		}
		for _, err := range errs {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("failed with %v, want ErrClosed", err)
			}
		}
		if _, err := a.Listen(Listen{Addr: a.addr, UDP: true}); !errors.Is(err, ErrClosed) {
			t.Errorf("Listen after Close: %v", err)
		}
	})
}

func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		n.SetDefault(memnet.Link{Delay: 100 * time.Millisecond})
		a, b := newEnd(t, ha, addrA, sip.RoleCore, Config{}), newEnd(t, hb, addrB, sip.RoleCore, Config{})
		msgs := numbered(100)
		for _, m := range msgs {
			a.send(t, sip.TCP, sip.RoleCore, b.addr, m)
		}
		if err := a.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := b.received(); !slices.Equal(got, msgs) {
			t.Errorf("after Drain and Close %d of %d messages arrived", len(got), len(msgs))
		}
		if _, err := hb.Dial(t.Context(), netip.AddrPort{}, a.addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connecting to what has drained: %v", err)
		}
	})
}
