package pcscf

import (
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ipsec"
)

// maxUnproven bounds how many sets stand whose challenge nobody has answered, of all private
// identities: anybody may send REGISTERs in the names of all subscribers, and each is challenged
// and has a set for reg-await-auth, some 4 KiB of the user-space back end or four states of the
// kernel's. A phone answers within a second or two.
const maxUnproven = 32768

// crowd are the sets of REGISTERs in clear over which nothing has come. It is guarded by
// security.mu.
type crowd struct {
	most, count int
	// order has them by age, and among them those that have left since the first came.
	order []ipsec.SetID
}

// leaves takes a set out, if it is there: it has gone, or somebody has shown its keys.
func (w *crowd) leaves(a *association) {
	if a.unproven {
		a.unproven = false
		w.count--
	}
}

// joins counts a new set, and ends the oldest where there are too many. The caller holds c.mu.
func (c *security) joins(a *association) {
	w := &c.crowd
	if c.byID[a.ID] == a && a.phone.life.Unproven() == a.Set {
		a.unproven = true
		w.count++
		w.order = append(w.order, a.ID)
	}
	for len(w.order) > 0 {
		first := c.byID[w.order[0]]
		if first != nil && first.unproven {
			if w.count <= w.most {
				return
			}
			c.abandon(first, "too many stand whose challenge nobody has answered, and this is the oldest")
		}
		w.order = w.order[1:]
	}
}

// abandon ends an unproven set that is in the way of others. The caller holds c.mu.
func (c *security) abandon(a *association, why string) {
	c.metric.failures.WithLabelValues("gave_way").Inc()
	c.s.verdicts.Limited().Log(c.s.deps.Log, zap.WarnLevel, "gave_way", "an SA set gives way: "+why+"; somebody sends REGISTERs in the names of others, or none of their answers comes through",
		zap.String("impi", a.Owner), zap.Stringer("set", a))
	c.run(a.phone, a.phone.life.Abandoned(why, time.Now()))
}
