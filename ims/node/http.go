package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/gocscf/gocscf/ims/trace"
)

// Admin serves /metrics, /healthz, /readyz, /debug/trace and /debug/pprof of one
// service.
type Admin struct {
	// Ready says whether the service can do its work now; the error says why not.
	Ready   func() error
	Metrics prometheus.Gatherer
	Trace   *trace.Stream
	// TraceRemote serves the trace, and what else is Private, to other machines too.
	TraceRemote bool
	// Handle adds further paths, for instance /debug/ipsec.
	Handle map[string]http.Handler

	addr    atomic.Pointer[net.TCPAddr]
	readers atomic.Int32 // of /debug/trace
}

const (
	// traceBuffer is how many events a reader of /debug/trace may fall behind.
	traceBuffer = 4096
	// maxTraceReaders bounds them: the service writes every event once for each.
	maxTraceReaders = 8
	// traceStall is how long a reader may take nothing. What it has fallen behind
	// by, whole messages, is held for it.
	traceStall = 30 * time.Second
)

// Mux returns the handler of all paths.
func (a *Admin) Mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.Metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /debug/trace", a.Private(a.serveTrace))
	mux.HandleFunc("GET /debug/pprof/", a.Private(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/profile", a.Private(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/trace", a.Private(pprof.Trace))
	mux.HandleFunc("GET /debug/pprof/symbol", a.Private(pprof.Symbol))
	for path, h := range a.Handle {
		mux.Handle(path, h)
	}
	return mux
}

// Private makes what h shows of users be for readers on this machine only, wherever
// the metrics are read from, unless TraceRemote is set.
func (a *Admin) Private(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if from, err := netip.ParseAddrPort(r.RemoteAddr); !a.TraceRemote && (err != nil || !from.Addr().Unmap().IsLoopback()) {
			http.Error(w, r.URL.Path+" is for readers on this machine; trace_remote: true in the configuration opens it", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}

// serveTrace streams events as NDJSON until the reader leaves.
func (a *Admin) serveTrace(w http.ResponseWriter, r *http.Request) {
	defer a.readers.Add(-1)
	if a.readers.Add(1) > maxTraceReaders {
		http.Error(w, fmt.Sprintf("the trace has %d readers already, each slows the service down: end one of them", maxTraceReaders), http.StatusServiceUnavailable)
		return
	}
	sub := a.Trace.Subscribe(traceBuffer)
	defer sub.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	if rc.Flush() != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case e := <-sub.C():
			_ = rc.SetWriteDeadline(time.Now().Add(traceStall)) // without it a reader that has stopped stays
			if trace.WriteNDJSON(w, e) != nil {
				return
			}
			if len(sub.C()) == 0 && rc.Flush() != nil {
				return
			}
		}
	}
}

// Addr is where Serve listens; nil before that.
func (a *Admin) Addr() *net.TCPAddr { return a.addr.Load() }

// Listen opens addr; Serve then answers on it until ctx ends.
func (a *Admin) Listen(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for HTTP on %s (metrics, health, trace): %w", addr, err)
	}
	a.addr.Store(ln.Addr().(*net.TCPAddr))
	return ln, nil
}

// maxAdminConns bounds the connections: each takes a descriptor, of which SIP and Diameter
// need most.
const maxAdminConns = 128

// bodiesInTime has a request whose body never comes end. Nothing here has a body; without
// one the time would cut a trace off that is being read.
func bodiesInTime(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(5 * time.Second))
		}
		h.ServeHTTP(w, r)
	})
}

// Serve answers on ln until ctx ends, then closes ln and every connection.
func (a *Admin) Serve(ctx context.Context, ln net.Listener) error {
	ln = netutil.LimitListener(ln, maxAdminConns)
	srv := &http.Server{
		Handler:           bodiesInTime(a.Mux()),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute, // longer than anybody scrapes
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving HTTP on %s: %w", ln.Addr(), err)
	}
	return nil
}
