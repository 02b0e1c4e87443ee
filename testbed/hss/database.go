package hss

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unique"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/uri"
)

// State is the registration state of TS 29.228 6.1.
type State uint8

const (
	// NotRegistered: no S-CSCF has the profile, or one only authenticates.
	NotRegistered State = iota
	// Unregistered: an S-CSCF keeps the profile for services of a user who is not
	// registered.
	Unregistered
	// Registered: the user has a contact at an S-CSCF.
	Registered
)

func (s State) String() string {
	return [...]string{"NOT_REGISTERED", "UNREGISTERED", "REGISTERED"}[s]
}

// Status is what the HSS knows about an identity.
type Status struct {
	State       State
	AuthPending bool   // a vector is out, the answer to it is not known here
	ServerName  string // of the S-CSCF that is assigned, "" for none
	Host        string // Origin-Host of that S-CSCF
	IMPIs       []string
	IMPUs       []string // of those IMPIs
	SQN         aka.SQN  // used last, of the first IMPI
}

// database holds the subscribers and what the CSCFs told about them.
type database struct {
	mu    sync.Mutex
	users map[identity.IMPI]*user
	// impus lists who may register with a public identity, in the order in which
	// they were added.
	impus map[identity.IMPU][]*user
}

// subscription is what subscribers share: those joined by a public identity have
// one S-CSCF (TS 29.228 6.1.1.1, 6.7).
type subscription struct {
	users []*user
	assignment
}

// assignment is an S-CSCF with what goes with it; the zero value is none.
type assignment struct {
	scscf       string // Server-Name as the S-CSCF wrote it, "" for none
	host, realm string // Diameter identity of that S-CSCF
	// oldHost and oldRealm are of the S-CSCF before, if that is another host: it may
	// still hold registrations (TS 29.228 8.1.1).
	oldHost, oldRealm string
	// reassign is the S-CSCF reassignment pending flag: an I-CSCF found the
	// assigned one unreachable and asked for capabilities.
	reassign bool
}

// newDatabase checks all subscribers; the error joins what is wrong with each.
func newDatabase(c *Config, list []Subscriber) (*database, error) {
	d := &database{users: make(map[identity.IMPI]*user), impus: make(map[identity.IMPU][]*user)}
	cache := make(criteriaCache)
	var errs []error
	for i := range list {
		u, err := c.newUser(&list[i], cache)
		if err == nil && d.users[u.impi] != nil {
			err = errors.New("impi: another subscriber has the same")
		}
		if err != nil {
			errs = append(errs, list[i].name(i, err))
			if len(errs) == 20 {
				errs = append(errs, errors.New("subscribers: further faults are not shown"))
				break
			}
			continue
		}
		d.add(u)
	}
	for i := range c.Generate {
		if err := d.generate(c, &c.Generate[i], cache); err != nil {
			errs = append(errs, fmt.Errorf("generate[%d]: %w", i, err))
		}
	}
	return d, errors.Join(errs...)
}

// name says which entry the faults are of.
func (s *Subscriber) name(i int, err error) error {
	where := fmt.Sprintf("subscribers[%d]", i)
	if s.line > 0 {
		where += fmt.Sprintf(" (line %d)", s.line)
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range joined.Unwrap() {
			errs = append(errs, fmt.Errorf("%s.%w", where, e))
		}
		return errors.Join(errs...)
	}
	return fmt.Errorf("%s.%w", where, err)
}

// add puts u in, joining the subscriptions of its public identities.
func (d *database) add(u *user) {
	d.users[u.impi] = u
	u.sub = &subscription{users: []*user{u}}
	for _, impu := range u.impus {
		for _, other := range d.impus[impu] {
			u.sub.join(other.sub)
		}
		d.impus[impu] = append(d.impus[impu], u)
	}
}

// join takes other's users over, and its S-CSCF if we have none.
func (s *subscription) join(other *subscription) {
	if s == other {
		return
	}
	if s.scscf == "" {
		s.assignment = other.assignment
	}
	for _, u := range other.users {
		u.sub = s
	}
	s.users = slices.Concat(other.users, s.users)
}

// remove takes u out.
func (d *database) remove(u *user) {
	is := func(o *user) bool { return o == u }
	delete(d.users, u.impi)
	for _, impu := range u.impus {
		if d.impus[impu] = slices.DeleteFunc(d.impus[impu], is); len(d.impus[impu]) == 0 {
			delete(d.impus, impu)
		}
	}
	u.sub.users = slices.DeleteFunc(u.sub.users, is)
	u.sub.release()
}

// assign stores the S-CSCF that sent a MAR or SAR.
func (s *subscription) assign(name string, h *cx.RequestHeader) {
	if s.host != "" && s.host != h.OriginHost {
		s.oldHost, s.oldRealm = s.host, s.realm
	}
	// All users have one of few. What the request holds is a part of it.
	once := func(s string) string { return unique.Make(s).Value() }
	s.scscf, s.host, s.realm, s.reassign = once(name), once(h.OriginHost), once(h.OriginRealm), false
}

// release forgets the S-CSCF once nobody needs it.
func (s *subscription) release() {
	for _, u := range s.users {
		if u.state != NotRegistered || u.pending {
			return
		}
	}
	s.assignment = assignment{}
}

// isAssigned reports whether name is the stored S-CSCF. Names are compared as SIP
// URIs (TS 29.228 7.4), and none equals no name.
func (s *subscription) isAssigned(name string) bool {
	if s.scscf == "" {
		return false
	}
	if s.scscf == name {
		return true
	}
	a, errA := uri.Parse(cx.ServerURI(s.scscf))
	b, errB := uri.Parse(cx.ServerURI(name))
	return errA == nil && errB == nil && uri.Equal(a, b)
}

// impis lists the private identities of the subscription where there are several
// (Associated-Identities, TS 29.228 table 6.1.2.2).
func (s *subscription) impis() *cx.Identities {
	if len(s.users) < 2 {
		return nil
	}
	out := &cx.Identities{}
	for _, u := range s.users {
		out.UserNames = append(out.UserNames, string(u.impi))
	}
	return out
}

// user finds a private identity as it came in User-Name, nil if unknown.
func (d *database) user(name string) *user {
	impi, err := identity.ParseIMPI(name)
	if err != nil {
		return nil
	}
	return d.users[impi]
}

// holders finds who has a public identity as it came in Public-Identity.
func (d *database) holders(name string) []*user {
	impu, err := identity.ParseIMPU(name)
	if err != nil {
		return nil
	}
	return d.impus[impu]
}

// highest is the state of a public identity: that of the holder who is registered
// best.
func highest(holders []*user) State {
	state := NotRegistered
	for _, u := range holders {
		state = max(state, u.state)
	}
	return state
}

// status tells about an IMPI or IMPU, false if it is unknown.
func (d *database) status(id string) (Status, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	users := d.holders(id)
	if u := d.user(id); u != nil {
		users = []*user{u}
	}
	if len(users) == 0 {
		return Status{}, false
	}
	out := Status{
		State: highest(users), ServerName: users[0].sub.scscf, Host: users[0].sub.host, SQN: users[0].sqn.SQN,
	}
	for _, u := range users {
		out.AuthPending = out.AuthPending || u.pending
		out.IMPIs = append(out.IMPIs, string(u.impi))
		for _, impu := range u.impus {
			if !slices.Contains(out.IMPUs, string(impu)) {
				out.IMPUs = append(out.IMPUs, string(impu))
			}
		}
	}
	return out, true
}
