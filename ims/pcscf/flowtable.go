package pcscf

import "hash/maphash"

// flowTable finds the SA set of a flow. It files it under a hash of the flow, which is
// long, and which the set has: there are two for each phone. Nobody can choose what
// falls together: the seed is secret. It is guarded by security.mu.
type flowTable struct {
	hash func(addrPair) uint64
	m    map[uint64]*association
	// others are those whose hash another flow had taken.
	others map[addrPair]*association
}

func newFlowTable() flowTable {
	seed := maphash.MakeSeed()
	return flowTable{
		hash: func(f addrPair) uint64 { return maphash.Comparable(seed, f) },
		m:    map[uint64]*association{}, others: map[addrPair]*association{},
	}
}

func (a *association) has(f addrPair) bool {
	flows := a.flows()
	return flows[0] == f || flows[1] == f
}

// get returns the set of a flow, nil for none.
func (t *flowTable) get(f addrPair) *association {
	if a := t.m[t.hash(f)]; a != nil && a.has(f) {
		return a
	}
	return t.others[f]
}

// put makes a the set of one of its flows, in the place of another.
func (t *flowTable) put(f addrPair, a *association) {
	h := t.hash(f)
	if o := t.m[h]; o != nil && !o.has(f) {
		t.others[f] = a
		return
	}
	delete(t.others, f)
	t.m[h] = a
}

// remove takes a out, if it is the set of that flow.
func (t *flowTable) remove(f addrPair, a *association) {
	if h := t.hash(f); t.m[h] == a {
		delete(t.m, h)
	}
	if t.others[f] == a {
		delete(t.others, f)
	}
}

func (t *flowTable) len() int { return len(t.m) + len(t.others) }
