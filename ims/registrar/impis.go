package registrar

import "slices"

// slots finds the sets of a private identity. Nearly all have one: it is in the map
// itself, where a list would be one more object for each user, which the collector
// looks at each time.
type slots struct {
	first  map[string]*slot
	others map[string][]*slot // behind the first, where there are any
}

func newSlots() slots {
	return slots{first: make(map[string]*slot), others: make(map[string][]*slot)}
}

// all yields the sets of a private identity, in the order in which they were added.
func (s *slots) all(impi string) func(yield func(*slot) bool) {
	return func(yield func(*slot) bool) {
		first := s.first[impi]
		if first == nil || !yield(first) {
			return
		}
		for _, at := range s.others[impi] {
			if !yield(at) {
				return
			}
		}
	}
}

func (s *slots) add(impi string, at *slot) {
	switch first := s.first[impi]; {
	case first == nil:
		s.first[impi] = at
	case first != at && !slices.Contains(s.others[impi], at):
		s.others[impi] = append(s.others[impi], at)
	}
}

func (s *slots) remove(impi string, at *slot) {
	others := s.others[impi]
	switch {
	case s.first[impi] != at:
		others = slices.DeleteFunc(others, func(o *slot) bool { return o == at })
	case len(others) == 0:
		delete(s.first, impi)
	default:
		s.first[impi] = others[0]
		others = slices.Delete(others, 0, 1)
	}
	if len(others) > 0 {
		s.others[impi] = others
	} else {
		delete(s.others, impi)
	}
}
