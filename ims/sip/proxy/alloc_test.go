package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

// What is measured here is the way from a datagram in a reader's buffer to the
// datagram for the writer: index, validation, shard, transaction, §16.3, route
// preprocessing, the handler, edits, client transaction, the bytes. The sockets
// are those of transport and measured there.

// sink is a memory sender: it keeps what was sent last.
type sink struct {
	mu    sync.Mutex
	last  []byte
	count atomic.Int64
}

func (s *sink) Send(_ sip.Flow, data []byte, _ func(error)) {
	s.mu.Lock()
	s.last = append(s.last[:0], data...)
	s.mu.Unlock()
	s.count.Add(1)
}

func (s *sink) message(t testing.TB) *sip.Message {
	t.Helper()
	s.mu.Lock()
	raw := string(s.last)
	s.mu.Unlock()
	m, err := sip.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// idleNet has sockets on which nothing ever happens.
type idleNet struct{}

type idleSocket struct {
	addr netip.AddrPort
	done chan struct{}
}

func (idleNet) ListenPacket(a netip.AddrPort) (net.PacketConn, error) {
	return &idleSocket{a, make(chan struct{})}, nil
}
func (idleNet) Listen(netip.AddrPort) (net.Listener, error) { return nil, errors.ErrUnsupported }
func (idleNet) Dial(context.Context, netip.AddrPort, netip.AddrPort) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}
func (s *idleSocket) ReadFrom([]byte) (int, net.Addr, error) {
	<-s.done
	return 0, nil, net.ErrClosed
}
func (s *idleSocket) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }
func (s *idleSocket) Close() error                              { close(s.done); return nil }
func (s *idleSocket) LocalAddr() net.Addr                       { return net.UDPAddrFromAddrPort(s.addr) }
func (s *idleSocket) SetDeadline(time.Time) error               { return nil }
func (s *idleSocket) SetReadDeadline(time.Time) error           { return nil }
func (s *idleSocket) SetWriteDeadline(time.Time) error          { return nil }

// rig is a core whose way out is memory.
type rig struct {
	core *Core
	sink *sink
	flow sip.Flow
	n    int
}

func newRig(t testing.TB, h Handler) *rig {
	t.Helper()
	s := new(sink)
	r := newRigTo(t, h, s)
	r.sink = s
	return r
}

func newRigTo(t testing.TB, h Handler, out transaction.Sender) *rig {
	t.Helper()
	r := new(rig)
	addr := netip.MustParseAddrPort("192.0.2.1:5060")
	c, err := build(Config{
		Net: idleNet{}, Shards: 1, Listen: []transport.Listen{{Addr: addr, UDP: true, Role: sip.RoleCore}},
		Observer: &listener{deaf: true}, // as a service has that nobody watches
	}, h, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r.core = c
	r.flow = sip.Flow{Role: sip.RoleCore, Local: addr, Remote: netip.MustParseAddrPort("192.0.2.7:5060")}
	return r
}

// datagram is a request as one proxy sends it to the next, in a reader's buffer.
func (r *rig) datagram(buf []byte, method, more string) []byte {
	r.n++
	buf = append(buf[:0], method...)
	buf = append(buf, " sip:+15550001@ims.test;user=phone SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKa"...)
	buf = strconv.AppendInt(buf, int64(r.n), 10)
	buf = append(buf, "\r\nVia: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bKphone;rport=5060\r\nRoute: <sip:orig@192.0.2.1;lr>, <sip:192.0.2.9:5060;lr>\r\n"+
		"Max-Forwards: 69\r\nFrom: <sip:+15550002@ims.test>;tag=a1\r\nTo: <sip:+15550001@ims.test;user=phone>"...)
	buf = strconv.AppendInt(append(buf, "\r\nCall-ID: c"...), int64(r.n), 10)
	buf = append(append(buf, "@10.0.0.5\r\nCSeq: 1 "...), method...)
	buf = append(buf, "\r\nP-Asserted-Identity: <sip:+15550002@ims.test>\r\nP-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010000001\r\n"+
		"P-Charging-Vector: icid-value=\"abc\";orig-ioi=ims.test\r\nContact: <sip:+15550002@10.0.0.5:5060>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"\r\n"+
		"Supported: 100rel, timer, precondition\r\nAllow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, MESSAGE\r\nAccept: application/sdp\r\nUser-Agent: phone\r\n"...)
	buf = append(buf, more...)
	return append(buf, "Content-Length: 0\r\n\r\n"...)
}

type handlerFunc func(x *Exchange)

func (f handlerFunc) Request(x *Exchange) { f(x) }

// forward passes a request through.
func (r *rig) forward(buf []byte, method string) {
	in := r.datagram(buf, method, "")
	receiver{r.core}.Receive(r.flow, string(in))
	synctest.Wait()
}

// warm forwards and answers n requests and lets their transactions end, after
// which the layer has records to reuse, as it has under steady load.
func (r *rig) warm(t testing.TB, buf []byte, method string, n int) {
	t.Helper()
	var out []*sip.Message
	for range n {
		r.forward(buf, method)
		out = append(out, r.sink.message(t))
	}
	for _, m := range out {
		receiver{r.core}.Receive(r.flow, string(sip.NewResponse(m, 404, "", "x").Bytes()))
		synctest.Wait()
	}
	time.Sleep(2 * time.Minute)
	if st := r.core.Stats().Transaction; st.Servers+st.Clients != 0 {
		t.Fatalf("transactions left: %+v", st)
	}
}

// The budget: at most 7 allocations from datagram to datagram, and so many octets, with
// what is kept to be sent again, as no answer comes.
func TestForwardAllocations(t *testing.T) {
	for _, tt := range []struct {
		method string
		own    *Own
		limit  float64
		octets uint64 // the test's own 2 kB or so included
	}{
		{"MESSAGE", nil, 7, 5750},
		{"BYE", nil, 7, 5750},
		{"SUBSCRIBE", &Own{User: "orig"}, 7, 5900},
		{"INVITE", &Own{User: "orig"}, 7, 6300},
	} {
		t.Run(tt.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, handlerFunc(func(x *Exchange) {
					x.Edits.Set(sip.HPChargingVector, `icid-value="abc"`)
					x.Forward(Target{RecordRoute: tt.own})
				}))
				buf := make([]byte, 0, 4096)
				r.warm(t, buf, tt.method, 500)
				own := testing.AllocsPerRun(100, func() { synctest.Wait() })
				got := testing.AllocsPerRun(200, func() { r.forward(buf, tt.method) }) - own
				const n = 1000
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range n {
					r.forward(buf, tt.method)
				}
				runtime.ReadMemStats(&after)
				octets := (after.TotalAlloc - before.TotalAlloc) / n
				t.Logf("%s: %.1f allocations, %d octets", tt.method, got, octets)
				if got > tt.limit+lostByPools {
					t.Errorf("forwarding %s takes %.1f allocations, want at most %.0f", tt.method, got, tt.limit)
				}
				if octets > tt.octets && lostByPools == 0 {
					t.Errorf("forwarding %s takes %d octets, want at most %d", tt.method, octets, tt.octets)
				}
			})
		})
	}
}

// BenchmarkForward is a request there and its response back.
func BenchmarkForward(b *testing.B) {
	r := newRig(b, handlerFunc(func(x *Exchange) { x.Forward() }))
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		in := r.datagram(buf, "MESSAGE", "")
		sent := r.sink.count.Load()
		receiver{r.core}.Receive(r.flow, string(in))
		for r.sink.count.Load() == sent {
			runtime.Gosched()
		}
		m := r.sink.message(b)
		receiver{r.core}.Receive(r.flow, string(sip.NewResponse(m, 200, "", "x").Bytes()))
		for r.sink.count.Load() == sent+1 {
			runtime.Gosched()
		}
	}
}
