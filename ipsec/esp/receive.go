package esp

import (
	"encoding/binary"
	"errors"
	"math"
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
	list := e.in.get(spi)
	var saved []byte // a wrong key may spoil what is opened in place
	if len(list) > 1 {
		buf := packets.Get().(*[math.MaxUint16]byte)
		defer packets.Put(buf)
		saved = buf[:copy(buf[:], data)]
	}
	var first *inbound // whose SPI it is, though nothing else fits
	reason := UnknownSPI
	for _, sa := range list {
		if a := dst.Addr(); c.Kind() == IP && a.IsValid() && a != sa.Dst.Addr() {
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
	e.dropped(Drop{Reason: reason, SPI: spi, Outer: src, Set: &first.of.set})
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
		if payload, ok = parseUDP(payload, sa.Src.Addr(), sa.Dst.Addr()); !ok {
			return Malformed, false
		}
	}
	sa.good(f.octets, sa.of.since(f.now))
	if f.newest {
		e.learn(sa.of, by)
	}
	var err error
	switch proto {
	case protoUDP:
		err = e.upper.ReceiveUDP(sa.Dst, sa.Src, payload)
	case protoTCP:
		err = e.upper.ReceiveTCP(sa.Dst, sa.Src, payload)
	}
	if err != nil {
		r := QueueFull
		if errors.Is(err, ErrNoListener) {
			r = NoListener
		}
		e.dropped(Drop{Reason: r, SPI: sa.SPI, Outer: by.Outer, Set: &sa.of.set})
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
		e.cfg.Observer.FirstPacket(&a.set, by)
	} else {
		e.cfg.Observer.PathChanged(&a.set, *old, by)
	}
}

func (e *Engine) dropped(d Drop) {
	e.drops[d.Reason].Add(1)
	if e.cfg.Observer != nil {
		e.cfg.Observer.Dropped(d)
	}
}
