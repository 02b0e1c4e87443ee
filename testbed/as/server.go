package as

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/trace"
)

// maxDatagram is what a datagram can hold; sipgo has other bounds for reading and
// for writing.
const maxDatagram = 65535

// unbound sets what sipgo has once for a process: it lifts the bounds on datagrams,
// and silences connections, which do not know their server's log and complain about
// each end of a stream.
var unbound = sync.OnceFunc(func() {
	sip.UDPMTUSize = maxDatagram + 200
	sip.TransportBufferReadSize = maxDatagram
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
})

// maxBusy bounds the requests that are worked on at once.
const maxBusy = 4096

// Server is an application server. Its methods may be called from any goroutine.
type Server struct {
	cfg  Config
	deps node.Deps
	log  *slog.Logger // for sipgo

	udp  net.PacketConn
	tcp  net.Listener
	addr netip.AddrPort
	tp   *sip.TransportLayer

	// datagram is the one that sipgo parses now. Only the goroutine that reads the
	// one UDP socket touches it.
	datagram string

	seen    *records
	metric  *prometheus.CounterVec
	limited node.Limited

	// ctx ends when what waits shall give up; wg counts who does.
	ctx   context.Context
	halt  context.CancelFunc
	wg    sync.WaitGroup
	busy  atomic.Int64
	ready atomic.Bool

	mu     sync.Mutex
	closed bool
	ins    map[string]*incoming // server transactions
	outs   map[string]*outgoing // client transactions
	pairs  map[string]end       // dialogs of a B2BUA, both ends
	calls  map[string]*call     // dialogs of a terminating UA
}

var _ node.Service = (*Server)(nil)

// New opens the sockets. Run or Close must follow.
func New(cfg Config, deps node.Deps) (*Server, error) {
	unbound()
	cfg.fill()
	at, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("application server: %w", err)
	}
	if deps.Log == nil {
		deps.Log = zap.NewNop()
	}
	s := &Server{
		cfg: cfg, deps: deps, seen: newRecords(cfg.Keep),
		ins: make(map[string]*incoming), outs: make(map[string]*outgoing),
		pairs: make(map[string]end), calls: make(map[string]*call),
		metric: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocscf_as_requests_total", Help: "SIP requests received, without retransmissions, by method.",
		}, []string{"method"}),
	}
	if err := s.open(at); err != nil {
		return nil, err
	}
	if deps.Metrics != nil {
		deps.Metrics.MustRegister(s.metric)
	}
	s.ctx, s.halt = context.WithCancel(context.Background())
	s.log = slog.New(terse{zapslog.NewHandler(deps.Log.Core(), zapslog.WithName(deps.Log.Name()+".sipgo"))})
	s.tp = sip.NewTransportLayer(net.DefaultResolver, newParser(), nil,
		sip.WithTransportLayerLogger(s.log), sip.WithTransportLayerReadFilter(s.filter))
	s.tp.OnMessage(s.onMessage)
	return s, nil
}

// open takes one port for UDP and TCP.
func (s *Server) open(at netip.AddrPort) error {
	var err error
	for range 20 { // a free UDP port may be taken for TCP
		if s.udp, err = net.ListenPacket("udp", at.String()); err != nil {
			return fmt.Errorf("application server: opening the UDP port: %w", err)
		}
		s.addr = s.udp.LocalAddr().(*net.UDPAddr).AddrPort()
		s.addr = netip.AddrPortFrom(s.addr.Addr().Unmap(), s.addr.Port())
		if s.tcp, err = net.Listen("tcp", s.addr.String()); err == nil {
			return nil
		}
		s.udp.Close()
		if at.Port() != 0 {
			break
		}
	}
	return fmt.Errorf("application server: opening the TCP port: %w", err)
}

// Addr is the address for UDP and TCP.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// URI is the server's SIP URI, as filter criteria name it.
func (s *Server) URI() string { return "sip:" + s.addr.String() }

// Ready is nil while requests are served.
func (s *Server) Ready() error {
	if !s.ready.Load() {
		return errors.New("the application server is not running")
	}
	return nil
}

// Run serves until ctx ends, then closes the server. What is under way is given
// up: a testbed's application server has nothing to lose.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	failed := make(chan error, 2)
	serve := func(name string, f func() error) {
		s.spawn(func() {
			if err := f(); s.ctx.Err() == nil {
				failed <- fmt.Errorf("application server %s: the %s socket is gone: %w", s.cfg.Name, name, err)
			}
		})
	}
	s.ready.Store(true) // its first answer may be out before the next line is reached
	serve("UDP", func() error { return s.tp.ServeUDP(s.udp) })
	s.awaitUDP(ctx)
	serve("TCP", func() error { return s.tp.ServeTCP(s.tcp) })
	s.deps.Log.Info("application server is up", zap.Stringer("address", s.addr), zap.String("mode", string(s.cfg.Mode)))
	select {
	case <-ctx.Done():
		return nil
	case <-s.ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// awaitUDP waits until sipgo sends datagrams from our socket. What came over TCP before would
// have it open one of its own for the next hop, at our address, which is taken.
func (s *Server) awaitUDP(ctx context.Context) {
	pool := s.tp.Pool("udp")
	for range 5000 { // ServeUDP may have failed: Run tells
		if pool.Size() > 0 || ctx.Err() != nil || s.ctx.Err() != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// Close ends Run and everything under way, and waits for it, but for sipgo's
// goroutines that read TCP connections: these are closed, and nothing tells when
// their readers have noticed.
func (s *Server) Close() error {
	s.ready.Store(false)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.halt()
	s.udp.Close()
	s.tcp.Close()
	_ = s.tp.Close() // unblocks who writes to a connection that nobody reads
	s.wg.Wait()
	// Nothing begins a transaction any more: what is left are timers and, when a
	// connection came up meanwhile, its reader.
	s.mu.Lock()
	var left []interface{ Terminate() }
	for _, in := range s.ins {
		left = append(left, in.tx)
	}
	for _, out := range s.outs {
		left = append(left, out.tx)
	}
	s.mu.Unlock()
	for _, tx := range left {
		tx.Terminate()
	}
	if err := s.tp.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing the sockets of application server %s: %w", s.cfg.Name, err)
	}
	return nil
}

// spawn runs f in a goroutine that Close waits for; after Close it does nothing.
func (s *Server) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		f()
	}()
}

// mine reports whether a URI means this server.
func (s *Server) mine(u sip.Uri) bool {
	if u.Scheme != "sip" {
		return false
	}
	host := strings.Trim(u.Host, "[]")
	port := uint16(u.Port)
	if port == 0 {
		port = 5060
	}
	if ip, err := netip.ParseAddr(host); err == nil && netip.AddrPortFrom(ip.Unmap(), port) == s.addr {
		return true
	}
	for _, h := range s.cfg.Hosts {
		name, p, err := net.SplitHostPort(h)
		if err != nil {
			name, p = strings.Trim(h, "[]"), ""
		}
		if strings.EqualFold(name, host) && (p == "" || p == fmt.Sprint(port)) {
			return true
		}
	}
	return false
}

// decided logs and traces what the server does with a request, and why.
func (s *Server) decided(m sip.Message, text, clause string, fields ...zap.Field) {
	callID := ""
	if h := m.CallID(); h != nil {
		callID = h.Value()
	}
	icid := ""
	if c, ok := m.(carrier); ok {
		for _, p := range strings.Split(first(c, "P-Charging-Vector"), ";") {
			if v, ok := strings.CutPrefix(strings.TrimSpace(p), "icid-value="); ok {
				icid = strings.Trim(v, `"`)
			}
		}
	}
	s.deps.Log.Info(text, append([]zap.Field{zap.String("icid", icid), zap.String("call_id", callID)}, fields...)...)
	if s.deps.Trace.On() {
		s.deps.Trace.Emit(trace.Event{Kind: trace.Decision, ICID: icid, CallID: callID, Text: text, Clause: clause})
	}
}
