package xfrm

import (
	"time"

	"github.com/vishvananda/netlink/nl"
)

// takeOverEvery is how often a set that waits looks for its first packet.
const takeOverEvery = 20 * time.Millisecond

// takeOverAgain is how long a set at least waits on that has got less than all.
const takeOverAgain = time.Second

// wait starts to look after sets that wait, unless that goes on already. The caller
// holds the lock.
func (b *Backend) wait() {
	b.waiting++
	if b.looking {
		return
	}
	b.looking = true
	b.running.Add(1)
	go func() {
		defer b.running.Done()
		tick := time.NewTicker(takeOverEvery)
		defer tick.Stop()
		for {
			select {
			case <-b.done:
				return
			case <-tick.C:
			}
			more, errs := b.takeOver()
			for _, err := range errs {
				b.failed(err)
			}
			if !more {
				return
			}
		}
	}()
}

// takeOver gives waiting sets their outgoing associations, those that may have them.
//
// A phone that has lost everything may come back with SPIs that it had before, while
// the set of then still stands here. The kernel finds a state by address and SPI, so
// one of the sets can send. The old one does until a good packet on the new one shows
// that this is the phone, and no stranger with its address: it has chosen the SPIs,
// so it cannot use them for the old set any more. It reports whether sets still wait.
func (b *Backend) takeOver() (more bool, errs []error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.looking = more }()
	if b.closed {
		return false, nil
	}
	for _, in := range b.sets {
		switch {
		case !in.waits || b.now().Before(in.again):
			continue
		case b.overtaken(in):
			in.waits = false
			b.waiting--
			continue
		case !b.mayTakeOver(in):
			continue
		}
		failed, began := len(errs), b.now()
		for _, a := range b.associations(in) {
			if a.in {
				continue
			}
			if err := b.takeOverOne(in, a); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) > failed {
			now := b.now()
			in.again = now.Add(max(takeOverAgain, 10*now.Sub(began))) // a kernel that is slow holds others up
			continue
		}
		in.waits = false
		b.waiting--
	}
	return b.waiting > 0, errs
}

// overtaken reports whether a set is not to have its outgoing associations any more: a later
// set of its phone, which has been heard, has one of them.
func (b *Backend) overtaken(in *installed) bool {
	for _, a := range b.associations(in) {
		if o := b.holder(a, in); o != nil && o.set.ID > in.set.ID && b.heard(o) {
			return true
		}
	}
	return false
}

// holder is another set than in that has an outgoing association's place in the kernel; nil
// for none.
func (b *Backend) holder(a association, in *installed) *installed {
	id, taken := b.states[a.key()]
	if a.in || !taken || id == in.set.ID {
		return nil
	}
	return b.sets[id]
}

// heard reports whether a good packet has come on a set.
func (b *Backend) heard(in *installed) bool {
	for _, a := range b.associations(in) {
		if !a.in {
			continue
		}
		if st, ok := b.standing(a.key()); ok && st.stats.Packets > 0 {
			return true
		}
	}
	return false
}

// mayTakeOver reports whether a set may have its outgoing associations: nobody has them, or
// its phone, whose they are, has been heard.
func (b *Backend) mayTakeOver(in *installed) bool {
	free := true
	for _, a := range b.associations(in) {
		if o := b.holder(a, in); o != nil {
			free = false
			if o.set.Owner != in.set.Owner {
				return false
			}
		}
	}
	return free || b.heard(in)
}

// awaited returns the set of another owner that waits for an association's place; nil for
// none.
func (b *Backend) awaited(a association, owner string) *installed {
	if b.waiting == 0 {
		return nil
	}
	for _, o := range b.sets {
		if !o.waits || o.set.Owner == owner {
			continue
		}
		for _, w := range b.associations(o) {
			if !w.in && w.key() == a.key() {
				return o
			}
		}
	}
	return nil
}

// takeOverOne gives a set an outgoing association, unless it has that from an attempt before.
func (b *Backend) takeOverOne(in *installed, a association) error {
	if b.states[a.key()] == in.set.ID {
		if _, ok := b.standing(a.key()); ok {
			return nil
		}
	}
	before := b.holder(a, in)
	if err := b.kernel.do(stateDel(a.key())); err != nil && !gone(err) {
		return fault("take over "+a.String(), err)
	}
	delete(b.states, a.key())
	if before != nil && before.set.ID > in.set.ID && !before.waits { // it has them back when it is heard
		before.waits = true
		b.waiting++
	}
	err := b.kernel.do(stateAdd(nl.XFRM_MSG_NEWSA, a, in.set, limits(b.now(), in.hard, true), 0))
	if err == nil || unknown(err) {
		b.states[a.key()] = in.set.ID
	}
	if err != nil {
		return stateFault("add "+a.String(), in.set.Pair, a.dst.Is4(), err)
	}
	return nil
}
