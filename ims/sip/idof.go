package sip

// The table of names: open hashing over four letters and the length, chained in
// idNext. It is filled once, and small enough to stay in the first cache level.
const idBuckets = 512

var (
	idFirst [idBuckets]ID
	idNext  [idCount]ID
)

func init() {
	for id := idCount - 1; id > Other; id-- {
		h := idHash(idNames[id])
		idNext[id], idFirst[h] = idFirst[h], id
	}
}

// idHash mixes letters that tell the registered names apart well; the case bit
// is masked out. name is not empty.
func idHash(name string) uint32 {
	n := len(name)
	h := uint32(n)
	h = h*31 + uint32(name[0]|0x20)
	h = h*31 + uint32(name[n/2]|0x20)
	h = h*31 + uint32(name[n*3/4]|0x20)
	h = h*31 + uint32(name[n-1]|0x20)
	return (h ^ h>>9) % idBuckets
}

// IDOf returns the identity of a header name, long or compact, in any letter
// case; Other when the name is unknown. It does not allocate.
func IDOf(name string) ID {
	switch len(name) {
	case 0:
		return Other
	case 1:
		if c := name[0] | 0x20; 'a' <= c && c <= 'z' {
			return compactIDs[c-'a']
		}
		return Other
	}
	for id := idFirst[idHash(name)]; id != Other; id = idNext[id] {
		if equalFold(idNames[id], name) {
			return id
		}
	}
	return Other
}

// equalFold compares ASCII text without regard to case, as RFC 3261 §7.3.1 asks
// for tokens. strings.EqualFold would also fold Unicode (K and the Kelvin sign).
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	if a == b {
		return true
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x |= 0x20; x != y|0x20 || x < 'a' || x > 'z' {
			return false
		}
	}
	return true
}
