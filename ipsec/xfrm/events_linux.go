package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

// listen reads what the kernel tells of, until Close.
func (b *Backend) listen() {
	defer b.running.Done()
	for {
		msgs, from, err := b.events.Receive()
		switch {
		case err != nil && b.ending():
			return
		case errors.Is(err, unix.ENOBUFS):
			b.recount()
			continue
		case err != nil:
			b.failed(fmt.Errorf("read the kernel's IPsec events: %w", err))
			return
		case from.Pid != nl.PidKernel:
			continue
		}
		for _, m := range msgs {
			switch m.Header.Type {
			case nl.XFRM_MSG_EXPIRE:
				b.expire(m.Data)
			case nl.XFRM_MSG_MAPPING:
				b.remap(m.Data)
			}
		}
	}
}

// ending reports whether Close has been called: it makes a read fail, in one of
// several ways.
func (b *Backend) ending() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

func (b *Backend) failed(err error) {
	if b.config.Failed != nil {
		b.config.Failed(err)
	}
}

// expire is told of one state; four of a set end together, and one is told of.
func (b *Backend) expire(data []byte) {
	if len(data) < nl.SizeofXfrmUserExpire {
		return
	}
	e := nl.DeserializeXfrmUserExpire(data)
	info := &e.XfrmUsersaInfo
	if info.Reqid != requestID {
		return
	}
	k := key{addr(info.Id.Daddr, info.Family), nl.Swap32(info.Id.Spi)}
	b.mu.Lock()
	id := b.states[k]
	b.mu.Unlock()
	b.expired(id, e.Hard != 0)
}

func (b *Backend) expired(id ipsec.SetID, hard bool) {
	kind := 0
	if hard {
		kind = 1
	}
	b.mu.Lock()
	in := b.sets[id]
	if in == nil || in.told[kind] {
		b.mu.Unlock()
		return
	}
	in.told[kind] = true
	b.mu.Unlock()
	if b.config.Expired != nil {
		b.config.Expired(id, hard)
	}
}

// recount looks which sets are still there: the kernel had more to tell than it
// could keep.
func (b *Backend) recount() {
	b.mu.Lock()
	var ended []ipsec.SetID
	for id, in := range b.sets {
		for _, a := range b.associations(in) {
			if b.states[a.key()] != id {
				continue
			}
			if _, err := b.kernel.get(stateGet(a.key()), false); gone(err) {
				ended = append(ended, id)
				break
			}
		}
	}
	b.mu.Unlock()
	for _, id := range ended {
		b.expired(id, true)
	}
}

// mappingLen is the length of struct xfrm_user_mapping: the state, a request ID, two
// addresses, two ports.
const mappingLen = nl.SizeofXfrmUsersaId + 4 + 2*nl.SizeofXfrmAddress + 4

// remap is told that good packets of an association come from another place.
func (b *Backend) remap(data []byte) {
	if len(data) < mappingLen {
		return
	}
	sa := nl.DeserializeXfrmUsersaId(data)
	k := key{addr(sa.Daddr, sa.Family), nl.Swap32(sa.Spi)}
	const addrAt = nl.SizeofXfrmUsersaId + 4 + nl.SizeofXfrmAddress
	const portAt = addrAt + nl.SizeofXfrmAddress + 2
	outer := netip.AddrPortFrom(addr(nl.XfrmAddress(data[addrAt:addrAt+nl.SizeofXfrmAddress]), sa.Family),
		uint16(data[portAt])<<8|uint16(data[portAt+1]))
	b.mu.Lock()
	id := b.states[k]
	in := b.sets[id]
	if in == nil || !outer.IsValid() || outer.Port() == 0 || in.outer == outer ||
		in.set.Mode == ipsec.Transport && outer.Addr() != in.outer.Addr() {
		b.mu.Unlock()
		return
	}
	err := b.move(in, outer)
	b.mu.Unlock()
	switch {
	case err != nil:
		b.failed(fmt.Errorf("send %v to its new place %v: %w", in.set, outer, err))
	case b.config.Mapped != nil:
		b.config.Mapped(id, outer)
	}
}

// move makes what we send follow the peer. A new port is an update; a new address is
// another state, which goes on counting where the first has stopped.
func (b *Backend) move(in *installed, outer netip.AddrPort) error {
	was := b.associations(in)
	sameAddr := in.outer.Addr() == outer.Addr()
	in.outer = outer
	if sameAddr {
		return b.update(in, in.hard)
	}
	life, now := limits(in.added, in.hard, true), b.now()
	for i, a := range b.associations(in) {
		if a.in {
			continue
		}
		if id, taken := b.states[a.key()]; taken && id != in.set.ID {
			return fmt.Errorf("the SPI %d of %v is taken by set %d", a.SPI, a.dst, id)
		}
		if b.states[was[i].key()] == in.set.ID {
			old, ok := b.standing(was[i].key())
			if !ok {
				return fmt.Errorf("%v is not in the kernel any more", was[i])
			}
			if err := b.kernel.do(stateDel(was[i].key())); err != nil {
				return fault("remove "+was[i].String(), err)
			}
			delete(b.states, was[i].key())
			if err := b.kernel.do(stateAdd(nl.XFRM_MSG_NEWSA, a, in.set, life, old.oseq)); err != nil {
				return stateFault("add "+a.String(), in.set.Pair, a.dst.Is4(), err)
			}
			b.states[a.key()] = in.set.ID
		}
		if err := b.kernel.do(protect(nl.XFRM_MSG_UPDPOLICY, a, now, in.hard)); err != nil {
			return policyFault("update the policy for "+a.String(), err)
		}
	}
	return nil
}

// takeOverEvery is how often a set that waits looks for its first packet.
const takeOverEvery = 20 * time.Millisecond

// wait starts to look after sets that wait, unless that goes on already. The caller
// holds the lock.
func (b *Backend) wait() {
	b.waiting++
	if b.waiting > 1 {
		return
	}
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
	if b.closed {
		return false, nil
	}
	for id, in := range b.sets {
		if !in.waits {
			continue
		}
		free, heard := true, false
		for _, a := range b.associations(in) {
			if !a.in {
				_, taken := b.states[a.key()]
				free = free && !taken
			} else if st, ok := b.standing(a.key()); ok && st.stats.Packets > 0 {
				heard = true
			}
		}
		if !free && !heard {
			continue
		}
		in.waits = false
		b.waiting--
		for _, a := range b.associations(in) {
			if a.in {
				continue
			}
			if err := b.kernel.do(stateDel(a.key())); err != nil && !gone(err) {
				errs = append(errs, fault("take over "+a.String(), err))
				continue
			}
			delete(b.states, a.key())
			if err := b.kernel.do(stateAdd(nl.XFRM_MSG_NEWSA, a, in.set, limits(in.added, in.hard, true), 0)); err != nil {
				errs = append(errs, stateFault("add "+a.String(), in.set.Pair, a.dst.Is4(), err))
				continue
			}
			b.states[a.key()] = id
		}
	}
	return b.waiting > 0, errs
}
