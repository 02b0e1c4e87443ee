package ifc

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/gocscf/gocscf/ims/profile"
)

// SharedSets are the shared iFC sets that the S-CSCF holds itself, by
// SharedIFCSetID (TS 29.228 B.2.1, feature SiFC of TS 29.229).
type SharedSets map[int32][]profile.InitialFilterCriteria

// Expand returns the criteria of a service profile with those of its shared
// sets. Compile orders them by priority.
func (sets SharedSets) Expand(sp *profile.ServiceProfile) ([]profile.InitialFilterCriteria, error) {
	if len(sp.SharedIFCSetIDs) == 0 {
		return sp.InitialFilterCriteria, nil
	}
	list := append([]profile.InitialFilterCriteria(nil), sp.InitialFilterCriteria...)
	for i, id := range sp.SharedIFCSetIDs {
		set, ok := sets[id]
		if !ok {
			return nil, fmt.Errorf("the profile names shared iFC set %d, which is not configured here: add it to shared_ifc_sets", id)
		}
		if repeated(sp.SharedIFCSetIDs[:i], id) {
			continue
		}
		if len(list)+len(set) > MaxCriteria {
			return nil, fmt.Errorf("shared iFC set %d makes more than %d initial filter criteria", id, MaxCriteria)
		}
		list = append(list, set...)
	}
	return list, nil
}

func repeated(ids []int32, id int32) bool {
	for _, other := range ids {
		if other == id {
			return true
		}
	}
	return false
}

// Cache makes one Chain for all service profiles that have the same criteria,
// as those made from one template do. It is safe for concurrent use. Its size
// is bounded; a chain that falls out lives on where it is held.
type Cache struct {
	sets SharedSets
	max  int

	mu     sync.Mutex
	chains map[[sha256.Size]byte]cached
	places map[*profile.InitialFilterCriteria]cached // the same, by the first of own
}

type cached struct {
	chain *Chain
	own   []profile.InitialFilterCriteria // those of the profile, without shared sets
}

// NewCache returns a cache for at most max different chains. It reads sets as
// long as it lives; they must not be changed.
func NewCache(sets SharedSets, max int) *Cache {
	return &Cache{sets: sets, max: max, chains: make(map[[sha256.Size]byte]cached), places: make(map[*profile.InitialFilterCriteria]cached)}
}

// Chain returns the chain of a service profile, and replaces sp's criteria by
// those that the other profiles with the same chain hold, so that subscribers
// of one template share their memory.
func (c *Cache) Chain(sp *profile.ServiceProfile) (*Chain, error) {
	if len(sp.SharedIFCSetIDs) == 0 {
		if len(sp.InitialFilterCriteria) == 0 {
			return &none, nil
		}
		// Profiles of one template share their criteria already (profile.Templates).
		c.mu.Lock()
		hit, ok := c.places[&sp.InitialFilterCriteria[0]]
		c.mu.Unlock()
		if ok && len(hit.own) == len(sp.InitialFilterCriteria) {
			return hit.chain, nil
		}
	}
	key := keyOf(sp)
	c.mu.Lock()
	hit, ok := c.chains[key]
	c.mu.Unlock()
	if !ok {
		list, err := c.sets.Expand(sp)
		if err != nil {
			return nil, err
		}
		chain, err := Compile(list)
		if err != nil {
			return nil, err
		}
		hit = c.store(key, cached{chain, sp.InitialFilterCriteria}, len(sp.SharedIFCSetIDs) == 0)
	}
	sp.InitialFilterCriteria = hit.own
	return hit.chain, nil
}

// none is the chain of whoever has no criteria.
var none Chain

// store keeps the first of two that were made at the same time; all says that the chain is
// of the profile's own criteria alone.
func (c *Cache) store(key [sha256.Size]byte, made cached, all bool) cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first, ok := c.chains[key]; ok {
		return first
	}
	for old := range c.chains { // any will do: templates are few
		if len(c.chains) < c.max {
			break
		}
		if own := c.chains[old].own; len(own) > 0 {
			delete(c.places, &own[0])
		}
		delete(c.chains, old)
	}
	c.chains[key] = made
	if all && len(made.own) > 0 {
		c.places[&made.own[0]] = made
	}
	return made
}

// Len returns how many chains the cache holds.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.chains)
}
