package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// loopbacks runs a test over each loopback address. Where the machine has no
// IPv6 the test is that listening says so, with the address.
func loopbacks(t *testing.T, f func(t *testing.T, addr string)) {
	t.Helper()
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			probe, err := net.Listen("tcp", addr)
			if err == nil {
				_ = probe.Close()
				f(t, addr)
				return
			}
			e := New(Kernel(), Config{}, newRecorder())
			defer e.Close()
			_, err = e.Listen(Listen{Addr: netip.MustParseAddrPort(addr), UDP: true, TCP: true})
			if err == nil || !strings.Contains(err.Error(), addr) {
				t.Errorf("listening on an address that cannot be had: %v, want an error with the address", err)
			}
		})
	}
}

func TestKernelBothProtocols(t *testing.T) {
	loopbacks(t, func(t *testing.T, addr string) {
		a := newEnd(t, Kernel(), addr, sip.RoleCore, Config{KeepAlive: time.Minute})
		b := newEnd(t, Kernel(), addr, sip.RoleGm, Config{})
		b.onArrival(func(what string, f sip.Flow, raw string) {
			if what == "receive" {
				b.Send(Outgoing{Flow: f, Data: []byte(raw), Fail: b.Fail})
			}
		})
		for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
			before := len(a.received())
			msgs := append(numbered(200), message("large", 60000))
			if proto == sip.UDP && b.addr.Addr().Is4() {
				msgs = append(msgs, message("largest", 65507-len(message("largest", 0))-4))
			}
			for i, m := range msgs {
				a.send(t, proto, sip.RoleCore, b.addr, m)
				if i%50 == 49 { // a burst, but within what a socket buffer surely holds
					a.await(t, "echo", func() bool { return len(a.received()) == before+i+1 })
				}
			}
			a.await(t, "echo", func() bool { return len(a.received()) == before+len(msgs) })
			if got := a.received()[before:]; !slices.Equal(got, msgs) {
				t.Errorf("%s: came back as %s", proto, short(got))
			}
			f := b.of("receive")[before].flow
			if f.Proto != proto || f.Local != b.addr || f.Remote.Addr() != a.addr.Addr() || (f.Conn != 0) != (proto == sip.TCP) {
				t.Errorf("%s: arrived on %s", proto, f)
			}
		}
		if errs := append(a.failed(), b.failed()...); errs != nil {
			t.Error(errs)
		}
	})
}

// closedPort returns an address of loopback where nobody listens.
func closedPort(t *testing.T, like netip.Addr) netip.AddrPort {
	t.Helper()
	pc, err := Kernel().ListenPacket(netip.AddrPortFrom(like, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	return addrPort(pc.LocalAddr())
}

// A datagram that finds nobody is reported to its sender, and does not hurt
// those sent before and after it to others on the same socket.
func TestKernelUnreachable(t *testing.T) {
	loopbacks(t, func(t *testing.T, addr string) {
		a := newEnd(t, Kernel(), addr, sip.RoleCore, Config{})
		b := newEnd(t, Kernel(), addr, sip.RoleCore, Config{})
		nobody := closedPort(t, a.addr.Addr())
		_, notified := a.listens[0].udp.pc.(UnreachableNotifier)
		var refused int
		for i := range 40 {
			a.send(t, sip.UDP, sip.RoleCore, b.addr, message("b", i))
			f, _ := a.Pick(sip.UDP, sip.RoleCore, nobody)
			a.Send(Outgoing{Flow: f, Data: []byte(message("n", i)), Fail: func(err error) {
				a.locked(func() {
					if errors.Is(err, syscall.ECONNREFUSED) {
						refused++
					}
				})
				a.tell()
			}})
		}
		b.await(t, "messages between refused ones", func() bool { return len(b.received()) == 40 })
		if notified { // Linux
			a.await(t, "refusals", func() bool { n := 0; a.locked(func() { n = refused }); return n == 40 })
		}
		if errs := a.failed(); errs != nil {
			t.Errorf("messages that arrived were reported: %v", errs)
		}
	})
}

func TestKernelRefused(t *testing.T) {
	loopbacks(t, func(t *testing.T, addr string) {
		a := newEnd(t, Kernel(), addr, sip.RoleCore, Config{})
		nobody := closedPort(t, a.addr.Addr())
		a.send(t, sip.TCP, sip.RoleCore, nobody, message("a", 0))
		a.await(t, "refusal", func() bool { return len(a.failed()) == 1 })
		if err := a.failed()[0]; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("failed with %v", err)
		}
		if !a.Refused(sip.RoleCore, netip.AddrPort{}, nobody) {
			t.Error("not remembered")
		}
	})
}

// A port that listens can be the source of connections to several remotes, but
// no second socket can listen on it.
func TestKernelDialsFromListeningPort(t *testing.T) {
	loopbacks(t, func(t *testing.T, addr string) {
		a := newEnd(t, Kernel(), addr, sip.RoleProtectedClient, Config{})
		for range 2 {
			b := newEnd(t, Kernel(), addr, sip.RoleProtectedServer, Config{})
			a.send(t, sip.TCP, sip.RoleProtectedClient, b.addr, message("a", 0))
			b.await(t, "message", func() bool { return len(b.received()) == 1 })
			if f := b.of("receive")[0].flow; f.Remote != a.addr {
				t.Errorf("arrived from %s, want %s", f.Remote, a.addr)
			}
		}
		c, err := Kernel().Dial(t.Context(), netip.AddrPort{}, a.addr)
		if err != nil {
			t.Fatalf("the listening port no longer accepts: %v", err)
		}
		defer c.Close()
		write(t, c, message("in", 0))
		a.await(t, "message", func() bool { return len(a.received()) == 1 })
		for _, l := range []Listen{{a.addr, false, true, sip.RoleGm}, {a.addr, true, false, sip.RoleGm}} {
			if _, err := a.Listen(l); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a second socket on %s: %v, want address in use", l, err)
			}
		}
	})
}

func TestKernelDialHonoursItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := Kernel().Dial(ctx, netip.AddrPort{}, netip.MustParseAddrPort("127.0.0.1:9"))
	if err == nil {
		_ = c.Close()
		t.Fatal("dialled with a cancelled context")
	}
	if blamesRemote(err) {
		t.Errorf("%v is held against the remote", err)
	}
}

// plain hides what the kernel's socket offers beyond net.PacketConn, like a
// stack in user space or a system without recvmmsg.
type plain struct{ kernel }

type plainConn struct{ net.PacketConn }

func (p plain) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	pc, err := p.kernel.ListenPacket(local)
	return plainConn{pc}, err
}

func TestPlainPacketConn(t *testing.T) {
	a := newEnd(t, plain{}, "127.0.0.1:0", sip.RoleCore, Config{})
	msgs := numbered(50)
	for _, m := range msgs {
		a.send(t, sip.UDP, sip.RoleCore, a.addr, m)
	}
	a.await(t, "messages", func() bool { return len(a.received()) == len(msgs) })
	if got := a.received(); !slices.Equal(got, msgs) {
		t.Errorf("arrived %s", short(got))
	}
}

// A connection of the kernel's ends as others do: with io.EOF where the peer has
// ended, with net.ErrClosed where we have, and at its deadline.
func TestDirectEnds(t *testing.T) {
	l, err := Kernel().Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := Kernel().Dial(t.Context(), netip.AddrPort{}, addrPort(l.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	var b [8]byte
	_ = accepted.SetReadDeadline(time.Now().Add(time.Millisecond))
	if n, err := accepted.Read(b[:]); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: %d, %v", n, err)
	}
	_ = accepted.SetReadDeadline(time.Time{})
	// More than the kernel holds: the writer waits until the peer reads.
	const much = 16 << 20
	wrote := make(chan error, 1)
	go func() {
		n, err := dialled.Write(make([]byte, much))
		if err == nil && n != much {
			err = io.ErrShortWrite
		}
		wrote <- err
	}()
	if n, err := io.CopyN(io.Discard, accepted, much); err != nil {
		t.Errorf("%d of %d octets came: %v", n, much, err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("writing them: %v", err)
	}
	_ = dialled.Close()
	if n, err := accepted.Read(b[:]); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("behind the peer's end: %d, %v", n, err)
	}
	_ = accepted.Close()
	if n, err := accepted.Read(b[:]); n != 0 || !isClosed(err) {
		t.Errorf("behind our own: %d, %v", n, err)
	}
	if n, err := dialled.Write(b[:]); n != 0 || !isClosed(err) {
		t.Errorf("writing behind our own end: %d, %v", n, err)
	}
}

// A request may be as long as the path takes where that does not leave the machine,
// and is kept short where nobody knows, or ESP makes it longer.
func TestMaxDatagram(t *testing.T) {
	local := netip.MustParseAddr("192.0.2.1")
	own := New(Kernel(), Config{}, newRecorder())
	defer own.Close()
	other := New(struct{ Net }{Kernel()}, Config{}, newRecorder())
	defer other.Close()
	for _, c := range []struct {
		name   string
		tr     *Transport
		role   sip.Role
		remote string
		short  bool
	}{
		{"loopback", own, sip.RoleCore, "127.0.0.2", false},
		{"the machine's own address", own, sip.RoleGm, "192.0.2.1", false},
		{"another machine", own, sip.RoleCore, "192.0.2.2", true},
		{"ESP", own, sip.RoleProtectedClient, "127.0.0.2", true},
		{"a network that knows nothing", other, sip.RoleCore, "127.0.0.2", true},
	} {
		got := c.tr.MaxDatagram(sip.Flow{
			Role: c.role, Local: netip.AddrPortFrom(local, 5060), Remote: netip.AddrPortFrom(netip.MustParseAddr(c.remote), 5060),
		})
		if want := min(max(loopbackMTU()-200, 1300), 65507); !c.short && got != want || c.short && got != 1300 {
			t.Errorf("%s: %d octets", c.name, got)
		}
	}
}
