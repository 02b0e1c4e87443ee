package registrar

import (
	"slices"
	"strings"
	"time"
	"unique"
)

// Binding is one contact address of a registration (RFC 3261 10.3) with what
// the way to it needs.
type Binding struct {
	ID      string // names the contact in registration documents; stable over refreshes
	IMPI    string // who registered it
	IMPU    string // key of the identity that was registered, the others of the set follow
	Contact string // the contact URI as it came
	Params  string // the header parameters of the Contact, as they came, without expires
	Path    []string
	CallID  string
	CSeq    uint32
	Created time.Time
	Expires time.Time
	// Refreshed: it has been registered again since Created.
	Refreshed bool

	InstanceID string // +sip.instance with its angle brackets, empty when absent
	RegID      uint32 // RFC 5626, 0 when absent
	Emergency  bool   // the Contact has the sos parameter (TS 24.229 5.4.8)

	AccessNetwork  string // P-Access-Network-Info of the REGISTER, for third-party registration
	VisitedNetwork string // P-Visited-Network-ID
}

// Clone returns b with strings of its own, so that it does not hold on to the
// message that they were part of: all in one piece, but what many bindings share.
func (b Binding) Clone() Binding {
	b.Path = slices.Clone(b.Path)
	own := []*string{&b.ID, &b.IMPI, &b.IMPU, &b.Contact, &b.Params, &b.CallID, &b.InstanceID}
	size := 0
	for _, s := range own {
		size += len(*s)
	}
	for _, s := range b.Path {
		size += len(s)
	}
	var text strings.Builder
	text.Grow(size)
	for _, s := range own {
		text.WriteString(*s)
	}
	for _, s := range b.Path {
		text.WriteString(s)
	}
	rest := text.String()
	cut := func(s *string) { n := len(*s); *s, rest = rest[:n], rest[n:] }
	for _, s := range own {
		cut(s)
	}
	for i := range b.Path {
		cut(&b.Path[i])
	}
	for _, s := range []*string{&b.AccessNetwork, &b.VisitedNetwork} {
		*s = unique.Make(*s).Value()
	}
	return b
}

// alone is the only binding of a set, with the Path of one entry that most have.
type alone struct {
	binding [1]Binding
	path    [1]string
}

// List returns the bindings as a list for a Registration, which keeps nothing of the list
// given. The usual one is a single object: the collector looks at each object of each user
// whenever it marks. Who takes a binding over into another list with its Path keeps the
// single one until that binding is refreshed.
func List(bindings ...Binding) []Binding {
	if len(bindings) != 1 || len(bindings[0].Path) != 1 {
		return slices.Clone(bindings)
	}
	one := &alone{binding: [1]Binding(bindings), path: [1]string(bindings[0].Path)}
	one.binding[0].Path = one.path[:]
	return one.binding[:]
}
