package pcscf

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
)

// security holds the SA sets of all phones. Its methods may be called from any
// goroutine; none of them blocks. What a back end has to do is done in order by
// one goroutine of its own.
type security struct {
	s     *Server
	cfg   IPsec
	stack *stack

	policy ipsec.Policy
	timers ipsec.Timers
	spis   *ipsec.SPIs
	ports  *ipsec.Ports
	facts  facts
	work   worker
	metric securityMetrics
	// answered counts the sets whose challenge was answered well.
	answered atomic.Int64

	mu     sync.RWMutex
	ended  bool
	byFlow flowTable
	byID   map[ipsec.SetID]*association
	phones phones
	crowd  crowd
	ticks  *ipsec.Alarms[*phone] // when life.Tick is due
}

// addrPair is an address and port of ours and one of a phone's: together they name
// a set, over UDP and TCP alike.
type addrPair struct{ local, remote netip.AddrPort }

// phoneKey names a phone: its private identity, and the address that its packets
// have within the SAs.
type phoneKey struct {
	impi string
	addr netip.Addr
}

// phone is a phone at one address.
type phone struct {
	key  phoneKey
	life ipsec.Life  // has the sets: what is agreed about each is in security.byID
	due  ipsec.Alarm // in security.ticks
	next *phone      // of the same private identity, at another address; see phones
	// unanswered counts requests that went to the phone since its last message and
	// were not answered.
	unanswered atomic.Int32
}

// Alarm is for what is due in the phone's life.
func (p *phone) Alarm() *ipsec.Alarm { return &p.due }

// association is an SA set with what was agreed about it.
type association struct {
	*ipsec.Set
	phone  *phone
	client []ipsec.Mechanism // the Security-Client that began it, until it is established
	// toClient is set for a phone that expects responses at port_uc.
	toClient bool
	// unproven is set as long as the crowd counts the set.
	unproven bool
	// gaveWay is why it was taken from whoever may have been about to use it, if it was.
	gaveWay *ipsec.GaveWayError
	// fresh is set while the first further message on the set is awaited, which
	// moves our sending to it.
	fresh atomic.Bool
	// outer is where the kernel sees its ESP in UDP come from; nil for not yet.
	outer atomic.Pointer[netip.AddrPort]
	// stream is the phone's open connection over the set, nil for none.
	stream atomic.Pointer[sip.Flow]
}

// maxPhonesOfOne bounds at how many addresses a private identity may be challenged
// at a time: anybody may send REGISTERs in its name, from anywhere. The S-CSCF keeps as
// many challenges of one.
const maxPhonesOfOne = 64

func (a *association) flows() [2]addrPair {
	return [2]addrPair{
		{a.Local.Server(), a.Remote.Client()},
		{a.Local.Client(), a.Remote.Server()},
	}
}

// server is the Security-Server that was sent for a set.
func (c *security) server(a *association) []ipsec.Mechanism {
	return ipsec.Answer(c.policy, ipsec.Choice{Pair: a.Pair, Mode: a.Mode}, a.Local)
}

// of returns the set of a flow, nil when it has none. A nil security has none.
func (c *security) of(f sip.Flow) *association {
	if c == nil || f.Role != sip.RoleProtectedServer && f.Role != sip.RoleProtectedClient {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byFlow.get(addrPair{f.Local, f.Remote})
}

// admit says what may come in: on the protected ports, what a set brings.
func (c *security) admit(f sip.Flow) bool {
	if f.Role != sip.RoleProtectedServer && f.Role != sip.RoleProtectedClient || c.of(f) != nil {
		return true
	}
	c.inClear(f.Proto, f.Local, f.Remote)
	return false
}

// established reports whether the phone has answered well the challenge of a set.
func (c *security) established(a *association) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return a.established()
}

// established is asked by whoever holds security.mu.
func (a *association) established() bool {
	st, _ := a.phone.life.Status(a.ID)
	return st == ipsec.Unused || st == ipsec.InUse || st == ipsec.Old
}

// consistent holds the Security-Client of a REGISTER over a set against the one that
// began it, where it answers the set's challenge.
func (c *security) consistent(a *association, client []ipsec.Mechanism) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if a.established() {
		return nil
	}
	return ipsec.Consistent(a.client, client)
}

// held returns the sets of a phone, those that it has answered well first.
func (c *security) held(k phoneKey) (all, established []*ipsec.Set) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if p := c.phones.of(k); p != nil {
		return p.life.Sets(), p.life.Established()
	}
	return nil, nil
}

// phonesOf returns where a private identity has SA sets.
func (c *security) phonesOf(impi string) (keys []phoneKey) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for p := c.phones[impi]; p != nil; p = p.next {
		keys = append(keys, p.key)
	}
	return keys
}

// current returns the set over which requests go to a phone, nil for none.
func (c *security) current(k phoneKey) *association {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p := c.phones.of(k)
	if p == nil {
		return nil
	}
	cur := p.life.Current()
	if cur == nil {
		return nil
	}
	return c.byID[cur.ID]
}

// close ends every set and waits until the back end has let go of them.
func (c *security) close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.ticks.End()
	c.work.close()
	c.stack.close()
}
