package scscf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/uri"
)

// Deps is what an S-CSCF gets from its process.
type Deps struct {
	node.Deps
	// Net is where sockets come from; nil is the kernel.
	Net transport.Net
	// Dialer connects to the HSS; nil is the network.
	Dialer node.Dialer
}

// Server is an S-CSCF.
type Server struct {
	cfg        Config
	name       string // our SIP URI towards HSS and I-CSCF
	host       string // host and port of our URIs
	hosts      map[string][]netip.AddrPort
	algorithm  aka.DigestAlgorithm
	core       *proxy.Core
	agent      *dialog.Agent
	cx         *node.Cx
	store      *registrar.Store
	challenges *challenges
	iois       [4]string // our network by type of IOI, see ioi
	turns      *turns
	endings    *endings
	chains     *ifc.Cache
	templates  profile.Templates // of user profiles
	watchers   *watchers
	sessions   *sessions
	verdicts   *node.Verdicts
	metrics    metrics
	outside    atomic.Int64 // INVITEs within dialogs from outside of the trust domain
	running    atomic.Bool
}

var _ node.Service = (*Server)(nil)

type metrics struct {
	registers *prometheus.CounterVec
}

// maxChains bounds the compiled filter criteria that are shared between users.
const maxChains = 4096

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
	sets, err := sharedSets(cfg.SharedIFCSets)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, hosts: hosts, iois: iois(cfg.Domain), challenges: newChallenges(), turns: newTurns(), chains: ifc.NewCache(sets, maxChains),
		verdicts: node.NewVerdicts(deps.Deps, "scscf", cfg.Listen.Addr().String()),
		metrics: metrics{
			registers: prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "gocscf_scscf_registers_total", Help: "REGISTERs answered, by status.",
			}, []string{"status"}),
		},
	}
	s.algorithm, _ = aka.ParseDigestAlgorithm(cfg.Algorithm) // Check has read it
	s.watchers, s.sessions, s.endings = newWatchers(s), newSessions(s), newEndings(s)
	s.store = registrar.New(registrar.Config{Max: cfg.MaxUsers, Expired: s.expired, Changed: s.watchers.changed})
	if deps.Metrics != nil {
		deps.Metrics.MustRegister(s.metrics.registers, s.gauge("registered_sets", "Implicit registration sets that this S-CSCF serves.", s.store.Len),
			s.gauge("challenges", "Challenges that wait for their answer.", s.challenges.len),
			s.gauge("watchers", "Subscriptions to the reg event.", s.watchers.len),
			s.gauge("endings", "Registrations that have ended, and unanswered challenges, of which the HSS is still to be told.", s.endings.len))
	}
	if s.cx, err = deps.NewCx(cfg.Diameter, "scscf", cfg.Domain, (&cx.Server{SCSCF: hssRequests{s}}).Handle, deps.Dialer); err != nil {
		return nil, err
	}
	s.cx.Guard(cfg.Overload, deps.Deps)
	aliases := []string{"scscf." + cfg.Domain}
	if u, err := uri.Parse(cfg.Name); err == nil {
		aliases = append(aliases, hostPort(u))
	}
	pc := proxy.Config{
		Net: deps.Net, Hosts: hosts, MaxTransactions: cfg.MaxTransactions, Classify: s.classify, LateTrying: true, Aliases: aliases,
		Supported: []string{"path", "100rel", "precondition", "timer", "gruu", "outbound", "replaces"},
	}
	deps.ObserveSIP(&pc)
	deps.Admission(cfg.Overload, &pc)
	s.agent = dialog.New(dialog.Config{
		Contact: func() string { return "<" + s.ownURI("") + ">" },
		Hop:     func() proxy.Hop { return proxy.Hop{Role: sip.RoleCore} },
	})
	if s.core, err = proxy.New(pc, handler{s}); err != nil {
		s.cx.Close()
		return nil, fmt.Errorf("starting the S-CSCF's SIP engine: %w", err)
	}
	s.agent.Bind(s.core)
	if err = s.listen(); err != nil {
		s.core.Close()
		s.cx.Close()
		return nil, fmt.Errorf("opening the S-CSCF's sockets: %w", err)
	}
	deps.WatchSIP(s.core.Stats)
	s.running.Store(true)
	return s, nil
}

func (s *Server) gauge(name, help string, value func() int) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gocscf_scscf_" + name, Help: help}, func() float64 { return float64(value()) })
}

// listen opens the socket; nothing may come before everything else stands, and
// what is shown of us depends on the port.
func (s *Server) listen() error {
	at := s.cfg.Listen
	if at.Port() == 0 {
		// The name must be known before the first message: ask for a port first.
		return errors.New("listen has port 0: an S-CSCF's name must be known to the HSS, give a port")
	}
	s.name, s.host = s.cfg.name(at), at.String()
	if u, err := uri.Parse(s.name); err == nil {
		s.host = hostPort(u)
	}
	if _, err := s.core.Listen(transport.Listen{Addr: at, UDP: true, TCP: true, Role: sip.RoleCore}); err != nil {
		return err
	}
	s.cx.Gather(s.core)
	return s.cx.Node.Start()
}

// hostPort is the part of a URI that says where it is.
func hostPort(u uri.URI) string {
	if u.Port == 0 {
		return u.Host
	}
	return u.Host + ":" + strconv.Itoa(int(u.Port))
}

// ownURI is a URI of ours with a user part that marks what it is for.
func (s *Server) ownURI(user string) string {
	if user == "" {
		return "sip:" + s.host
	}
	return "sip:" + user + "@" + s.host
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
	var wg sync.WaitGroup
	defer wg.Wait()
	run, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { s.store.Run(run) })
	wg.Go(func() { s.endings.run(run) })
	<-ctx.Done()
	s.running.Store(false)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain.D())
	defer cancel()
	if err := s.core.Drain(drain); err != nil {
		s.verdicts.Log.Warn("not everything had finished when the drain time was over")
	}
	return nil
}

// sharedSets reads the files of shared_ifc_sets.
func sharedSets(files map[int32]string) (ifc.SharedSets, error) {
	sets := make(ifc.SharedSets, len(files))
	for id, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("shared_ifc_sets: set %d: %w", id, err)
		}
		criteria, err := profile.ParseCriteria(b)
		if err != nil {
			return nil, fmt.Errorf("shared_ifc_sets: set %d in %s: %w", id, file, err)
		}
		sets[id] = criteria
	}
	return sets, nil
}

// handler takes requests from the proxy core.
type handler struct{ s *Server }

// Request is a new request.
func (h handler) Request(x *proxy.Exchange) {
	s := h.s
	if s.agent.Deliver(x) {
		return
	}
	switch method := x.Req.Method(); {
	case method == "REGISTER":
		if s.admit(x) {
			s.register(x)
		}
	case x.Req.ToTag() != "":
		s.inDialog(x)
	case !s.admit(x):
	case method == "SUBSCRIBE" && s.isRegEvent(x):
		s.watch(x)
	default:
		s.session(x)
	}
}

// Ack is an ACK to a 2xx.
func (h handler) Ack(x *proxy.Exchange) {
	switch {
	case h.s.agent.DeliverAck(x):
	case h.s.strays(x):
		h.s.verdicts.Decide(x, "An ACK from outside of the trust domain has not come along our Record-Route: dropped.", "TS 24.229 4.4")
	default:
		x.Forward(proxy.Target{Hop: proxy.Hop{Role: sip.RoleCore}})
	}
}

// Registered reports whether a public identity has a contact here.
func (s *Server) Registered(impu string) bool {
	id, err := identity.ParseIMPU(impu)
	return err == nil && s.store.Get(string(id)).Registered()
}
