package inproc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	goleak.VerifyTestMain(m)
}

// below is the kernel, with a count of what it carries.
type below struct {
	transport.Net
	datagrams, dials atomic.Int32
}

func newBelow() *below { return &below{Net: transport.Kernel()} }

func (b *below) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	pc, err := b.Net.ListenPacket(local)
	return counted{pc, b}, err
}

func (b *below) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	b.dials.Add(1)
	return b.Net.Dial(ctx, local, remote)
}

type counted struct {
	net.PacketConn
	below *below
}

func (c counted) WriteTo(b []byte, to net.Addr) (int, error) {
	c.below.datagrams.Add(1)
	return c.PacketConn.WriteTo(b, to)
}

// event is a call of a Handler.
type event struct {
	what string
	flow sip.Flow
	raw  string
}

// end is a function: a transport that tells what arrives.
type end struct {
	*transport.Transport
	addr   netip.AddrPort
	events chan event
	failed chan error
}

func (e *end) Receive(f sip.Flow, raw string) { e.events <- event{"receive", f, raw} }
func (e *end) Malformed(f sip.Flow, raw string, _ error) {
	e.send(f, "SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	e.events <- event{"malformed", f, raw}
}
func (e *end) Closed(f sip.Flow) { e.events <- event{what: "closed", flow: f} }

func (e *end) send(f sip.Flow, text string) {
	e.Send(transport.Outgoing{Flow: f, Data: []byte(text), Fail: func(err error) { e.failed <- err }})
}

func (e *end) next(t *testing.T, what string) event {
	t.Helper()
	select {
	case ev := <-e.events:
		if ev.what != what {
			t.Fatalf("%s of %q, want %s", ev.what, ev.raw, what)
		}
		return ev
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s, %d failures", what, len(e.failed))
	}
	return event{}
}

// freePort is an address of loopback that nobody has just now.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 50 {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := ln.Addr().String()
		pc, err := net.ListenPacket("udp4", at)
		if err == nil {
			_ = pc.Close()
		}
		_ = ln.Close()
		if err == nil {
			return netip.MustParseAddrPort(at)
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return netip.AddrPort{}
}

// start starts a function at a free address.
func start(t *testing.T, h *Hub, b transport.Net) *end {
	t.Helper()
	var err error
	for range 10 { // somebody else may take what has just been free
		var e *end
		if e, err = startAt(t, h, b, freePort(t)); err == nil {
			return e
		}
	}
	t.Fatal(err)
	return nil
}

func startAt(t *testing.T, h *Hub, b transport.Net, at netip.AddrPort) (*end, error) {
	t.Helper()
	e := &end{addr: at, events: make(chan event, 100), failed: make(chan error, 100)}
	e.Transport = transport.New(h.Net(b, at), transport.Config{}, e)
	t.Cleanup(func() { _ = e.Close() })
	_, err := e.Listen(transport.Listen{Addr: at, UDP: true, TCP: true, Role: sip.RoleCore})
	return e, err
}

func (e *end) to(t *testing.T, proto sip.Proto, remote netip.AddrPort) sip.Flow {
	t.Helper()
	f, ok := e.Pick(proto, sip.RoleCore, remote)
	if !ok {
		t.Fatalf("no flow to %v", remote)
	}
	return f
}

func request(n string) string {
	return "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK" + n + "\r\nContent-Length: 3000\r\n\r\n" + strings.Repeat("x", 3000)
}

const ok = "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"

// What one function sends to another stays in the process, under the addresses that
// it would have outside, and the answer goes back on the flow of the request.
func TestBetweenFunctions(t *testing.T) {
	for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			var h Hub
			b := newBelow()
			p, s := start(t, &h, b), start(t, &h, b)
			for _, n := range []string{"1", "2", "3"} {
				p.send(p.to(t, proto, s.addr), request(n))
			}
			for _, n := range []string{"1", "2", "3"} {
				got := s.next(t, "receive")
				if got.raw != request(n) {
					t.Errorf("message %s arrived as %.40q", n, got.raw)
				}
				if f := got.flow; f.Proto != proto || f.Local != s.addr || f.Remote.Addr() != p.addr.Addr() || (f.Remote == p.addr) != (proto == sip.UDP) {
					t.Errorf("it arrived on %v", f)
				}
				s.send(got.flow, ok)
				if back := p.next(t, "receive"); back.raw != ok || back.flow.Remote != s.addr {
					t.Errorf("%q came back on %v", back.raw, back.flow)
				}
			}
			if d, c := b.datagrams.Load(), b.dials.Load(); d+c != 0 {
				t.Errorf("%d datagrams and %d connections went over the network", d, c)
			}
		})
	}
}

// Whoever is not in the process, or is at an address that is not a function's own,
// is reached over the network, and reaches the functions over it.
func TestBeyond(t *testing.T) {
	for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			var h Hub
			b, others := newBelow(), newBelow()
			p := start(t, &h, b)
			far := start(t, new(Hub), others)
			gm := freePort(t)
			if _, err := p.Listen(transport.Listen{Addr: gm, UDP: true, TCP: true, Role: sip.RoleGm}); err != nil {
				t.Fatal(err)
			}
			s := start(t, &h, b)
			p.send(p.to(t, proto, far.addr), request("1"))
			far.next(t, "receive")
			far.send(far.to(t, proto, p.addr), request("2"))
			p.next(t, "receive")
			s.send(s.to(t, proto, gm), request("3"))
			if got := p.next(t, "receive"); got.flow.Role != sip.RoleGm {
				t.Errorf("it arrived on %v", got.flow)
			}
			want := [2]int32{2, 0}
			if proto == sip.TCP {
				want = [2]int32{0, 2}
			}
			if got := [2]int32{b.datagrams.Load(), b.dials.Load()}; got != want {
				t.Errorf("the network has carried %v datagrams and connections, want %v", got, want)
			}
		})
	}
}

// A function that ends is gone for the others as if it were a process, and there
// again when it has started again.
func TestRestart(t *testing.T) {
	var h Hub
	b := newBelow()
	p, s := start(t, &h, b), start(t, &h, b)
	p.send(p.to(t, sip.TCP, s.addr), request("1"))
	s.next(t, "receive")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p.next(t, "closed")
	select {
	case err := <-p.failed: // the request may not have been dealt with
		if lost := (*transport.LostError)(nil); !errors.As(err, &lost) {
			t.Errorf("failed with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the request on the connection is not known to be lost")
	}
	p.Send(transport.Outgoing{Flow: p.to(t, sip.TCP, s.addr), Insist: true, Data: []byte(request("2")), Fail: func(err error) { p.failed <- err }})
	select {
	case err := <-p.failed:
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("failed with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no failure")
	}
	s, err := startAt(t, &h, b, s.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
		p.Send(transport.Outgoing{Flow: p.to(t, proto, s.addr), Insist: true, Data: []byte(request("3")), Fail: func(err error) { p.failed <- err }})
		s.next(t, "receive")
	}
	if b.datagrams.Load() != 0 || b.dials.Load() != 1 {
		t.Errorf("%d datagrams and %d connections went over the network, want the one that was refused", b.datagrams.Load(), b.dials.Load())
	}
}

// What cannot be framed ends the connection after an answer, as on the network.
func TestUnframed(t *testing.T) {
	var h Hub
	b := newBelow()
	p, s := start(t, &h, b), start(t, &h, b)
	p.send(p.to(t, sip.TCP, s.addr), "OPTIONS sip:x SIP/2.0\r\nContent-Length: -1\r\n\r\n")
	s.next(t, "malformed")
	if got := p.next(t, "receive"); !strings.HasPrefix(got.raw, "SIP/2.0 400 ") {
		t.Errorf("the answer is %q", got.raw)
	}
	s.next(t, "closed")
	p.next(t, "closed")
}
