package reginfo

// View is what a subscriber knows from the documents of one subscription (RFC
// 3680 4.7 and 5.1). The zero value knows nothing. It is not safe for
// concurrent use.
type View struct {
	known         bool
	version       uint32
	registrations []Registration
}

// Result says what Apply made of a document.
type Result uint8

const (
	// Applied: the view is up to date.
	Applied Result = iota
	// Stale: older than what is known, or a repetition. Ignored.
	Stale
	// Gap: a partial document whose predecessor is missing. It was not applied;
	// a SUBSCRIBE that refreshes the subscription brings a full document.
	Gap
)

// Apply takes a document over. A full one replaces everything; a partial one
// replaces the registrations that it names.
func (v *View) Apply(d *Document) Result {
	switch {
	case v.known && d.Version <= v.version:
		return Stale
	case d.Partial && (!v.known || d.Version != v.version+1):
		return Gap
	}
	v.known, v.version = true, d.Version
	if !d.Partial {
		v.registrations = append([]Registration(nil), d.Registrations...)
		return Applied
	}
next:
	for _, r := range d.Registrations {
		for i := range v.registrations {
			if same(&v.registrations[i], &r) {
				v.registrations[i] = r
				continue next
			}
		}
		v.registrations = append(v.registrations, r)
	}
	return Applied
}

// same: the id names a registration; writers that leave it out name it by AOR.
func same(a, b *Registration) bool {
	if a.ID != "" || b.ID != "" {
		return a.ID == b.ID
	}
	return a.AOR == b.AOR
}

// Find returns the registration of an address of record, nil if unknown.
func (v *View) Find(aor string) *Registration {
	for i := range v.registrations {
		if v.registrations[i].AOR == aor {
			return &v.registrations[i]
		}
	}
	return nil
}

// Registrations returns all that is known; the caller must not change it.
func (v *View) Registrations() []Registration { return v.registrations }
