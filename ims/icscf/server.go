package icscf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

// Deps is what an I-CSCF gets from its process.
type Deps struct {
	node.Deps
	// Net is where sockets come from; nil is the kernel.
	Net transport.Net
	// Dialer connects to the HSS; nil is the network.
	Dialer node.Dialer
}

// Server is an I-CSCF.
type Server struct {
	cfg      Config
	core     *proxy.Core
	cx       *node.Cx
	verdicts *node.Verdicts
	recent   *recent
	running  atomic.Bool
}

var _ node.Service = (*Server)(nil)

// New opens the sockets and begins to connect to the HSS. Run must follow, also
// to close them.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	hosts, err := node.Hosts(cfg.Hosts)
	if err != nil {
		return nil, fmt.Errorf("hosts: %w", err)
	}
	s := &Server{cfg: cfg, recent: newRecent(), verdicts: node.NewVerdicts(deps.Deps, "icscf", cfg.Listen.Addr().String())}
	if s.cx, err = deps.NewCx(cfg.Diameter, "icscf", cfg.Domain, nil, deps.Dialer); err != nil {
		return nil, err
	}
	s.cx.Guard(cfg.Overload, deps.Deps)
	pc := proxy.Config{
		Net: deps.Net, Hosts: hosts, MaxTransactions: cfg.MaxTransactions, Classify: s.classify, LateTrying: true,
		Aliases:   []string{"icscf." + cfg.Domain},
		Supported: []string{"path", "100rel", "precondition", "timer", "gruu", "outbound", "replaces"},
	}
	deps.ObserveSIP(&pc)
	deps.Admission(cfg.Overload, &pc)
	if s.core, err = proxy.New(pc, handler{s}); err != nil {
		s.cx.Close()
		return nil, fmt.Errorf("starting the I-CSCF's SIP engine: %w", err)
	}
	if _, err = s.core.Listen(transport.Listen{Addr: cfg.Listen, UDP: true, TCP: true, Role: sip.RoleCore}); err == nil {
		s.cx.Gather(s.core)
		err = s.cx.Node.Start()
	}
	if err != nil {
		s.core.Close()
		s.cx.Close()
		return nil, fmt.Errorf("opening the I-CSCF's sockets: %w", err)
	}
	deps.WatchSIP(s.core.Stats)
	s.running.Store(true)
	return s, nil
}

// Addr returns the address of the SIP socket.
func (s *Server) Addr() netip.AddrPort { a, _ := s.core.Addr(sip.RoleCore); return a }

// Ready reports whether an HSS is connected.
func (s *Server) Ready() error {
	if !s.running.Load() {
		return errors.New("stopping")
	}
	return s.cx.Ready()
}

// Run serves until ctx ends, then lets running transactions finish.
func (s *Server) Run(ctx context.Context) error {
	defer s.cx.Close()
	defer s.core.Close()
	<-ctx.Done()
	s.running.Store(false)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain.D())
	defer cancel()
	if err := s.core.Drain(drain); err != nil {
		s.verdicts.Log.Warn("not everything had finished when the drain time was over")
	}
	return nil
}

// handler takes requests from the proxy core.
type handler struct{ s *Server }

// Request is a new request.
func (h handler) Request(x *proxy.Exchange) {
	if !h.s.admit(x) {
		return
	}
	switch {
	case x.Req.Method() == "REGISTER":
		h.s.register(x)
	case x.Req.ToTag() != "":
		h.s.inDialog(x)
	default:
		h.s.locate(x)
	}
}

// Ack is an ACK to a 2xx. We are in no route set; what the trust domain sends all the
// same goes on along its own.
func (h handler) Ack(x *proxy.Exchange) {
	if !h.s.cfg.Trusted.Has(x.Flow.Remote.Addr()) { // as admit, which an ACK cannot be answered by
		h.s.verdicts.Decide(x, "An ACK from outside of the trust domain is of no dialog's route here: dropped.", "TS 24.229 5.3.2.1")
		return
	}
	if x.TopRoute() != "" {
		x.Forward()
	}
}

// inDialog takes a request within a dialog. We never are in a route set: what the trust
// domain sends along one all the same is passed on, what ends here is of no dialog.
func (s *Server) inDialog(x *proxy.Exchange) {
	if x.TopRoute() != "" {
		x.Forward(proxy.Target{Ringing: node.Ringing(x.Req)})
		return
	}
	s.verdicts.Refuse(x, node.Refusal{Status: 481, Cause: "no_dialog", Clause: "TS 24.229 5.3.2.1",
		Text: "A " + x.Req.Method() + " within a dialog ends here: an I-CSCF is in no dialog's route.",
		Next: "The peer must send along the Record-Route of the dialog."})
}
