package pcscf

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// binding is what the 200s of its REGISTERs have taught us of one contact of a
// phone (TS 24.229 5.2.2.1). It is immutable; a re-registration makes a new one.
type binding struct {
	token   string // user part of our Path and Record-Route entries
	impi    string
	contact string // the URI that the phone registered

	phone  phoneKey       // whose SA sets protect it; zero in clear
	source netip.AddrPort // from where it registered last
	flow   sip.Flow       // how it is reached
	// at is the contact's own address and port. It is valid only when the REGISTER
	// came from that IP address, so that no NAT is between: then requests from
	// there are the phone's, whatever they travel over.
	at      netip.AddrPort
	atProto sip.Proto // by which the contact asks to be reached there

	// stream is the phone's open connection beside flow, if it has dialled one
	// for what does not fit a datagram.
	stream *atomic.Pointer[sip.Flow]

	// sets are the implicit registration sets that were registered with this
	// contact, one for each REGISTER with a To outside of the others (TS 24.229
	// 5.2.4); at least one. One alone, as nearly always, is the array's: each object
	// of its own is another one for the collector to find.
	sets []set
	one  [1]set
}

// hold makes sets those of b.
func (b *binding) hold(sets []set) {
	b.sets, b.one = sets, [1]set{}
	if len(sets) == 1 {
		b.one[0] = sets[0]
		b.sets = b.one[:]
	}
}

// set is an implicit registration set.
type set struct {
	identities   []string // P-Associated-URI, the default one first
	keys         []string // canonical forms of identities, one for one
	names        []string // keys, and that of To, by which the set is known
	serviceRoute []string // values of Service-Route, in order (RFC 3608)
	termIOI      string   // the home network's, as it names itself for charging (TS 24.229 4.5.4)
	expires      time.Time
}

// chargedTo says which network the registration is of, where that has said so.
func (s *set) chargedTo() string {
	if s.termIOI == "" {
		return ""
	}
	return "; its network for charging is " + s.termIOI
}

// grace is how long a contact is still reached after its registration has ended:
// the NOTIFY that says so comes behind the 200, and responses are on their way.
const grace = 32 * time.Second

// registered reports whether some identity of the phone is registered.
func (b *binding) registered(now time.Time) bool {
	return slices.ContainsFunc(b.sets, func(s set) bool { return s.expires.After(now) })
}

// until is when the last of what is registered runs out.
func (b *binding) until() (t time.Time) {
	for _, s := range b.sets {
		if s.expires.After(t) {
			t = s.expires
		}
	}
	return t
}

// alive reports whether the binding is of any use.
func (b *binding) alive(now time.Time) bool {
	return slices.ContainsFunc(b.sets, func(s set) bool { return s.expires.Add(grace).After(now) })
}

// asserted returns the registered identity with that canonical form, with its set.
func (b *binding) asserted(key string, now time.Time) (string, *set) {
	for i := range b.sets {
		s := &b.sets[i]
		if j := slices.Index(s.keys, key); j >= 0 && s.expires.After(now) {
			return s.identities[j], s
		}
	}
	return "", nil
}

// named reports whether some set of b that is registered goes by one of these names.
func (b *binding) named(now time.Time, names ...string) bool {
	return slices.ContainsFunc(b.sets, func(s set) bool { return s.expires.After(now) && s.is(names) })
}

// byDefault returns the default identity of the registration: that of the set
// which was registered first, and still is if any is.
func (b *binding) byDefault(now time.Time) (string, *set) {
	i := max(0, slices.IndexFunc(b.sets, func(s set) bool { return s.expires.After(now) }))
	return b.sets[i].identities[0], &b.sets[i]
}

// with returns the sets of b with s in place of those that it has a name of, and
// without those that nobody needs any more.
func (b *binding) with(s set, now time.Time) []set {
	out, put := make([]set, 0, 1), false
	for _, o := range b.sets {
		switch {
		case o.is(s.names):
			if !put {
				out, put = append(out, s), true
			}
		case o.expires.Add(grace).After(now):
			out = append(out, o)
		}
	}
	if !put {
		out = append(out, s)
	}
	return out
}

// is reports whether the set goes by one of these names.
func (s *set) is(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(s.names, n) })
}

// without returns b with the set of that name at its end, and whether it was
// registered until now.
func (b *binding) without(name string, now time.Time) (*binding, bool) {
	i := slices.IndexFunc(b.sets, func(s set) bool { return s.expires.After(now) && slices.Contains(s.names, name) })
	if i < 0 {
		return b, false
	}
	c := *b
	c.hold(slices.Clone(b.sets))
	c.sets[i].expires = now
	return &c, true
}

// takes reports whether b is where o was. Another contact over the phone's own SA sets
// stays.
func (b *binding) takes(o *binding) bool {
	if b.at.IsValid() && o.at == b.at {
		return true
	}
	if b.phone != (phoneKey{}) {
		return o.phone != b.phone && sourceOf(o.flow) == sourceOf(b.flow)
	}
	return o.at.IsValid() && o.at == b.source || sourceOf(o.flow) == sourceOf(b.flow)
}
