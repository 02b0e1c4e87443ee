package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
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

// Of several client ports the one that is asked for sends, and dials without
// listening.
func TestPickFrom(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		e := &end{recorder: newRecorder()}
		e.Transport = New(ha, Config{}, e.recorder)
		defer e.Close()
		first, second := netip.MustParseAddrPort("192.0.2.1:5100"), netip.MustParseAddrPort("192.0.2.1:5101")
		for _, a := range []netip.AddrPort{first, second} {
			if _, err := e.Listen(Listen{Addr: a, UDP: true, Role: sip.RoleProtectedClient}); err != nil {
				t.Fatal(err)
			}
		}
		b := newEnd(t, hb, addrB, sip.RoleProtectedServer, Config{})
		for _, local := range []netip.AddrPort{second, first, second} {
			for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
				f, ok := e.PickFrom(proto, sip.RoleProtectedClient, local, b.addr)
				if !ok || f.Local != local {
					t.Fatalf("asked for %s over %s, got %s, %v", local, proto, f, ok)
				}
				e.Send(Outgoing{Flow: f, Data: []byte(message("x", 0)), Fail: e.Fail})
				synctest.Wait()
				time.Sleep(time.Second)
				got := b.of("receive")
				if last := got[len(got)-1].flow; last.Remote != local || last.Proto != proto {
					t.Errorf("asked for %s over %s, arrived from %s", local, proto, last)
				}
			}
		}
		if b.Stats().Conns != 2 {
			t.Errorf("%d connections, want one from each port", b.Stats().Conns)
		}
		if _, ok := e.PickFrom(sip.UDP, sip.RoleProtectedClient, netip.MustParseAddrPort("192.0.2.1:5102"), b.addr); ok {
			t.Error("a port without socket was offered")
		}
	})
}

// lingerNet counts the connections whose end is to leave nothing behind.
type lingerNet struct {
	*memnet.Host
	forsaken *atomic.Int32
}

type lingerConn struct {
	net.Conn
	forsaken *atomic.Int32
}

func (n lingerNet) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	c, err := n.Host.Dial(ctx, local, remote)
	if err != nil {
		return nil, err
	}
	return lingerConn{c, n.forsaken}, nil
}

func (c lingerConn) SetLinger(sec int) error {
	if sec == 0 {
		c.forsaken.Add(1)
	}
	return nil
}

// A connection between protected ports that we had to end ourselves leaves no
// TIME_WAIT: the next one between the same four numbers must come up.
func TestProtectedConnectionLeavesItsPortsFree(t *testing.T) {
	conformance.Partly(t, "IP-16")
	for _, c := range []struct {
		name string
		role sip.Role
		peer bool // the peer ends it
		want int32
	}{
		{"we end it", sip.RoleProtectedClient, false, 1},
		{"the peer ends it", sip.RoleProtectedClient, true, 0},
		{"towards the core", sip.RoleCore, false, 0},
	} {
		bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
			forsaken := new(atomic.Int32)
			a := newEnd(t, lingerNet{ha, forsaken}, addrA, c.role, Config{})
			b := newEnd(t, hb, addrB, sip.RoleCore, Config{})
			f := a.send(t, sip.TCP, c.role, b.addr, message("x", 0))
			time.Sleep(time.Second)
			if c.peer {
				_ = b.Close()
			} else {
				a.EndConns(f.Local, b.addr)
			}
			time.Sleep(3 * time.Second)
			if got := forsaken.Load(); got != c.want {
				t.Errorf("%s: %d connections left without farewell, want %d", c.name, got, c.want)
			}
			if st := a.Stats(); st.Conns != 0 {
				t.Errorf("%s: %d connections left", c.name, st.Conns)
			}
		})
	}
}
