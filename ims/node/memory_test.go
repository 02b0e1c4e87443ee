package node

import "testing"

func TestQuiet(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name          string
		before, after memory
		want          bool
	}{
		{"after a burst", memory{1000 * mib, 100 * mib, 200 * mib}, memory{1001 * mib, 100 * mib, 201 * mib}, true},
		{"the burst goes on", memory{1000 * mib, 100 * mib, 200 * mib}, memory{1050 * mib, 100 * mib, 180 * mib}, false},
		{"nothing to gain", memory{1000 * mib, 100 * mib, 110 * mib}, memory{1001 * mib, 100 * mib, 111 * mib}, false},
		{"small, at rest", memory{5 * mib, 2 * mib, 4 * mib}, memory{5 * mib, 2 * mib, 4 * mib}, false},
		{"small, after a burst", memory{50 * mib, 2 * mib, 20 * mib}, memory{50 * mib, 2 * mib, 20 * mib}, true},
		{"registrations go by at rest", memory{1000 * mib, 100 * mib, 200 * mib}, memory{1010 * mib, 100 * mib, 200 * mib}, true},
	} {
		if got := tt.after.quiet(tt.before); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What the runtime says is there at all, and what is held covers what is live.
func TestReadMemory(t *testing.T) {
	m := readMemory()
	if m.allocated == 0 || m.held == 0 || m.held < m.live/2 {
		t.Errorf("%+v", m)
	}
}
