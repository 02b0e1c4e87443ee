package pcscf

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ipsec"
)

// Report says what is known about the protection of a private identity's phone.
func (s *Server) Report(impi string) *ipsec.Report {
	if id, err := identity.ParseIMPI(impi); err == nil {
		impi = string(id)
	}
	now := time.Now()
	r := &ipsec.Report{IMPI: impi, At: now, Policy: s.cfg.IPsec.Policy, Sets: []ipsec.SetReport{}}
	if s.sec != nil {
		r.Backend, r.BackendWhy = s.sec.stack.Name(), s.sec.stack.why
		r.Facts = s.sec.facts.of(impi, s.sec.stack.strangers)
		entries := s.sec.snapshot(impi)
		for i := range entries {
			b := s.bindings.ofPhone(entries[i].phone, now)
			entries[i].registered = b != nil && b.registered(now)
		}
		// Where the phone was before comes behind where it is.
		slices.SortStableFunc(entries, func(a, b setEntry) int {
			switch {
			case a.registered == b.registered:
				return 0
			case a.registered:
				return -1
			}
			return 1
		})
		for _, e := range entries {
			stats, _ := s.sec.stack.Stats(e.set.ID) // asked of the kernel: not under a lock
			r.Sets = append(r.Sets, ipsec.ReportSet(e.set, e.state, e.ends, stats))
			if e.registered {
				r.Facts.Unanswered += e.unanswered
			}
		}
	}
	r.Facts.Registered = slices.ContainsFunc(s.bindings.of(impi), func(b *binding) bool { return b.registered(now) })
	r.Complete()
	return r
}

// setEntry is a set as it stands.
type setEntry struct {
	set        *ipsec.Set
	state      ipsec.State
	ends       time.Time
	phone      phoneKey
	registered bool // its phone is, there
	unanswered int  // of its phone, at its first set
}

func (c *security) snapshot(impi string) (list []setEntry) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for p := c.phones[impi]; p != nil; p = p.next {
		for i, set := range p.life.Sets() {
			st, ends := p.life.Status(set.ID)
			e := setEntry{set: set, state: st, ends: ends, phone: p.key}
			if i == 0 {
				e.unanswered = int(p.unanswered.Load())
			}
			list = append(list, e)
		}
	}
	return list
}

// Admin adds GET /debug/ipsec?impi= to a service's HTTP paths.
func Admin(svc node.Service, a *node.Admin) {
	s, ok := svc.(*Server)
	if !ok {
		return
	}
	if a.Handle == nil {
		a.Handle = map[string]http.Handler{}
	}
	a.Handle["GET /debug/ipsec"] = a.Private(s.serveReport)
}

func (s *Server) serveReport(w http.ResponseWriter, q *http.Request) {
	impi := q.URL.Query().Get("impi")
	if impi == "" {
		http.Error(w, "whose? ask for /debug/ipsec?impi=IMPI, the private identity", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.Report(impi)) // the reader has left
}

// Questions are the flags with which the command asks a running P-CSCF.
func Questions() []node.Question {
	return []node.Question{{
		Flag: "explain", Usage: "ask the running P-CSCF what is with the IPsec of `IMPI`, and why it does not come up",
		Path: func(impi string) string { return "/debug/ipsec?impi=" + url.QueryEscape(impi) },
		Print: func(w io.Writer, answer []byte) error {
			var r ipsec.Report
			if err := json.Unmarshal(answer, &r); err != nil {
				return err
			}
			for _, s := range r.Explanation {
				fmt.Fprintln(w, s)
			}
			return nil
		},
	}}
}
