package hss

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gocscf/gocscf/ims/node"
)

// longestDelay bounds what Slow holds: no client waits longer for an answer.
const longestDelay = time.Minute

// Slow has every answer wait for so long from now on, 0 for not at all. What else was
// injected ends.
func (s *Server) Slow(by time.Duration) {
	s.ClearFaults()
	if by > 0 {
		s.Inject(Fault{Delay: by})
	}
}

// Admin lets who tests a core from this machine slow the HSS down while it runs: PUT
// /debug/delay?by=500ms, and by=0 for its own pace.
func Admin(svc node.Service, a *node.Admin) {
	s, ok := svc.(*Server)
	if !ok {
		return
	}
	if a.Handle == nil {
		a.Handle = map[string]http.Handler{}
	}
	a.Handle["PUT /debug/delay"] = a.Private(func(w http.ResponseWriter, r *http.Request) {
		by, err := time.ParseDuration(r.FormValue("by"))
		if err != nil || by < 0 || by > longestDelay {
			http.Error(w, fmt.Sprintf("by=%.20q is no delay: want a duration up to %v, as in /debug/delay?by=500ms", r.FormValue("by"), longestDelay), http.StatusBadRequest)
			return
		}
		s.Slow(by)
		fmt.Fprintf(w, "each answer waits %v\n", by)
	})
}
