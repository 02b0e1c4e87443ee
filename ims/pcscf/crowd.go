package pcscf

import (
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ipsec"
)

// maxUnproven bounds how many sets stand whose challenge nobody has answered, of all private
// identities: anybody may send REGISTERs in the names of all subscribers, and each is challenged
// and has a set for reg-await-auth, some 4 KiB of the user-space back end, or four states and four
// policies of the kernel's. A phone answers within a second or two.
const maxUnproven = 32768

// crowd are the unproven sets, see ipsec.Life. It is guarded by security.mu.
type crowd struct {
	most, count int
	from        map[netip.Prefix]int // how many are from where
	// order has them by age, and among them some that have left.
	order []ipsec.SetID
}

// joins counts a new set.
func (w *crowd) joins(a *association) {
	a.unproven = true
	w.count++
	if w.from == nil {
		w.from = map[netip.Prefix]int{}
	}
	w.from[network(a.phone.key.addr)]++
	w.order = append(w.order, a.ID)
}

// leaves takes a set out, if it is there: it has gone, or somebody has shown its keys.
func (w *crowd) leaves(a *association) {
	if !a.unproven {
		return
	}
	a.unproven = false
	w.count--
	n := network(a.phone.key.addr)
	if w.from[n]--; w.from[n] == 0 {
		delete(w.from, n)
	}
}

// looked is among how many of the oldest one is chosen to give way.
const looked = 64

// crowded counts a new set, and where there are too many ends one: of the oldest, the first
// from the network with the most, which whoever sends them from few addresses is in. The
// caller holds c.mu.
func (c *security) crowded(a *association) {
	w := &c.crowd
	if c.byID[a.ID] != a || a.phone.life.Unproven() != a.Set {
		return // it is of a REGISTER over another set
	}
	w.joins(a)
	if len(w.order) > 2*w.count+looked {
		still := make([]ipsec.SetID, 0, w.count)
		for _, id := range w.order {
			if o := c.byID[id]; o != nil && o.unproven {
				still = append(still, id)
			}
		}
		w.order = still
	}
	if w.count <= w.most {
		return
	}
	var goes *association
	seen, most := 0, 0
	for _, id := range w.order {
		o := c.byID[id]
		if o == nil || !o.unproven {
			continue
		}
		if n := w.from[network(o.phone.key.addr)]; n > most {
			goes, most = o, n
		}
		if seen++; seen == looked {
			break
		}
	}
	c.s.verdicts.Limited().Warn(c.s.deps.Log, "crowded", "an SA set gives way to newer ones: too many stand whose challenge nobody has answered. Somebody sends REGISTERs in many names, or the answers of very many phones do not come through",
		zap.String("impi", goes.Owner), zap.Stringer("set", goes), zap.Int("sets", w.count), zap.Int("from_its_network", most))
	c.abandon(goes, "too many stand whose challenge nobody has answered")
}

// abandon ends an unproven set that is in the way of others. The caller holds c.mu.
func (c *security) abandon(a *association, why string) {
	a.gaveWay = true
	c.metric.failures.WithLabelValues("gave_way").Inc()
	c.facts.note(a.Owner, func(k *fact, now moment) { k.gaveWayAt = now })
	c.run(a.phone, a.phone.life.Abandoned(why, time.Now()))
}
