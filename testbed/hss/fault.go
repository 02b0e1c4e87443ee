package hss

import (
	"sync"
	"time"

	"github.com/gocscf/gocscf/diameter"
)

// Fault makes the HSS misbehave for some requests. A request that meets one with
// Result or Drop changes nothing in the HSS.
type Fault struct {
	Command string // "UAR", "MAR", "SAR", "LIR"; empty for any
	Times   int    // how many requests; 0 means all until ClearFaults
	// Result is answered instead of the right answer, for instance
	// diameter.Base(diameter.UnableToComply) or cx.ErrorUserUnknown.Result().
	Result diameter.Result
	Drop   bool          // no answer at all
	Delay  time.Duration // before the answer
}

// faults are the orders that are in force, the oldest first.
type faults struct {
	mu   sync.Mutex
	list []Fault
}

// Inject orders a fault; several for one command are used up in order.
func (s *Server) Inject(f Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if f.Times == 0 {
		f.Times = -1
	}
	s.faults.list = append(s.faults.list, f)
}

// ClearFaults ends all faults. Answers that are delayed already stay so.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = nil
}

// take returns the fault that meets a request, the zero value for none.
func (f *faults) take(command string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		hit := &f.list[i]
		if hit.Command != "" && hit.Command != command {
			continue
		}
		out := *hit
		if hit.Times > 0 {
			if hit.Times--; hit.Times == 0 {
				f.list = append(f.list[:i], f.list[i+1:]...)
			}
		}
		return out
	}
	return Fault{}
}
