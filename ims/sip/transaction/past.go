package transaction

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// past is what a shard keeps of transactions that only absorb retransmissions: of a
// non-INVITE server the final response (Timer J), of a client that it was there (Timer
// K); of a refused INVITE that it was there (Timer I), of its client the ACK (Timer D);
// of one that was answered what retire.go says. On Gm the former wait for 128 s, and at a thousand registrations a second that is
// some 300,000 of them; as values full of pointers they were most of what the garbage
// collector had to look at. Here they are octets in chunks without a pointer, and what
// finds them is a map without one; most of the chunks are not even of the heap.
//
// A record is found by hashes of 64 bits with the process's seed, a server's by two, a
// client's by one, as its branch is our own; its key is not kept: that two keys agree
// will not happen.
//
// Records of one duration end in the order in which they came, so each duration has a
// queue of chunks: written at its end, given back from its beginning.
type past struct {
	sh     *Shard
	index  pastIndex // hash of a key's prefix to the youngest record's place plus 1
	most   int       // that index has held since it was made
	chunks [][]byte  // by number; nil where it was given back
	homes  []*slab   // of them
	free   []uint32  // numbers that were given back
	queues []pastQueue
	tick   timer
	ticks  int64 // when tick fires, if it runs
}

// pastQueue has the records of one duration.
type pastQueue struct {
	stay   time.Duration
	chunks []uint32 // their numbers, the oldest first
	begin  uint32   // offset of the oldest record in the first
	end    uint32   // offset behind the youngest in the last
}

const (
	// pastChunk is a chunk's size in octets. A place is a chunk's number and an
	// offset in units of pastAlign, in 32 bits.
	pastChunk    = 1 << 16
	pastAlign    = 8
	pastUnits    = pastChunk / pastAlign
	mostChunks   = 1<<32/pastUnits - 1
	mostQueues   = 8 // durations; a leg has two
	pastGrid     = int64(500 * time.Millisecond)
	pastHeader   = 4 + 4 + 8 + 8 + 8 + 1 + 1
	leastIndexed = 1 << 12 // below that the index is not made anew
)

// A record, in octets: 0 its length, padding included; 4 the place plus 1 of the next
// record with the same hash; 8 and 16 the hashes of prefix and key; 24 when it ends; 32
// its kind, 33 its state; then the flow, and the response or whatever is kept, whose length
// is a uint32 before it.
type record []byte

func (r record) size() uint32     { return binary.NativeEndian.Uint32(r) }
func (r record) next() uint32     { return binary.NativeEndian.Uint32(r[4:]) }
func (r record) setNext(n uint32) { binary.NativeEndian.PutUint32(r[4:], n) }
func (r record) hash() uint64     { return binary.NativeEndian.Uint64(r[8:]) }
func (r record) full() uint64     { return binary.NativeEndian.Uint64(r[16:]) }
func (r record) ends() int64      { return int64(binary.NativeEndian.Uint64(r[24:])) }
func (r record) kind() kind       { return kind(r[32]) }
func (r record) state() state     { return state(r[33]) }

// void has a record found no more. Whoever calls it counts what it stood for.
func (r record) void() { r[32] = voidKind }

const voidKind = 0xff

// server reports whether a server transaction stood where the record is.
func (r record) server() bool { return r.kind() == nonInviteServer || r.kind() == inviteServer }

// response returns where the final response went, and the response, as the record has it:
// for the event in hand.
func (r record) response() (to sip.Flow, data []byte) {
	to, rest := readFlow(r[pastHeader:])
	n := binary.NativeEndian.Uint32(rest)
	return to, rest[4 : 4+n]
}

// flow returns where the final response, or the request of a client, went.
func (r record) flow() sip.Flow {
	f, _ := readFlow(r[pastHeader:])
	return f
}

func (p *past) init(sh *Shard) {
	p.sh = sh
	p.tick.what = timerPast
}

// add takes over a transaction that only lingers, for so long, or reports false when it
// cannot.
func (p *past) add(t *tx, stay time.Duration) bool {
	var flow [64]byte
	f, ok := appendFlow(flow[:0], t.to)
	if !ok {
		return false
	}
	last := t.last
	switch {
	case t.kind == nonInviteClient, t.kind == inviteServer: // the key is enough
		last = nil
	case t.kind == inviteClient && t.state == completed:
		last = t.ack
	}
	size := (pastHeader + len(f) + 4 + len(last) + pastAlign - 1) &^ (pastAlign - 1)
	r, place := p.room(stay, size)
	if r == nil {
		return false
	}
	ends := p.sh.now() + int64(stay)
	binary.NativeEndian.PutUint32(r, uint32(size))
	r.setNext(p.first(t.hash))
	binary.NativeEndian.PutUint64(r[8:], t.hash)
	binary.NativeEndian.PutUint64(r[16:], p.sh.hash(t.key))
	binary.NativeEndian.PutUint64(r[24:], uint64(ends))
	r[32], r[33] = byte(t.kind), byte(t.state)
	b := append(r[:pastHeader], f...)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(last)))
	_ = append(b, last...)
	p.enter(t.hash, place+1)
	p.most = max(p.most, p.index.n)
	p.wake(ends)
	return true
}

// room returns place for a record at the end of its queue, nil if there is none.
func (p *past) room(stay time.Duration, size int) (record, uint32) {
	if size > pastChunk {
		return nil, 0
	}
	q := p.queue(stay)
	if q == nil {
		return nil, 0
	}
	if len(q.chunks) == 0 || int(q.end)+size > pastChunk {
		n, ok := p.chunk()
		if !ok {
			return nil, 0
		}
		if k := len(q.chunks); k > 0 && int(q.end)+4 <= pastChunk {
			binary.NativeEndian.PutUint32(p.chunks[q.chunks[k-1]][q.end:], 0) // no record follows
		}
		q.chunks = append(q.chunks, n)
		q.end = 0
	}
	n, at := q.chunks[len(q.chunks)-1], q.end
	q.end += uint32(size)
	return record(p.chunks[n][at:q.end:q.end]), n*pastUnits + at/pastAlign
}

func (p *past) queue(stay time.Duration) *pastQueue {
	for i := range p.queues {
		if p.queues[i].stay == stay {
			return &p.queues[i]
		}
	}
	if len(p.queues) == mostQueues {
		return nil
	}
	p.queues = append(p.queues, pastQueue{stay: stay})
	return &p.queues[len(p.queues)-1]
}

// chunk returns the number of a chunk that nobody uses. Beyond Config.MaxOctets there
// is none: what is more lingers as the transaction that it was.
func (p *past) chunk() (uint32, bool) {
	l := p.sh.layer
	if len(p.free) == 0 && len(p.chunks) >= mostChunks {
		return 0, false
	}
	c, home := l.memory.take(int64(l.cfg.MaxOctets))
	if c == nil {
		return 0, false
	}
	if n := len(p.free); n > 0 {
		number := p.free[n-1]
		p.free = p.free[:n-1]
		p.chunks[number], p.homes[number] = c, home
		return number, true
	}
	p.chunks, p.homes = append(p.chunks, c), append(p.homes, home)
	return uint32(len(p.chunks) - 1), true
}

// giveBack frees a chunk.
func (p *past) giveBack(number uint32) {
	p.sh.layer.memory.giveBack(p.chunks[number], p.homes[number])
	p.chunks[number], p.homes[number] = nil, nil
	p.free = append(p.free, number)
}

func (p *past) at(place uint32) record {
	b := p.chunks[place/pastUnits][place%pastUnits*pastAlign:]
	return record(b[:binary.NativeEndian.Uint32(b)])
}

// find returns the record of that kind whose key is exactly key.
func (p *past) find(k kind, hash uint64, key []byte) record {
	if p.first(hash) == 0 {
		return nil
	}
	return p.findFull(k, hash, p.sh.hash(key))
}

// findFull is find by the hash of the key.
func (p *past) findFull(k kind, hash, full uint64) record {
	for place := p.first(hash); place != 0; place = p.at(place - 1).next() {
		if r := p.at(place - 1); r.kind() == k && r.full() == full {
			return r
		}
	}
	return nil
}

// lose forgets a client's record before its time.
func (sh *Shard) lose(k kind, hash uint64) {
	if r := sh.past.findFull(k, hash, hash); r != nil {
		r.void()
		sh.layer.lingering.Add(-1)
		sh.layer.count.clients.Add(-1)
	}
}

// findPrefix returns a server's record whose key has the prefix with that hash, the
// INVITE's if there are several.
func (p *past) findPrefix(hash uint64) (found record) {
	for place := p.first(hash); place != 0; place = p.at(place - 1).next() {
		if r := p.at(place - 1); r.server() {
			if found = r; r.kind() == inviteServer {
				break
			}
		}
	}
	return found
}

// wake sees to it that expire is called when a record has ended. Nobody minds if that
// is a little later, and so one wake-up is enough for all that end within pastGrid.
func (p *past) wake(ends int64) {
	when := (ends + pastGrid - 1) / pastGrid * pastGrid
	if !p.tick.running() || when < p.ticks {
		p.ticks = when
		p.sh.timers.set(&p.tick, when)
	}
}

// expire forgets the records that have ended.
func (p *past) expire(now int64) {
	var servers, clients int64
	first := int64(0) // that is still to end
	for i := range p.queues {
		q := &p.queues[i]
		for len(q.chunks) > 0 {
			if len(q.chunks) == 1 && q.begin == q.end || len(q.chunks) > 1 && p.over(q) {
				p.giveBack(q.chunks[0])
				q.chunks = q.chunks[1:]
				q.begin = 0
				continue
			}
			place := q.chunks[0]*pastUnits + q.begin/pastAlign
			r := p.at(place)
			if r.ends() > now {
				if first == 0 || r.ends() < first {
					first = r.ends()
				}
				break
			}
			q.begin += r.size()
			p.unlink(r, place)
			switch {
			case r.server():
				servers++
			case r.kind() != voidKind:
				clients++
			}
		}
		if len(q.chunks) == 0 {
			q.chunks, q.begin, q.end = nil, 0, 0
		}
	}
	l := p.sh.layer
	l.lingering.Add(-servers - clients)
	l.count.servers.Add(-servers)
	l.count.clients.Add(-clients)
	if first != 0 {
		p.wake(first)
	}
	p.shrink()
}

// over reports whether the first chunk of several has no further record.
func (p *past) over(q *pastQueue) bool {
	return q.begin+4 > pastChunk || record(p.chunks[q.chunks[0]][q.begin:]).size() == 0
}

// unlink takes a record out of the index.
func (p *past) unlink(r record, place uint32) {
	at, before := p.lookup(r.hash())
	if before == place+1 {
		if n := r.next(); n != 0 {
			p.enter(r.hash(), n)
		} else {
			p.index.free(at)
		}
		return
	}
	for before != 0 {
		b := p.at(before - 1)
		if b.next() == place+1 {
			b.setNext(r.next())
			return
		}
		before = b.next()
	}
}

// shrink gives back what a burst has left.
func (p *past) shrink() {
	if len(p.free) == len(p.chunks) {
		p.sh.layer.memory.rest()
	}
	if p.most < leastIndexed || p.index.n > p.most/8 {
		return
	}
	p.index.resize(p.index.n)
	p.most = p.index.n
	if len(p.free) == len(p.chunks) {
		p.chunks, p.homes, p.free = nil, nil, nil
	}
}

// appendFlow writes a flow; it cannot if an address has a zone.
func appendFlow(b []byte, f sip.Flow) ([]byte, bool) {
	b = append(b, byte(f.Proto), byte(f.Role))
	b = binary.NativeEndian.AppendUint64(b, f.Conn)
	for _, a := range [...]netip.AddrPort{f.Local, f.Remote} {
		if a.Addr().Zone() != "" {
			return nil, false
		}
		switch addr := a.Addr(); {
		case addr.Is4():
			four := addr.As4()
			b = append(append(b, 4), four[:]...)
		case addr.IsValid():
			sixteen := addr.As16()
			b = append(append(b, 16), sixteen[:]...)
		default:
			b = append(b, 0)
		}
		b = binary.NativeEndian.AppendUint16(b, a.Port())
	}
	return b, true
}

// readFlow reads what appendFlow has written, and returns what follows.
func readFlow(b []byte) (f sip.Flow, rest []byte) {
	f.Proto, f.Role, f.Conn = sip.Proto(b[0]), sip.Role(b[1]), binary.NativeEndian.Uint64(b[2:])
	b = b[10:]
	for _, a := range [...]*netip.AddrPort{&f.Local, &f.Remote} {
		n := int(b[0])
		addr, _ := netip.AddrFromSlice(b[1 : 1+n])
		*a = netip.AddrPortFrom(addr, binary.NativeEndian.Uint16(b[1+n:]))
		b = b[3+n:]
	}
	return f, b
}
