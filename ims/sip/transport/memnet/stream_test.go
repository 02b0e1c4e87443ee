package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// connect opens a connection between two new hosts.
func connect(t *testing.T, n *memnet.Network, l memnet.Link) (near, far net.Conn) {
	t.Helper()
	n.SetDefault(l)
	a, b := n.Host("192.0.2.1"), n.Host("192.0.2.2")
	ln, err := b.Listen(netip.MustParseAddrPort("192.0.2.2:5"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = a.Dial(t.Context(), netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.2:5")); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

// TestConn holds connections against what the net package asks of them.
func TestConn(t *testing.T) {
	for _, l := range []memnet.Link{{}, {Delay: time.Millisecond, Jitter: time.Millisecond, Segment: 100}} {
		nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
			n := memnet.New(1)
			a, b := connect(t, n, l)
			return a, b, func() { _ = a.Close(); _ = b.Close() }, nil
		})
	}
}

func TestStreamStaysInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := connect(t, memnet.New(3), memnet.Link{Delay: 5 * time.Millisecond, Jitter: 50 * time.Millisecond, Segment: 7})
		want := strings.Repeat("0123456789", 1000)
		begin := time.Now()
		if _, err := io.WriteString(near, want); err != nil {
			t.Fatal(err)
		}
		_ = near.Close()
		got, err := io.ReadAll(far)
		if string(got) != want || err != nil {
			t.Errorf("read %d octets, %v; in order %v", len(got), err, string(got) == want[:len(got)])
		}
		if d := time.Since(begin); d < 5*time.Millisecond || d > 55*time.Millisecond {
			t.Errorf("took %s", d)
		}
	})
}

func TestStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := connect(t, memnet.New(1), memnet.Link{Delay: time.Millisecond})
		_ = near.SetWriteDeadline(time.Now().Add(time.Second))
		begin := time.Now()
		wrote, err := near.Write(make([]byte, 1<<20))
		if wrote != 64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("wrote %d octets to a peer that does not read, %v after %s", wrote, err, time.Since(begin))
		}
		_ = near.SetWriteDeadline(time.Time{})
		go func() { _, _ = io.Copy(io.Discard, far) }()
		if wrote, err := near.Write(make([]byte, 1<<20)); wrote != 1<<20 || err != nil {
			t.Errorf("then, while it reads, wrote %d octets, %v", wrote, err)
		}
	})
}

func TestEndOfStream(t *testing.T) {
	for _, tc := range []struct {
		name      string
		end       func(n *memnet.Network, near, far net.Conn)
		read      string
		err       error // of the far end's read; nil is the plain end
		writeBack error // of the far end's writes, sooner or later
	}{
		{"close", func(_ *memnet.Network, near, _ net.Conn) { _ = near.Close() }, "before", nil, syscall.ECONNRESET},
		{"half close", func(_ *memnet.Network, near, _ net.Conn) { _ = near.(interface{ CloseWrite() error }).CloseWrite() }, "before", nil, nil},
		{"close with something unread", func(_ *memnet.Network, near, far net.Conn) {
			_, _ = io.WriteString(far, "unread")
			time.Sleep(time.Second)
			_ = near.Close()
		}, "before", syscall.ECONNRESET, syscall.ECONNRESET},
		{"cut", func(n *memnet.Network, near, _ net.Conn) {
			n.SetHook(func(memnet.Packet) memnet.Verdict { return memnet.Cut })
			_, _ = io.WriteString(near, "12345678")
		}, "before1234", syscall.ECONNRESET, syscall.ECONNRESET},
		{"lost", func(n *memnet.Network, near, _ net.Conn) {
			n.SetHook(func(memnet.Packet) memnet.Verdict { return memnet.Drop })
			_, _ = io.WriteString(near, "12345678")
		}, "before", syscall.ECONNRESET, syscall.ECONNRESET},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New(1)
				near, far := connect(t, n, memnet.Link{Delay: 10 * time.Millisecond})
				_, _ = io.WriteString(near, "before")
				tc.end(n, near, far)
				got, err := io.ReadAll(far)
				if string(got) != tc.read || !errors.Is(err, tc.err) {
					t.Errorf("read %q, %v; want %q, %v", got, err, tc.read, tc.err)
				}
				for range 3 {
					_, err = io.WriteString(far, "back")
					time.Sleep(time.Second)
				}
				if !errors.Is(err, tc.writeBack) {
					t.Errorf("wrote back with %v, want %v", err, tc.writeBack)
				}
			})
		})
	}
}

func TestDial(t *testing.T) {
	for _, tc := range []struct {
		name   string
		local  string
		remote string
		link   memnet.Link
		hook   memnet.Verdict
		want   error
		after  time.Duration
	}{
		{name: "accepted", remote: "192.0.2.2:5", after: 20 * time.Millisecond},
		{name: "from a port", local: "192.0.2.1:77", remote: "192.0.2.2:5", after: 20 * time.Millisecond},
		{name: "IPv6", remote: "[2001:db8::2]:5", after: 20 * time.Millisecond},
		{name: "nobody listens", remote: "192.0.2.2:6", want: syscall.ECONNREFUSED, after: 20 * time.Millisecond},
		{name: "refused", remote: "192.0.2.2:5", link: memnet.Link{Refuse: true}, want: syscall.ECONNREFUSED, after: 20 * time.Millisecond},
		{name: "refused by hook", remote: "192.0.2.2:5", hook: memnet.Refuse, want: syscall.ECONNREFUSED, after: 20 * time.Millisecond},
		{name: "unreachable", remote: "192.0.2.2:5", link: memnet.Link{Unreachable: true}, want: syscall.EHOSTUNREACH, after: 20 * time.Millisecond},
		{name: "no such host", remote: "192.0.2.9:5", want: syscall.EHOSTUNREACH, after: 20 * time.Millisecond},
		{name: "black hole", remote: "192.0.2.2:5", link: memnet.Link{Blackhole: true}, want: context.DeadlineExceeded, after: 3 * time.Second},
		{name: "dropped by hook", remote: "192.0.2.2:5", hook: memnet.Drop, want: context.DeadlineExceeded, after: 3 * time.Second},
		{name: "somebody else's address", local: "192.0.2.2:1", remote: "192.0.2.2:5", want: syscall.EADDRNOTAVAIL},
		{name: "mixed families", local: "192.0.2.1:1", remote: "[2001:db8::2]:5", want: syscall.EINVAL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New(1)
				a, b := n.Host("192.0.2.1", "2001:db8::1"), n.Host("192.0.2.2", "2001:db8::2")
				for _, s := range []string{"0.0.0.0:5", "[::]:5"} {
					l, err := b.Listen(netip.MustParseAddrPort(s))
					if err != nil {
						t.Fatal(err)
					}
					defer l.Close()
				}
				tc.link.Delay = 10 * time.Millisecond
				n.SetDefault(tc.link)
				n.SetHook(func(memnet.Packet) memnet.Verdict { return tc.hook })
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				var local netip.AddrPort
				if tc.local != "" {
					local = netip.MustParseAddrPort(tc.local)
				}
				begin := time.Now()
				c, err := a.Dial(ctx, local, netip.MustParseAddrPort(tc.remote))
				if !errors.Is(err, tc.want) || time.Since(begin) != tc.after {
					t.Fatalf("%v after %s, want %v after %s", err, time.Since(begin), tc.want, tc.after)
				}
				if err != nil {
					return
				}
				defer c.Close()
				if got := c.RemoteAddr().String(); got != tc.remote {
					t.Errorf("connected to %s", got)
				}
				if got := c.LocalAddr().String(); tc.local != "" && got != tc.local {
					t.Errorf("connected from %s", got)
				}
				if tc.local != "" {
					if _, err := a.Dial(ctx, local, netip.MustParseAddrPort(tc.remote)); !errors.Is(err, syscall.EADDRINUSE) {
						t.Errorf("the same four addresses again: %v", err)
					}
				}
			})
		})
	}
}

// An open connection survives a black hole, as TCP does; nothing is lost.
func TestBlackholeHoldsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		near, far := connect(t, n, memnet.Link{Delay: time.Millisecond})
		n.SetDefault(memnet.Link{Delay: time.Millisecond, Blackhole: true})
		for _, s := range []string{"a", "b", "c"} {
			_, _ = io.WriteString(near, s)
		}
		_ = far.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := far.Read(make([]byte, 9)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d octets through a black hole, %v", n, err)
		}
		n.SetDefault(memnet.Link{Delay: time.Millisecond})
		_ = far.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 3)
		if _, err := io.ReadFull(far, buf); err != nil || string(buf) != "abc" {
			t.Errorf("then read %q, %v", buf, err)
		}
	})
}

func TestHostReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := n.Host("192.0.2.1"), n.Host("192.0.2.2")
		ln, err := b.Listen(netip.MustParseAddrPort("192.0.2.2:5"))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := a.Dial(t.Context(), netip.MustParseAddrPort("192.0.2.1:7"), netip.MustParseAddrPort("192.0.2.2:5"))
		if err != nil {
			t.Fatal(err)
		}
		b.Reset()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %v from a host that was reset", err)
		}
		// Its ports are free again, and the listener lives.
		again, err := a.Dial(t.Context(), netip.MustParseAddrPort("192.0.2.1:7"), netip.MustParseAddrPort("192.0.2.2:5"))
		if err != nil {
			t.Fatal(err)
		}
		_ = again.Close()
		_ = c.Close()
	})
}
