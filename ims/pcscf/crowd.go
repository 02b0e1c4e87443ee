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
// from the network with the most, which whoever sends them from few addresses is in. It returns
// that one, nil for none, for a line in the log. The caller holds c.mu, and every message over
// SAs waits: what has left is passed once.
func (c *security) crowded(a *association) (goes *association) {
	w := &c.crowd
	if c.byID[a.ID] != a || a.phone.life.Unproven() != a.Set {
		return nil // it is of a REGISTER over another set
	}
	w.joins(a)
	if len(w.order) > 2*w.count+looked { // most have been answered
		still := make([]ipsec.SetID, 0, w.count)
		for _, id := range w.order {
			if o := c.byID[id]; o != nil && o.unproven {
				still = append(still, id)
			}
		}
		w.order = still
	}
	if w.count <= w.most {
		return nil
	}
	var oldest [looked]ipsec.SetID
	passed, n, most := 0, 0, 0
	for _, id := range w.order {
		if n == looked {
			break
		}
		passed++
		o := c.byID[id]
		if o == nil || !o.unproven {
			continue
		}
		oldest[n] = id
		n++
		if from := w.from[network(o.phone.key.addr)]; from > most {
			goes, most = o, from
		}
	}
	w.order = w.order[passed-n:]
	copy(w.order, oldest[:n])
	c.abandon(goes, errCrowded)
	return goes
}

// Why an unproven set is taken from whoever may have been about to use it.
var (
	errCrowded = &ipsec.GaveWayError{Why: "too many challenges stand that nobody has answered"}
	errRoom    = &ipsec.GaveWayError{Why: "another phone needs its ports, and nobody has answered its challenge"}
	errMany    = &ipsec.GaveWayError{Why: "its private identity has been challenged at too many addresses"}
)

// abandon ends an unproven set that is in the way of others. The caller holds c.mu.
func (c *security) abandon(a *association, why *ipsec.GaveWayError) {
	c.givesWay(a, why)
	c.run(a.phone, a.phone.life.Abandoned(why.Why, time.Now()))
}

// givesWay counts and remembers that an unproven set is about to end. The caller holds c.mu.
func (c *security) givesWay(a *association, why *ipsec.GaveWayError) {
	a.gaveWay = why
	c.metric.failures.WithLabelValues("gave_way").Inc()
	if a.phone.life.Stands(a.ID) { // or else its 401 does not leave
		c.facts.gaveWay(a.Owner)
	}
}

// toldWhoGaveWay writes that into the log. Nobody waits for it.
func (c *security) toldWhoGaveWay(a *association) {
	c.s.verdicts.Limited().Warn(c.s.deps.Log, "gave_way/"+a.gaveWay.Why, "the SA set of a phone has given way: "+a.gaveWay.Why+". Somebody sends REGISTERs in the names of others, or the answers of many phones do not come through",
		zap.String("impi", a.Owner), zap.Stringer("set", a))
}
