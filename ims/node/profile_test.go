package node

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gocscf/gocscf/ims/trace"
)

// Profiles are for who sits at the machine.
func TestProfiles(t *testing.T) {
	mux := (&Admin{Metrics: prometheus.NewRegistry(), Trace: &trace.Stream{}}).Mux()
	for from, want := range map[string]int{"127.0.0.1:4000": http.StatusOK, "192.0.2.7:4000": http.StatusForbidden} {
		for path, text := range map[string]string{"/debug/pprof/": "heap", "/debug/pprof/goroutine?debug=1": "goroutine profile: total"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.RemoteAddr = from
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			if w.Code != want || (want == http.StatusOK) != strings.Contains(w.Body.String(), text) {
				t.Errorf("%s from %s: %d %.60q, want %d", path, from, w.Code, w.Body, want)
			}
		}
	}
}
