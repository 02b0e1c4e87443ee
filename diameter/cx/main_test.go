package cx

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/diameter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipeNet dials listeners by name over net.Pipe.
type pipeNet struct {
	mu sync.Mutex
	l  map[string]*pipeListener
}

type pipeListener struct {
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func (n *pipeNet) listen(addr string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.l == nil {
		n.l = make(map[string]*pipeListener)
	}
	n.l[addr] = &pipeListener{ch: make(chan net.Conn), done: make(chan struct{})}
	return n.l[addr]
}

func (n *pipeNet) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.l[addr]
	n.mu.Unlock()
	a, b := net.Pipe()
	select {
	case l.ch <- b:
		return a, nil
	case <-l.done:
	case <-ctx.Done():
	}
	return nil, net.ErrClosed
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ch:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

const domain = "ims.example.net"

// recorder is an observer that keeps every message.
type recorder struct {
	mu       sync.Mutex
	messages [][]byte
	sent     []bool
}

func (r *recorder) Message(e diameter.MessageEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, append([]byte{}, e.Raw...))
	r.sent = append(r.sent, e.Sent)
}
func (r *recorder) Connection(diameter.ConnectionEvent) {}
func (r *recorder) Refused(diameter.RefusedEvent)       {}

// of decodes the recorded messages of a command.
func (r *recorder) of(t testing.TB, command uint32, request bool) []*diameter.Message {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*diameter.Message
	for _, raw := range r.messages {
		m, fault := dictionary.Decode(raw)
		if fault != nil {
			t.Fatal(fault)
		}
		if m.Command == command && m.IsRequest() == request {
			out = append(out, m)
		}
	}
	return out
}

func newNode(t testing.TB, host string, change func(*diameter.Config)) *diameter.Node {
	t.Helper()
	cfg := diameter.Config{
		OriginHost: host + "." + domain, OriginRealm: domain, Dictionary: Dictionary(),
		Applications: []diameter.Application{App()}, AcceptUnknown: true,
	}
	if change != nil {
		change(&cfg)
	}
	n, err := diameter.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return n
}

// connect joins a CSCF to HSSes, all in one process, in order of preference.
func connect(t testing.TB, cscf diameter.Handler, observer diameter.Observer, hosts ...string) (*diameter.Node, func(host string, s *Server) *diameter.Node) {
	t.Helper()
	var mem pipeNet
	listeners := make(map[string]net.Listener)
	for _, h := range hosts {
		listeners[h] = mem.listen(h + ":3868")
	}
	start := func(host string, s *Server) *diameter.Node {
		n := newNode(t, host, func(c *diameter.Config) { c.Handler = s.Handle })
		if err := n.Listen(listeners[host]); err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := newNode(t, "scscf", func(c *diameter.Config) {
		c.Dialer, c.Handler, c.Observer = &mem, cscf, observer
		for _, h := range hosts {
			c.Peers = append(c.Peers, diameter.PeerConfig{Address: h + ":3868"})
		}
	})
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	return n, start
}

func ready(t testing.TB, n *diameter.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.WaitReady(ctx, Application); err != nil {
		t.Fatal(err)
	}
}

// wait turns a call with a callback into one that blocks.
func wait[A any](start func(done func(*A, error))) (*A, error) {
	type result struct {
		a   *A
		err error
	}
	ch := make(chan result)
	start(func(a *A, err error) { ch <- result{a, err} })
	r := <-ch
	return r.a, r.err
}

func closeNode(t testing.TB, n *diameter.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
}
