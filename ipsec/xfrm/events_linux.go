package xfrm

import (
	"errors"
	"fmt"
	"slices"
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
	late := !b.current(id, info, e.Hard != 0)
	b.mu.Unlock()
	if !late {
		b.expired(id, e.Hard != 0)
	}
}

// current reports whether an event is of what a set is now. It may have been under way
// while another set has taken the SPI over, or the end has been moved.
func (b *Backend) current(id ipsec.SetID, info *nl.XfrmUsersaInfo, hard bool) bool {
	in := b.sets[id]
	if in == nil {
		return false
	}
	src, dst := ends(info.Sel)
	ours := slices.ContainsFunc(b.associations(in), func(a association) bool { return a.Src == src && a.Dst == dst })
	// The kernel counts whole seconds, and begins in the middle of one.
	return ours && (hard || in.hard.Sub(b.now()) < softBefore+2*time.Second)
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
