package pcscf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

// Deps is what a P-CSCF gets from its process.
type Deps struct {
	node.Deps
	// Net is where sockets come from; nil is the kernel.
	Net transport.Net
	// Protection, if not nil, protects Gm in place of what the configuration names,
	// for tests.
	Protection *Protection
}

// Server is a P-CSCF.
type Server struct {
	cfg      Config
	deps     Deps
	core     *proxy.Core
	bindings *bindings
	dialogs  *dialogs
	callers  *callers
	loads    *loads
	sec      *security // nil without IPsec
	metrics  metrics
	verdicts *node.Verdicts
	running  atomic.Bool
	own      atomic.Pointer[ownTexts]

	began       time.Time
	emergencies *admission.Bucket // REGISTERs of strangers, see strangeEmergencies
	claims      claims            // to priority, of phones
}

// Server is run by node.Program.
var _ node.Service = (*Server)(nil)

type metrics struct {
	registered prometheus.Gauge
	dialogs    prometheus.Gauge
	registers  *prometheus.CounterVec
	// emergencies are their INVITEs, by whether the phone is registered.
	emergencies *prometheus.CounterVec
}

// sweepEvery is how often bindings that have run out are looked for.
const sweepEvery = 30 * time.Second

// New opens the sockets. Run must follow, also to close them.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	hosts, err := node.Hosts(cfg.Hosts)
	if err != nil {
		return nil, fmt.Errorf("hosts: %w", err)
	}
	d := newDialogs()
	s := &Server{cfg: cfg, deps: deps, dialogs: d, loads: newLoads(), began: time.Now(), emergencies: admission.NewBucket(strangeEmergencies), claims: newClaims(), metrics: metrics{
		registered: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gocscf_pcscf_registered_contacts", Help: "Contacts of phones that are registered through this P-CSCF.",
		}),
		dialogs: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gocscf_pcscf_dialogs", Help: "Dialogs of phones, those that ended in the last minutes included.",
		}),
		registers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocscf_pcscf_registers_total", Help: "REGISTERs answered to phones, by status.",
		}, []string{"status"}),
		emergencies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocscf_pcscf_emergency_calls_total", Help: "INVITEs of emergency calls, those that were refused included, by whether the phone is registered.",
		}, []string{"caller"}),
	}}
	if deps.Metrics != nil {
		deps.Metrics.MustRegister(s.metrics.registered, s.metrics.dialogs, s.metrics.registers, s.metrics.emergencies)
	}
	s.callers = newCallers(cfg.Emergency.MaxAnonymous, d)
	s.bindings = newBindings(cfg.MaxBindings, s.left)
	s.verdicts = node.NewVerdicts(deps.Deps, "pcscf", cfg.Listen.Gm.Addr().String())
	if s.sec, err = newSecurity(s); err != nil {
		return nil, fmt.Errorf("protecting Gm: %w", err)
	}
	pc := proxy.Config{
		Net:             deps.Net,
		Hosts:           hosts,
		Supported:       []string{"sec-agree", "path", "100rel", "precondition", "timer", "gruu", "outbound", "replaces"},
		MaxTransactions: cfg.MaxTransactions,
		Classify:        s.classify,
		UnderWay:        s.underWay,
		Heed:            true,
	}
	pc.Transport.MaxConns, pc.Transport.Known = cfg.MaxConnections, s.phoneOver
	if len(cfg.Trusted) > 0 {
		pc.Peer = s.trusts
	}
	deps.ObserveSIP(&pc)
	deps.Admission(cfg.Overload, &pc)
	s.sec.engine(&pc)
	if s.core, err = proxy.New(pc, handler{s}); err != nil {
		s.sec.close()
		return nil, fmt.Errorf("starting the P-CSCF's SIP engine: %w", err)
	}
	// Only now may messages come.
	if err := s.listen(); err != nil {
		s.core.Close()
		s.sec.close()
		return nil, fmt.Errorf("opening the P-CSCF's sockets: %w", err)
	}
	deps.WatchSIP(s.core.Stats)
	s.running.Store(true)
	return s, nil
}

func (s *Server) listen() error {
	for _, l := range []transport.Listen{
		{Addr: s.cfg.Listen.Mw, UDP: true, TCP: true, Role: sip.RoleCore},
		{Addr: s.cfg.Listen.Gm, UDP: true, TCP: true, Role: sip.RoleGm},
	} {
		if _, err := s.core.Listen(l); err != nil {
			return err
		}
	}
	if s.sec != nil {
		return s.sec.listen()
	}
	return nil
}

// left hears that the last contact of a private identity is gone. The bindings are
// locked.
func (s *Server) left(impi string) {
	s.dialogs.forget(impi)
	if s.sec != nil {
		s.sec.facts.gone(impi)
		for _, k := range s.sec.phonesOf(impi) {
			s.sec.deregistered(k)
		}
	}
}

// Gm returns the address of the open port towards phones.
func (s *Server) Gm() netip.AddrPort { a, _ := s.core.Addr(sip.RoleGm); return a }

// Mw returns the address of the port towards the core.
func (s *Server) Mw() netip.AddrPort { a, _ := s.core.Addr(sip.RoleCore); return a }

// IPsecBackend is what protects Gm: "kernel", "user", or "none".
func (s *Server) IPsecBackend() string {
	if s.sec == nil {
		return policyNone
	}
	return s.sec.stack.Name()
}

// ESPUDP returns where ESP in UDP is taken; zero where it is not.
func (s *Server) ESPUDP() netip.AddrPort {
	if s.sec == nil {
		return netip.AddrPort{}
	}
	return s.sec.stack.udp
}

// SASetsEstablished returns how many SA sets phones have answered for since the
// start.
func (s *Server) SASetsEstablished() int {
	if s.sec == nil {
		return 0
	}
	return int(s.sec.answered.Load())
}

// Ready reports whether phones can be served.
func (s *Server) Ready() error {
	if !s.running.Load() {
		return errors.New("stopping")
	}
	return nil
}

// Run serves until ctx ends, then lets running transactions finish.
func (s *Server) Run(ctx context.Context) error {
	defer s.sec.close()
	defer s.core.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.sweep(ctx) })
	<-ctx.Done()
	s.running.Store(false)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain.D())
	defer cancel()
	if err := s.core.Drain(drain); err != nil {
		s.deps.Log.Warn("not everything had finished when the drain time was over")
	}
	return nil
}

func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.metrics.registered.Set(float64(s.bindings.sweep(now)))
			s.metrics.dialogs.Set(float64(s.dialogs.sweep(now)))
			s.callers.sweep(now)
			s.sec.countKernel()
		}
	}
}

// handler takes requests from the proxy core and gives them to what knows their
// direction.
type handler struct{ s *Server }

// Request is a new request.
func (h handler) Request(x *proxy.Exchange) {
	s := h.s
	method := x.Req.Method()
	s.sec.received(s.sec.of(x.Flow))
	switch fromPhone := x.Flow.Role != sip.RoleCore; {
	case fromPhone && method == "REGISTER":
		s.register(x)
	case fromPhone && s.emergency(x):
	case fromPhone && s.sec != nil && !s.openTo(x) && !s.overSet(x):
	case fromPhone && x.Req.ToTag() != "":
		s.fromPhoneInDialog(x)
	case fromPhone:
		s.fromPhone(x)
	case !s.admit(x):
	case method == "REGISTER":
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "register_from_core", Text: "A REGISTER came from the core's side; phones register at " + s.Gm().String() + ".",
			Next: "Point the phone at the address in listen.gm."})
	case x.Req.ToTag() != "":
		s.toPhoneInDialog(x)
	default:
		s.toPhone(x)
	}
}

// Ack is an ACK to a 2xx.
func (h handler) Ack(x *proxy.Exchange) {
	h.s.sec.received(h.s.sec.of(x.Flow))
	switch {
	case x.Flow.Role != sip.RoleCore:
		h.s.ackFromPhone(x)
	case h.s.trusts(x.Flow):
		h.s.ackToPhone(x)
	}
}

// Closed is the end of a connection.
func (h handler) Closed(f sip.Flow) {
	h.s.bindings.closed(f)
	h.s.sec.closedStream(f)
}
