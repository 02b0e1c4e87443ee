package pcscf

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/uri"
)

// caller is a phone that is not registered and makes an emergency call. Its binding
// has a private identity that nobody else has, and no identity that is registered: it
// is good for this call alone, on the open port.
type caller struct {
	key   callerKey
	b     *binding
	began time.Time
	// open counts the INVITEs that have not ended.
	open int
}

// callerKey is by what the requests of a call are known: whoever sends another from
// elsewhere, or does not know Call-ID and tag, is somebody else.
type callerKey struct {
	callID, tag string
	addr        netip.Addr
}

func callerOf(f sip.Flow, m *sip.Message) callerKey {
	return callerKey{m.CallID(), m.FromTag(), f.Remote.Addr().Unmap()}
}

const (
	// maxCallersOfOne bounds the calls at a time from one address, or one /64 of IPv6:
	// people behind one NAT may be many, one stranger must not be everybody.
	maxCallersOfOne = 16
	// maxEmergencyCall is how long a call lasts whose end nobody has told us.
	maxEmergencyCall = 12 * time.Hour
	// lookAgain is how often a full table is looked through for calls that are over.
	lookAgain = time.Second
)

var (
	errCallersFull  = errors.New("as many phones that are not registered make emergency calls as emergency.max_anonymous allows")
	errCallersOfOne = errors.New("too many emergency calls are made from that address at a time")
)

// callers holds the callers of all emergency calls in clear. Its methods may be called
// from any goroutine.
type callers struct {
	max     int
	dialogs *dialogs
	some    atomic.Bool // there are any: others need not be looked for

	mu      sync.Mutex
	byKey   map[callerKey]*caller
	byToken map[string]*caller
	byAddr  map[netip.Addr][]*caller // by Flow.Source, the oldest first
	looked  time.Time                // when it was last full
}

func newCallers(limit int, d *dialogs) *callers {
	return &callers{max: limit, dialogs: d, byKey: map[callerKey]*caller{}, byToken: map[string]*caller{}, byAddr: map[netip.Addr][]*caller{}}
}

// begin returns the caller of an INVITE that makes a call, or why there is no room.
// ended must be called when the INVITE has.
func (t *callers) begin(f sip.Flow, m *sip.Message, now time.Time) (*caller, error) {
	k := callerOf(f, m)
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.byKey[k]; c != nil { // it tries again, with other headers
		c.open++
		return c, nil
	}
	if list := t.byAddr[f.Source()]; len(list) >= maxCallersOfOne && !t.dropOver(slices.Clone(list)) {
		return nil, errCallersOfOne
	}
	if len(t.byKey) >= t.max {
		if now.Sub(t.looked) < lookAgain {
			return nil, errCallersFull
		}
		t.looked = now
		all := make([]*caller, 0, len(t.byKey))
		for _, c := range t.byKey {
			all = append(all, c)
		}
		if !t.dropOver(all) {
			return nil, errCallersFull
		}
	}
	k.callID, k.tag = strings.Clone(k.callID), strings.Clone(k.tag)
	token := newToken()
	c := &caller{key: k, began: now, open: 1, b: &binding{
		token: token, impi: "emergency." + token, source: f.Remote, flow: f, stream: new(atomic.Pointer[sip.Flow]),
	}}
	c.b.at, c.b.atProto = contactAt(f, m)
	t.byKey[k], t.byToken[token] = c, c
	t.byAddr[f.Source()] = append(t.byAddr[f.Source()], c)
	t.some.Store(true)
	return c, nil
}

// over reports whether somebody makes a call over a connection.
func (t *callers) over(f sip.Flow) bool {
	if !t.some.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.byAddr[f.Source()], func(c *caller) bool { return c.b.flow == f })
}

// contactAt is where the contact of a phone in clear is, if that is at its address.
func contactAt(f sip.Flow, m *sip.Message) (at netip.AddrPort, by sip.Proto) {
	u, err := uri.Parse(addressURI(m.First(sip.HContact)))
	if err != nil {
		return at, by
	}
	ip, ok := u.Addr()
	if !ok || ip.Unmap() != f.Remote.Addr().Unmap() {
		return at, by
	}
	if t, ok := u.Param("transport"); ok {
		by, _ = sip.ParseProto(t)
	}
	return netip.AddrPortFrom(ip.Unmap(), u.PortOr(5060)), by
}

// ended notes the end of an INVITE.
func (t *callers) ended(c *caller) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.open--
}

// of returns the phone whose call a request in clear belongs to, nil for none.
func (t *callers) of(f sip.Flow, m *sip.Message) *binding {
	if f.Role != sip.RoleGm || m.ToTag() == "" || !t.some.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.byKey[callerOf(f, m)]; c != nil {
		return c.b
	}
	return nil
}

// ofToken returns the phone of our Record-Route entry, nil if there is none.
func (t *callers) ofToken(token string) *binding {
	if !t.some.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.byToken[token]; c != nil {
		return c.b
	}
	return nil
}

// dropOver drops those whose call is over: what is still on its way is lost. It
// reports whether there were any. The caller holds t.mu.
func (t *callers) dropOver(list []*caller) (some bool) {
	for _, c := range list {
		if c.open == 0 && !t.dialogs.lasts(c.b.impi) {
			t.drop(c)
			some = true
		}
	}
	return some
}

func (t *callers) drop(c *caller) {
	t.dialogs.forget(c.b.impi)
	delete(t.byKey, c.key)
	delete(t.byToken, c.b.token)
	from := c.b.flow.Source()
	list := slices.DeleteFunc(t.byAddr[from], func(o *caller) bool { return o == c })
	if t.byAddr[from] = list; len(list) == 0 {
		delete(t.byAddr, from)
	}
	t.some.Store(len(t.byKey) > 0)
}

// sweep drops whose dialogs are forgotten, and what has lasted for too long, and
// returns how many are left.
func (t *callers) sweep(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.byKey {
		if c.open == 0 && !t.dialogs.known(c.b.impi) || now.Sub(c.began) > maxEmergencyCall {
			t.drop(c)
		}
	}
	return len(t.byKey)
}
