package ladder

import "time"

// seen remembers messages for as long as they may be retransmitted.
type seen map[sighting]time.Time

type sighting struct {
	key      string
	from, to int
}

// remember is 64·T1 of the Gm timers (TS 24.229 7.7): nothing is retransmitted
// for longer.
const remember = 128 * time.Second

// maxSeen bounds the table; beyond it the oldest are not looked for, all go.
const maxSeen = 10_000

// again reports whether the same message has passed between the same nodes.
func (s seen) again(key string, from, to int, at time.Time) bool {
	if len(s) >= maxSeen {
		clear(s)
	}
	k := sighting{key, from, to}
	last, ok := s[k]
	s[k] = at
	return ok && at.Sub(last) < remember
}
