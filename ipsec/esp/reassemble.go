package esp

import (
	"container/list"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The bounds of a reassembler.
const (
	// reassemblyTimeout is how long fragments wait for the others: RFC 8200 4.5
	// has 60 s, RFC 791 15 s; Linux gives IPv4 30 s.
	reassemblyTimeout = 30 * time.Second
	reassemblyMemory  = 4 << 20
	maxFragments      = 128 // of one datagram: 64 KiB of the smallest MTU
	maxPerSource      = 16  // datagrams in work
)

// reassembler puts IP fragments together, for carriers that deliver IP packets:
// ESP is processed only on whole ones (RFC 4303 3.4.1). Its memory is bounded;
// what came first goes first. A datagram whose fragments overlap is dropped with
// all of them (RFC 5722). The zero reassembler is ready, and safe to use from any
// goroutine. It keeps no timer: what is too old goes when the next fragment comes.
type reassembler struct {
	Memory int // replaces 4 MiB

	mu        sync.Mutex
	datagrams map[fragmentKey]*list.Element
	order     list.List                 // of *datagram, the oldest first
	sources   map[quota][]*list.Element // the oldest first, at most maxPerSource each
	memory    int
	stats     reassemblyStats
}

// reassemblyStats counts what a reassembler has done.
type reassemblyStats struct {
	Whole     uint64 // datagrams that were put together
	TimedOut  uint64 // datagrams given up after the timeout
	Crowded   uint64 // datagrams given up for memory, or for others of their source
	Overlap   uint64 // datagrams whose fragments overlapped
	Malformed uint64 // fragments that cannot be
}

func (s reassemblyStats) lost() uint64 { return s.TimedOut + s.Crowded + s.Overlap + s.Malformed }

type fragmentKey struct {
	src, dst netip.Addr
	id, spi  uint32
	proto    uint8
}

type datagram struct {
	key    fragmentKey
	parts  []part // in order of offset, without overlap
	total  int    // -1 until the last fragment has come
	have   int
	poison bool // its fragments overlapped: those still to come are dropped too
	until  time.Time
}

type part struct {
	offset int
	data   []byte
}

// cost is what a datagram is charged, with a guess at what keeping it takes.
func (d *datagram) cost() int { return 256 + d.have + 64*len(d.parts) }

// add takes a fragment, which it copies, and returns the whole payload when it was
// the one that had been missing. lost is how many datagrams were given up for it, or
// had run out of time.
func (r *reassembler) add(p ipPacket, now time.Time) (payload []byte, whole bool, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.stats.lost()
	payload, whole = r.put(p, now)
	return payload, whole, r.stats.lost() - before
}

func (r *reassembler) put(p ipPacket, now time.Time) ([]byte, bool) {
	r.expire(now)
	n := len(p.payload)
	if n == 0 || p.more && n%8 != 0 || p.offset+n > maxPacket {
		r.stats.Malformed++
		return nil, false
	}
	k := fragmentKey{p.src, p.dst, p.id, p.spi, p.proto}
	el := r.datagrams[k]
	if el == nil {
		el = r.start(k, now)
	}
	d := el.Value.(*datagram)
	if d.poison {
		return nil, false
	}
	r.memory -= d.cost()
	fits := d.insert(p)
	r.memory += d.cost()
	switch {
	case !fits:
		r.stats.Overlap++
		r.memory -= d.cost()
		d.poison, d.parts, d.have = true, nil, 0
		r.memory += d.cost()
	case d.total == d.have:
		whole := make([]byte, 0, d.total)
		for _, q := range d.parts {
			whole = append(whole, q.data...)
		}
		r.remove(el)
		r.stats.Whole++
		return whole, true
	}
	limit := r.Memory
	if limit <= 0 {
		limit = reassemblyMemory
	}
	for r.memory > limit {
		r.crowdOut(r.order.Front())
	}
	return nil, false
}

// insert is false where a fragment overlaps others or contradicts them. One that
// came before is no fault: networks duplicate.
func (d *datagram) insert(p ipPacket) bool {
	end := p.offset + len(p.payload)
	if !p.more {
		if d.total >= 0 && d.total != end {
			return false
		}
		d.total = end
	}
	last := 0
	if n := len(d.parts); n > 0 {
		last = d.parts[n-1].offset + len(d.parts[n-1].data)
	}
	if d.total >= 0 && max(end, last) > d.total {
		return false
	}
	i := 0
	for i < len(d.parts) && d.parts[i].offset < p.offset {
		i++
	}
	switch {
	case i < len(d.parts) && d.parts[i].offset == p.offset && string(d.parts[i].data) == string(p.payload):
		return true
	case i > 0 && d.parts[i-1].offset+len(d.parts[i-1].data) > p.offset,
		i < len(d.parts) && d.parts[i].offset < end,
		len(d.parts) == maxFragments:
		return false
	}
	d.parts = append(d.parts, part{})
	copy(d.parts[i+1:], d.parts[i:])
	d.parts[i] = part{p.offset, append([]byte(nil), p.payload...)}
	d.have += len(p.payload)
	return true
}

// quota is who shares a bound: an address outside, one SA within. Behind a NAT many
// phones have one address.
type quota struct {
	src netip.Addr
	spi uint32
}

func (k fragmentKey) quota() quota { return quota{k.src, k.spi} }

// start begins a datagram. Whoever has too many in work loses his oldest.
func (r *reassembler) start(k fragmentKey, now time.Time) *list.Element {
	if r.datagrams == nil {
		r.datagrams = make(map[fragmentKey]*list.Element)
		r.sources = make(map[quota][]*list.Element)
	}
	if list := r.sources[k.quota()]; len(list) >= maxPerSource {
		r.crowdOut(list[0])
	}
	d := &datagram{key: k, total: -1, until: now.Add(reassemblyTimeout)}
	el := r.order.PushBack(d)
	r.datagrams[k] = el
	r.sources[k.quota()] = append(r.sources[k.quota()], el)
	r.memory += d.cost()
	return el
}

// crowdOut gives up a datagram for want of room.
func (r *reassembler) crowdOut(el *list.Element) {
	if !el.Value.(*datagram).poison { // which has been counted
		r.stats.Crowded++
	}
	r.remove(el)
}

func (r *reassembler) remove(el *list.Element) {
	d := r.order.Remove(el).(*datagram)
	delete(r.datagrams, d.key)
	r.memory -= d.cost()
	rest := r.sources[d.key.quota()]
	i := slices.Index(rest, el)
	if rest = slices.Delete(rest, i, i+1); len(rest) > 0 {
		r.sources[d.key.quota()] = rest
	} else {
		delete(r.sources, d.key.quota())
	}
}

func (r *reassembler) expire(now time.Time) {
	for el := r.order.Front(); el != nil && !now.Before(el.Value.(*datagram).until); el = r.order.Front() {
		if !el.Value.(*datagram).poison {
			r.stats.TimedOut++
		}
		r.remove(el)
	}
}
