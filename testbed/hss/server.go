package hss

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/trace"
)

// Deps is what an HSS gets from its process.
type Deps struct {
	node.Deps
	// Listener is where peers connect; nil listens on Config.Listen. The server
	// closes it.
	Listener net.Listener
}

// Server is an HSS. Its methods may be called from any goroutine.
type Server struct {
	cfg      Config
	deps     Deps
	db       *database
	state    *stateFile // nil keeps nothing
	node     *diameter.Node
	client   *cx.Client
	listener net.Listener
	limited  node.Limited
	answers  *prometheus.CounterVec
	unkept   prometheus.Counter // reservations that the state file has not taken
	faults   faults

	// halt is done when what waits (delays, drops) shall end; wg counts that.
	halt  context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup
	ready atomic.Bool

	mu     sync.Mutex
	counts map[string]int
}

var _ node.Service = (*Server)(nil)

// New opens the socket and the state file. Run must follow, also to close them.
func New(cfg Config, deps Deps) (*Server, error) {
	db, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = zap.NewNop()
	}
	s := &Server{cfg: cfg, deps: deps, db: db, listener: deps.Listener, counts: make(map[string]int)}
	s.halt, s.stop = context.WithCancel(context.Background())
	s.answers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocscf_hss_answers_total", Help: "Cx requests answered, by command and result.",
	}, []string{"command", "result"})
	s.unkept = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gocscf_hss_state_failures_total", Help: "Vectors that did not leave because their SQN could not be kept in the state file.",
	})
	if deps.Metrics != nil {
		deps.Metrics.MustRegister(s.answers, s.unkept)
	}
	for _, impi := range cfg.predictable {
		deps.Log.Warn(randWarning(impi), zap.String("impi", impi))
	}
	s.node, err = diameter.New(diameter.Config{
		OriginHost: cfg.originHost(), OriginRealm: cfg.originRealm(),
		Applications: []diameter.Application{cx.App()}, Dictionary: cx.Dictionary(),
		Handler: (&cx.Server{HSS: handler{s}, Refuse: s.refused}).Handle, AcceptUnknown: true, Observer: deps.ObserveDiameter(),
	})
	if err != nil {
		return nil, fmt.Errorf("setting up Cx: %w", err)
	}
	s.client = cx.NewClient(s.node, cx.ClientConfig{})
	if cfg.State != "" {
		if err := s.openState(); err != nil {
			return nil, err
		}
	}
	if s.listener == nil {
		if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
			return nil, fmt.Errorf("opening the Diameter port: %w", err)
		}
	}
	return s, nil
}

// openState takes over the sequence numbers and reserves the first block for
// everybody, which also shows at once whether the file can be written.
func (s *Server) openState() (err error) {
	if s.state, err = openState(s.cfg.path(s.cfg.State)); err != nil {
		return err
	}
	set := maps.Clone(s.state.written)
	for _, u := range s.db.users {
		s.restore(u)
		set[u.impi] = u.reserve().sqn
	}
	if err := s.state.write(set); err != nil {
		return err
	}
	for _, u := range s.db.users {
		u.reserved = set[u.impi]
	}
	return nil
}

// restore gives a user the sequence number that the state file holds. The greater
// of that and a configured one is right: neither a restart nor a forgotten line of
// configuration makes a number come twice.
func (s *Server) restore(u *user) {
	s.state.mu.Lock()
	kept, ok := s.state.written[u.impi]
	s.state.mu.Unlock()
	if !ok || u.first != nil && *u.first > kept {
		return
	}
	u.first, u.sqn.SQN, u.reserved = nil, kept, kept
}

// Addr returns where peers connect; zero for a listener that is not TCP.
func (s *Server) Addr() netip.AddrPort {
	if a, ok := s.listener.Addr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// Ready reports whether requests are answered.
func (s *Server) Ready() error {
	if !s.ready.Load() {
		return errors.New("not running")
	}
	return nil
}

// Run answers until ctx ends, then lets requests under way finish.
func (s *Server) Run(ctx context.Context) error {
	if s.state != nil {
		s.state.start()
	}
	// Counted first: once the HSS listens, Put and Remove may change the map.
	s.db.mu.Lock()
	subscribers := len(s.db.users)
	s.db.mu.Unlock()
	if err := s.node.Listen(s.listener); err != nil {
		return fmt.Errorf("starting Cx: %w", err)
	}
	s.deps.Log.Info("diameter is up", zap.Stringer("address", s.listener.Addr()),
		zap.String("origin_host", s.cfg.originHost()), zap.Int("subscribers", subscribers))
	s.ready.Store(true)
	<-ctx.Done()
	s.ready.Store(false)
	s.stop()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain.D())
	defer cancel()
	err := s.node.Close(drain)
	if s.state != nil {
		s.state.stop()
		err = errors.Join(err, s.keepExact())
	}
	s.wg.Wait()
	return err
}

// keepExact ends the reservations: after an orderly stop no number is skipped.
func (s *Server) keepExact() error {
	s.db.mu.Lock()
	set := maps.Clone(s.state.written)
	for _, u := range s.db.users {
		if u.first == nil && u.sqn.SQN > 0 {
			set[u.impi] = u.sqn.SQN
		} else { // never used
			delete(set, u.impi)
			delete(s.state.written, u.impi)
		}
	}
	s.db.mu.Unlock()
	return s.state.write(set)
}

// Put adds a subscriber, or changes the one with the same IMPI: his registration
// and, unless sub.SQN is set, his sequence number stay. An S-CSCF that has the
// profile learns of the change by SendPPR only.
func (s *Server) Put(sub Subscriber) error {
	if sub.dir == "" {
		sub.dir = s.cfg.Dir
	}
	u, err := s.cfg.newUser(&sub, make(criteriaCache))
	if err != nil {
		return sub.name(0, err)
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	old := s.db.users[u.impi]
	if old == nil {
		if s.state != nil {
			s.restore(u)
		}
		s.db.add(u)
		return nil
	}
	assigned := old.sub.assignment
	s.db.remove(old)
	u.state, u.pending, u.reserved = old.state, old.pending, old.reserved
	if u.first == nil {
		u.first, u.sqn = old.first, old.sqn
	} else {
		u.reserved = 0
	}
	s.db.add(u)
	if u.sub.scscf == "" && (u.state != NotRegistered || u.pending) {
		u.sub.assignment = assigned
	}
	return nil
}

// Remove forgets a subscriber, false if there is none. An S-CSCF that serves him
// learns of it by SendRTR only, which goes before.
func (s *Server) Remove(impi string) bool {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	u := s.db.user(impi)
	if u != nil {
		s.db.remove(u)
	}
	return u != nil
}

// State tells what is known about a private or public identity, false if it is
// nobody's.
func (s *Server) State(id string) (Status, bool) { return s.db.status(id) }

// Counts tells how many requests were answered, by command: UAR, MAR, SAR and LIR
// by this HSS, RTR and PPR by S-CSCFs.
func (s *Server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// count notes an answer.
func (s *Server) count(command string, r diameter.Result) {
	s.mu.Lock()
	s.counts[command]++
	s.mu.Unlock()
	kind := ""
	if r.Experimental {
		kind = "experimental "
	}
	s.answers.WithLabelValues(command, kind+strconv.Itoa(int(r.Code))).Inc()
}

// tell logs and traces how a request was answered.
func (s *Server) tell(command, impi, impu, peer string, r reply) {
	name := cx.ResultName(r.result)
	fields := []zap.Field{
		zap.String("command", command), zap.String("result", name), zap.String("impi", impi),
		zap.String("impu", impu), zap.String("peer", peer), zap.String("why", r.why),
	}
	kind := trace.Decision
	switch {
	case !r.result.IsSuccess():
		kind = trace.Failure
		s.limited.Warn(s.deps.Log, command+name, "request refused", append(fields, zap.String("next", r.next))...)
	case r.state:
		kind = trace.State
		s.deps.Log.Info("state changed", fields...)
	default:
		s.deps.Log.Debug("request answered", fields...)
	}
	if s.deps.Trace.On() {
		s.deps.Trace.Emit(trace.Event{
			Kind: kind, IMPI: impi, Peer: peer, Text: command + " answered " + name + ": " + r.why, Clause: r.clause, Next: r.next,
		})
	}
}

// after calls f when d has passed, earlier when the server stops.
func (s *Server) after(d time.Duration, f func()) {
	s.wg.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.halt.Done():
		}
		f()
	})
}
