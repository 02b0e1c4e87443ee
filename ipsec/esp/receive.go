package esp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// receive takes a packet from a carrier.
func (e *Engine) receive(c Carrier, data []byte, src, dst netip.AddrPort) {
	if len(data) < headerLen {
		e.dropped(Drop{Reason: NotESP, Outer: src})
		return
	}
	spi := binary.BigEndian.Uint32(data)
	if spi == 0 { // the non-ESP marker of RFC 3948 2.2, or nothing at all
		e.dropped(Drop{Reason: NotESP, Outer: src})
		return
	}
	now := time.Now()
	sa, more := e.in.get(spi)
	var saved []byte // a wrong key may spoil what is opened in place
	if len(more) > 0 {
		pool := packetsFor(len(data))
		buf := pool.Get().(*[]byte)
		defer pool.Put(buf)
		saved = (*buf)[:copy(*buf, data)]
	}
	var first *inbound // whose SPI it is, though nothing else fits
	reason := UnknownSPI
	for ; sa != nil; sa, more = next(more) {
		if a := dst.Addr(); c.Kind() == IP && a.IsValid() && a != sa.of.set.Local.Addr {
			continue
		}
		if first != nil {
			copy(data, saved)
		}
		r, ok := e.open(sa, c, data, src, now)
		if ok {
			return
		}
		if first == nil || r != BadICV {
			first, reason = sa, r
		}
		if r != BadICV && r != Replayed {
			break // it was authentic: it is this one's
		}
	}
	if first == nil {
		e.unknown.add(src.Addr(), spi, now)
		e.dropped(Drop{Reason: UnknownSPI, SPI: spi, Outer: src})
		return
	}
	first.bad(reason)
	e.dropped(Drop{Reason: reason, SPI: spi, Outer: src, Set: first.of.set})
}

// next is the first of a list, nil for none, and those behind it.
func next(list []*inbound) (*inbound, []*inbound) {
	if len(list) == 0 {
		return nil, nil
	}
	return list[0], list[1:]
}

// open takes a packet as sa's (RFC 4303 3.4). Where that fails it says why.
func (e *Engine) open(sa *inbound, c Carrier, data []byte, src netip.AddrPort, now time.Time) (Reason, bool) {
	seq := binary.BigEndian.Uint32(data[4:])
	sa.mu.Lock()
	if !sa.window.check(seq) {
		sa.mu.Unlock()
		return Replayed, false
	}
	payload, next, err := sa.of.transform.Open(data)
	if err != nil && !errors.Is(err, ErrPadding) {
		sa.mu.Unlock()
		return BadICV, false // or too short to have one: nobody vouches for it
	}
	newest := sa.window.accept(seq)
	sa.mu.Unlock()
	if err != nil {
		return Malformed, false
	}
	return e.authentic(sa, Path{c, src}, payload, next, packetFacts{len(data), newest, now})
}

type packetFacts struct {
	octets int
	newest bool // the sequence number is the highest so far
	now    time.Time
}

// authentic takes what a packet of sa carried.
func (e *Engine) authentic(sa *inbound, by Path, payload []byte, next uint8, f packetFacts) (Reason, bool) {
	proto, payload, reason, ok := e.inside(sa, by, payload, next, f.now)
	if !ok {
		return reason, false
	}
	if proto == protoUDP {
		if payload, ok = parseUDP(payload, sa.of.set.Remote.Addr, sa.of.set.Local.Addr); !ok {
			return Malformed, false
		}
	}
	sa.good(f.octets, e.since(f.now))
	if f.newest {
		e.learn(sa.of, by)
	}
	var err error
	switch proto {
	case protoUDP:
		err = e.upper.ReceiveUDP(sa.dst(), sa.src(), payload)
	case protoTCP:
		err = e.upper.ReceiveTCP(sa.dst(), sa.src(), payload)
	}
	if err != nil {
		r := QueueFull
		if errors.Is(err, ErrNoListener) {
			r = NoListener
		}
		e.dropped(Drop{Reason: r, SPI: sa.spi(), Outer: by.Outer, Set: sa.of.set})
	}
	return 0, true
}

// learn remembers the way by which a set's peer was heard.
func (e *Engine) learn(a *association, by Path) {
	old := a.path.Load()
	if old != nil && *old == by {
		return
	}
	if !a.path.CompareAndSwap(old, &Path{by.Carrier, by.Outer}) || e.cfg.Observer == nil {
		return
	}
	if old == nil {
		e.cfg.Observer.FirstPacket(a.set, by)
	} else {
		e.cfg.Observer.PathChanged(a.set, *old, by)
	}
}

func (e *Engine) dropped(d Drop) {
	e.drops[d.Reason].Add(1)
	if e.cfg.Observer != nil {
		e.cfg.Observer.Dropped(d)
	}
}
