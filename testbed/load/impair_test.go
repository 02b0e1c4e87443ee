package load

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestImpairment: each datagram is lost, doubled, late or none of these, in the shares
// that were asked for, and the copies keep what the datagram held.
func TestImpairment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, share, delay = 30_000, 0.2, 50 * time.Millisecond
		var i Impairment
		var later, wrong atomic.Int64
		send := func() (passed int) {
			for range n {
				b := []byte("datagram")
				began := time.Now()
				if i.pass(b, func(b []byte) {
					later.Add(1)
					if string(b) != "datagram" || time.Since(began) > delay {
						wrong.Add(1)
					}
				}) {
					passed++
				}
				copy(b, "used again") // as a buffer is
			}
			time.Sleep(2 * delay)
			return passed
		}
		if passed := send(); passed != n || later.Load() != 0 {
			t.Fatalf("without damage %d of %d pass and %d come later", passed, n, later.Load())
		}
		i.Set(Damage{Lost: share, Doubled: share, Late: share, Delay: delay})
		passed := send()
		lost, doubled, late := i.Counts()
		for name, count := range map[string]uint64{"lost": lost, "doubled": doubled, "late": late} {
			if count < n*share*9/10 || count > n*share*11/10 {
				t.Errorf("%d of %d datagrams are %s, want a share of about %g", count, n, name, share)
			}
		}
		if uint64(passed) != n-lost-late || later.Load() != int64(doubled+late) || wrong.Load() != 0 {
			t.Errorf("%d passed and %d came later, %d of them wrong: %d lost, %d doubled, %d late", passed, later.Load(), wrong.Load(), lost, doubled, late)
		}
	})
}
