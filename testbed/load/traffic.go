package load

import (
	"fmt"
	"maps"
	"sync"
)

// Traffic counts what phones sent and heard, over one or more runs: requests, each once
// however often it was sent, and the final answers to them. A request that is counted
// and not answered is under way, or its phone has given up. It may be read meanwhile.
type Traffic struct {
	mu       sync.Mutex
	requests map[string]uint64
	answers  map[string]uint64
	late     map[string]uint64
}

// TrafficCount is a Traffic at a moment. Requests are by method; Answers are by method
// and status, as "REGISTER 200"; Late are final answers to a REGISTER whose phone had one
// already, or had given up.
type TrafficCount struct {
	Requests map[string]uint64 `json:"requests"`
	Answers  map[string]uint64 `json:"answers"`
	Late     map[string]uint64 `json:"late"`
}

// Count reads the counters.
func (t *Traffic) Count() TrafficCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TrafficCount{maps.Clone(t.requests), maps.Clone(t.answers), maps.Clone(t.late)}
}

func (t *Traffic) request(method string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.requests == nil {
		t.requests, t.answers, t.late = map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	}
	t.requests[method]++
}

// answer counts a final answer. There are no more keys than methods of ours and statuses
// of three digits. late is one that nobody waits for.
func (t *Traffic) answer(method string, status int, late bool) {
	if t == nil || status < 200 || status > 699 {
		return
	}
	key := fmt.Sprintf("%s %d", method, status)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.requests == nil { // nothing of ours was asked
		return
	}
	if late {
		t.late[key]++
	} else {
		t.answers[key]++
	}
}
