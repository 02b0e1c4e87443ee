package xfrm

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/vishvananda/netlink/nl"

	"github.com/gocscf/gocscf/ipsec"
)

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

// move makes what we send follow the peer; after an error it goes where it went, and
// the kernel will tell of the new place again. A new port is an update; a new address
// is another state.
func (b *Backend) move(in *installed, outer netip.AddrPort) error {
	was := in.outer
	in.outer = outer
	var err error
	if was.Addr() == outer.Addr() {
		err = b.update(in, in.hard)
	} else {
		err = b.replace(in, was)
	}
	if err != nil {
		in.outer = was
		_ = b.update(in, in.hard)
	}
	return err
}

// skipped is how many sequence numbers are left out when a state goes on for another:
// what the first has sent after it was asked must not be sent again. A receiver takes
// a gap for packets that were lost.
const skipped = 1 << 12

// replace puts states in for those that send to where the peer was. The old ones go
// when nothing needs them.
func (b *Backend) replace(in *installed, was netip.AddrPort) error {
	before := *in
	before.outer = was
	olds, news := b.associations(&before)[2:], b.associations(in)[2:]
	var undo []request
	now := b.now()
	life := limits(now, in.hard, true)
	step := func(r, back request) error {
		err := b.kernel.do(r)
		if err == nil || unknown(err) {
			undo = append(undo, back)
		}
		return err
	}
	err := func() error {
		for i, a := range news {
			if id, taken := b.states[a.key()]; taken && id != in.set.ID {
				return fmt.Errorf("the SPI %d of %v is taken by set %d", a.SPI, a.dst, id)
			}
			if b.states[olds[i].key()] != in.set.ID {
				continue // it waits for another set's
			}
			old, ok := b.standing(olds[i].key())
			if !ok {
				return fmt.Errorf("%v is not in the kernel any more", olds[i])
			}
			oseq := old.oseq + min(skipped, math.MaxUint32-old.oseq)
			if err := step(stateAdd(nl.XFRM_MSG_NEWSA, a, in.set, life, oseq), stateDel(a.key())); err != nil {
				return stateFault("add "+a.String(), in.set.Pair, a.dst.Is4(), err)
			}
		}
		for i, a := range news {
			back := protect(nl.XFRM_MSG_UPDPOLICY, olds[i], now, in.hard)
			if err := step(protect(nl.XFRM_MSG_UPDPOLICY, a, now, in.hard), back); err != nil {
				return policyFault("update the policy for "+a.String(), err)
			}
		}
		return nil
	}()
	if err != nil {
		for i := len(undo) - 1; i >= 0; i-- {
			_ = b.kernel.do(undo[i])
		}
		return err
	}
	for i, a := range news {
		if b.states[olds[i].key()] != in.set.ID {
			continue
		}
		delete(b.states, olds[i].key())
		b.states[a.key()] = in.set.ID
		// One that stays ends by itself; nothing leads to it.
		_ = b.kernel.do(stateDel(olds[i].key()))
	}
	return nil
}
