package xfrm

import (
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// sighting is when an association was found to have carried so many packets.
type sighting struct {
	packets uint64
	at      time.Time
}

// Stats asks the kernel what has gone over a set. Kernels before 6.2 do not tell when
// an association was used last: then Last is when Stats first saw its packets.
func (b *Backend) Stats(id ipsec.SetID) (ipsec.SetStats, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.sets[id]
	if in == nil {
		return ipsec.SetStats{}, false
	}
	var st ipsec.SetStats
	for i, a := range b.associations(in) {
		if b.states[a.key()] != id {
			continue
		}
		got, ok := b.standing(a.key())
		if ok && got.stats.Packets != 0 && got.stats.Last.IsZero() {
			got.stats.Last = in.sighted(i, got, b.now())
		}
		switch {
		case !ok:
		case a.in:
			st.In[i%2] = got.stats
		default:
			st.Out[i%2] = got.stats
		}
	}
	return st, true
}

// sighted is when the i-th association's last packet was, as far as is known.
func (in *installed) sighted(i int, got standing, now time.Time) time.Time {
	if seen := in.seen[i]; seen.packets == got.stats.Packets {
		return seen.at
	}
	if first := int64(got.info.Curlft.UseTime); got.stats.Packets == 1 && first != 0 {
		now = time.Unix(first, 0)
	}
	in.seen[i] = sighting{got.stats.Packets, now}
	return now
}

// standing asks for one state; false when the kernel does not have it.
func (b *Backend) standing(k key) (standing, bool) {
	answers, err := b.kernel.get(stateGet(k), false)
	if err != nil || len(answers) != 1 {
		return standing{}, false
	}
	return parseState(answers[0])
}
