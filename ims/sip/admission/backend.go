package admission

import (
	"sync"
	"time"
)

// BackendConfig configures a Backend. What is zero has the default named.
type BackendConfig struct {
	// Slow is how long an answer may take before the backend counts as slow, and how
	// long it may say nothing while it is being asked. Default 500 ms.
	Slow time.Duration
	// Patience is how long an answer may be expected to take before nobody is to wait
	// for one more. Default 1 s.
	Patience time.Duration
	// Least is how many questions may always be open, so that the end of the trouble is
	// noticed. Default 16.
	Least int
	// Most is how many may be open at all. Default 4096.
	Most int
}

// Backend decides whether an element may begin what needs an answer from somebody who
// is not SIP: the HSS over Cx. While answers are quick it lets everything pass. When
// they are slow, or do not come, it lets no more be open than the backend answers within
// BackendConfig.Patience at the pace that it shows (Little's law): what would wait longer
// is refused at once, in place of piling up and timing out. Methods and times are like
// those of a Controller.
type Backend struct {
	cfg BackendConfig

	mu       sync.Mutex
	open     int
	heard    int64   // when the last answer came, or the first of the open questions was asked
	took     float64 // moving average of what answers took, in nanoseconds
	pace     float64 // answers a second
	began    int64   // of the window in which answered are counted
	answered int
	refused  uint64
}

// NewBackend returns a Backend that has not been asked anything.
func NewBackend(cfg BackendConfig) *Backend {
	if cfg.Slow <= 0 {
		cfg.Slow = 500 * time.Millisecond
	}
	if cfg.Patience <= 0 {
		cfg.Patience = time.Second
	}
	if cfg.Least <= 0 {
		cfg.Least = 16
	}
	if cfg.Most <= 0 {
		cfg.Most = 4096
	}
	return &Backend{cfg: cfg}
}

// Room reports whether work of a class may begin for which the backend is asked. For
// Begun there is room for twice as many, and for Vital always for as many as that while
// answers are quick.
func (b *Backend) Room(now int64, class Class) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.limit(now)
	if class == Vital {
		limit = b.cfg.Most
	}
	if class != New {
		limit *= 2
	}
	if b.open >= limit {
		b.refused++
		return false
	}
	return true
}

// Spare reports whether the backend may be asked what nobody waits for, of which so many
// questions are open: while half of what may be open is free, and else an eighth of that.
// What is open at a slow backend follows what it is asked, so that without a part of its
// own such a question might never come.
func (b *Backend) Spare(now int64, such int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.limit(now)
	return b.open < limit/2 || such < max(1, limit/8)
}

// limit is how many questions may be open.
func (b *Backend) limit(now int64) int {
	b.count(now)
	if !b.slow(now) {
		return b.cfg.Most
	}
	return min(b.cfg.Most, max(b.cfg.Least, int(b.pace*b.cfg.Patience.Seconds())))
}

func (b *Backend) slow(now int64) bool {
	return b.open > 0 && (b.took > float64(b.cfg.Slow) || now-b.heard > int64(b.cfg.Slow))
}

// count brings the pace up to date.
func (b *Backend) count(now int64) {
	if d := time.Duration(now - b.began); d >= window {
		b.pace += min(1, d.Seconds()/longest.Seconds()*2) * (float64(b.answered)/d.Seconds() - b.pace)
		b.began, b.answered = now, 0
	}
}

// Asked notes a question.
func (b *Backend) Asked(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count(now)
	if b.open == 0 {
		b.heard = now
	}
	b.open++
}

// Answered notes how a question ended that took so long: whether an answer came.
func (b *Backend) Answered(now int64, took time.Duration, came bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count(now)
	b.open--
	if came {
		b.heard = now
		b.answered++
	}
	if came || took > b.cfg.Slow { // what fails at once says nothing of how long answers take
		b.took += (float64(took) - b.took) / 8
	}
}

// BackendState is what a Backend sees at one moment.
type BackendState struct {
	Open    int           // questions without an answer
	Took    time.Duration // moving average of what answers take
	Slow    bool          // no more may be open than Limit
	Limit   int           // questions that may be open
	Refused uint64        // since the start
}

// State returns what holds now.
func (b *Backend) State(now int64) BackendState {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := BackendState{Open: b.open, Took: time.Duration(b.took), Limit: b.limit(now), Refused: b.refused}
	s.Slow = b.slow(now)
	return s
}
