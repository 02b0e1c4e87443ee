package diameter

import (
	"hash/maphash"
	"sync"
)

// duplicates recognises requests that were sent again (RFC 6733 3, 5.5.4, 9.4):
// the same Origin-Host and End-to-End identifier, one of the two with the T bit.
// The command and the Session-Id are compared as well, so that a peer which
// restarted its identifiers is not given somebody else's answer.
//
// It remembers a fixed number of requests and answers, the oldest go first.
type duplicates struct {
	seed maphash.Seed

	mu    sync.Mutex
	limit int
	byKey map[duplicateKey]*remembered
	order []duplicateKey // ring of the keys in byKey, by age
	next  int
	bytes int // of the answers kept
}

// maxDuplicateBytes bounds the answers kept: an answer above what is left is not
// remembered, and its request would be handled anew.
const maxDuplicateBytes = 8 << 20

// duplicateKey has a hash of Origin-Host and Session-Id, which may be as long as whoever
// sends them likes. That two agree will not happen.
type duplicateKey struct {
	names                  uint64
	endToEnd, command, app uint32
}

type remembered struct {
	retransmitted bool
	answer        *Message
	waiting       []*Request // copies that came while the first is being served
}

func newDuplicates(limit int) *duplicates {
	return &duplicates{limit: max(limit, 0), seed: maphash.MakeSeed(), byKey: make(map[duplicateKey]*remembered)}
}

func (d *duplicates) key(r *Request) duplicateKey {
	names := maphash.Comparable(d.seed, [2]string{r.OriginHost(), r.SessionID()})
	return duplicateKey{names, r.EndToEnd, r.Command, r.Application}
}

// maxWaiting bounds the copies of one request that wait for its answer.
const maxWaiting = 8

// arrive notes a request. It returns true when the request is a copy of one that
// came before; answer is then what that one got, or nil while it is being
// served, in which case the copy is answered together with it.
func (d *duplicates) arrive(r *Request) (again bool, answer *Message) {
	if d.limit == 0 {
		return false, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := d.key(r)
	if old := d.byKey[key]; old != nil {
		if !r.IsRetransmitted() && !old.retransmitted {
			return false, nil
		}
		if old.answer == nil && len(old.waiting) < maxWaiting {
			old.waiting = append(old.waiting, r)
		}
		return true, old.answer
	}
	if len(d.order) < d.limit {
		d.order = append(d.order, key)
	} else {
		d.drop(d.order[d.next])
		d.order[d.next] = key
		d.next = (d.next + 1) % d.limit
	}
	d.byKey[key] = &remembered{retransmitted: r.IsRetransmitted()}
	r.remembered = &key
	return false, nil
}

func (d *duplicates) drop(key duplicateKey) {
	if old := d.byKey[key]; old != nil && old.answer != nil {
		d.bytes -= old.answer.Len()
	}
	delete(d.byKey, key)
}

// answered notes the answer to a request and returns the copies that wait for it.
func (d *duplicates) answered(r *Request, answer *Message) []*Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.remembered == nil {
		return nil
	}
	entry := d.byKey[*r.remembered]
	if entry == nil {
		return nil
	}
	waiting := entry.waiting
	entry.waiting = nil
	if n := answer.Len(); d.bytes+n <= maxDuplicateBytes {
		d.bytes += n
		entry.answer = answer
	} else {
		// The key's slot in the ring stays and is used up in its turn.
		delete(d.byKey, *r.remembered)
	}
	return waiting
}
