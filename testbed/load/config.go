package load

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gocscf/gocscf/aka"
)

// Config says who the phones are, what they do, and what is watched meanwhile.
type Config struct {
	// PCSCF are where phones send to, each phone to one of them in turn.
	PCSCF []netip.AddrPort
	// ESP, if set, puts the phones behind IPsec: it is the P-CSCF's address for ESP in UDP
	// (ipsec.udp in pcscf.yaml). They are then those of package ue, on one stack in user
	// space; Think and T1 are theirs, and an unanswered call ends with 603.
	ESP netip.AddrPort
	// Domain is the home network's.
	Domain string
	// Phones is how many there are. Their IMSIs count from First, their private
	// identity is IMSI@Domain and the public one to register sip:IMSI@Domain.
	Phones int
	First  uint64
	// K and OPc are the key of all SIMs, with Milenage.
	K, OPc aka.Secret
	// Address is the first phone's, IPv4; the others count on from there, 250 of each
	// 256. Default 127.16.0.1. All must be this machine's, as all of 127/8 are.
	Address netip.Addr
	// Port is of all phones, 0 takes any.
	Port uint16
	// Expires is asked for in REGISTER and SUBSCRIBE, in seconds. Default 600000
	// (TS 24.229 5.1.1.2.1).
	Expires int

	// Registered is how many phones register before the load begins; negative is what
	// the mix needs. RegisterBusy of them do so at once (default 20).
	Registered   int
	RegisterBusy int
	// Mix is what phones do under load.
	Mix Mix
	// Rate, if it is not zero, is the open loop: operations become due by a Poisson
	// process. Otherwise Busy operations are always under way (default 10).
	Rate Rate
	Busy int
	// Stir is how long the load lasts before it counts, Duration how long it counts,
	// and Count, if not 0, ends it after so many operations. No Duration, no Count and no
	// End: nothing but the pre-registration.
	Stir, Duration time.Duration
	Count          int
	// Steps, in place of Rate, are loads to try one after the other, each for Stir and
	// Duration, until one is not handled adequately: see Report.DOC.
	Steps []float64

	// Think is what a phone needs to answer a challenge. Ring and Hold are how long it
	// rings and talks.
	Think, Ring, Hold time.Duration
	// T1 is the timer of RFC 3261 17.1.1.1. Default 2 s, with T2 16 s (TS 24.229 table
	// 7.7.1).
	T1 time.Duration
	// Patience ends an attempt that has no final answer. Default 32 s.
	Patience time.Duration
	// Limit is the longest latency of an adequately handled attempt. Default 2 s.
	Limit time.Duration
	// Recover lets a phone whose request shows that the core has forgotten it (403, 404,
	// 480, 481, 504; behind IPsec also no final answer within Patience) register anew at
	// once, as a scenario of its own.
	Recover bool
	// Priority is the Resource-Priority of the calls that ask for some. Default wps.0.
	Priority string
	// Seed makes the due times and the choice of scenarios repeatable; 0 takes one.
	Seed uint64

	// Processes are watched, with all their descendants.
	Processes []Process
	// Progress, if set, is called each second of the load. It must not block.
	Progress func(Second)
	// Ended, if set, is called when an attempt is over. It must not block: no phone does
	// anything meanwhile.
	Ended func(Attempt)
	// End, when it is closed, ends the load as Duration does: what is under way comes to
	// its end.
	End <-chan struct{}
	// Leave has all registered phones de-register after the load.
	Leave bool
	// Traffic, if set, counts requests and answers. Phones behind IPsec do not.
	Traffic *Traffic
	// Gm, if set, damages what passes between phones and P-CSCF.
	Gm *Impairment
}

// Attempt is one operation that is over.
type Attempt struct {
	Scenario   Scenario
	From, To   int // the phones' numbers; To is -1 where nobody is called
	Due, Ended time.Time
	// Answered is when the caller had the 200 to its INVITE: from then on the call is
	// established. Zero if that never came.
	Answered time.Time
	Cause    string // why it failed; "" if it succeeded
}

func (c *Config) defaults() {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.T1, 2*time.Second)
	set(&c.Patience, 32*time.Second)
	set(&c.Limit, 2*time.Second)
	if !c.Address.IsValid() {
		c.Address = netip.AddrFrom4([4]byte{127, 16, 0, 1})
	}
	if c.Priority == "" {
		c.Priority = "wps.0"
	}
	if c.Expires == 0 {
		c.Expires = 600000
	}
	if c.RegisterBusy == 0 {
		c.RegisterBusy = 20
	}
	if c.Busy == 0 {
		c.Busy = 10
	}
	if c.Registered < 0 {
		switch c.Registered = c.Phones; {
		case c.Mix == Only(Register):
			c.Registered = 0
		case c.Mix[Register] > 0:
			c.Registered = c.Phones / 2
		}
	}
}

// maxPhones leaves each an address of 127/8 from the first on.
const maxPhones = 10_000_000

// check reports everything that is wrong.
func (c *Config) check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.PCSCF) == 0 {
		fault("no P-CSCF to send to")
	}
	for _, p := range c.PCSCF {
		if !p.IsValid() || !p.Addr().Unmap().Is4() {
			fault("the P-CSCF's address is %v: want IPv4 and a port", p)
		}
	}
	if namespace, level, ok := strings.Cut(c.Priority, "."); !ok || namespace == "" || level == "" || strings.ContainsAny(c.Priority, " ,\t\r\n") {
		fault("the priority is %q: want NAMESPACE.LEVEL", c.Priority)
	}
	if c.Domain == "" {
		fault("the home domain is missing")
	}
	if c.Phones < 1 || c.Phones > maxPhones {
		fault("%d phones: want 1 to %d", c.Phones, maxPhones)
	}
	if c.First == 0 || c.First+uint64(max(c.Phones, 0)) > 1e15 {
		fault("the first IMSI is %d: want 15 digits, and room for %d phones", c.First, c.Phones)
	}
	if !c.Address.Is4() {
		fault("the first phone's address is %v: want IPv4", c.Address)
	} else if _, ok := phoneAddr(c.Address, max(c.Phones, 1)-1); !ok {
		fault("%d phones do not fit from address %v on", c.Phones, c.Address)
	}
	if c.Registered > c.Phones {
		fault("%d of %d phones cannot register", c.Registered, c.Phones)
	}
	if (c.Duration > 0 || c.Count > 0 || c.End != nil || len(c.Steps) > 0) && c.Mix.sum() == 0 {
		fault("the mix of scenarios is empty")
	}
	if len(c.Steps) > 0 && (c.Duration <= 0 || c.Rate != Rate{}) {
		fault("steps need a duration of each, and take the place of a rate")
	}
	if c.ESP.IsValid() && len(c.PCSCF) > 1 {
		fault("phones behind IPsec have one P-CSCF")
	}
	if _, err := aka.NewMilenage(c.K, c.OPc); err != nil {
		fault("K and OPc: %w", err)
	}
	return errors.Join(errs...)
}

// phoneAddr is the address of phone i. The last octet is 1 to 250.
func phoneAddr(first netip.Addr, i int) (netip.Addr, bool) {
	a := first.As4()
	n := int(a[3]) - 1 + i
	if a[3] == 0 || a[3] > 250 {
		return netip.Addr{}, false
	}
	third := int(a[2]) + n/250
	second := int(a[1]) + third/250
	a[3], a[2] = byte(1+n%250), byte(third%250)
	if second > 255 {
		return netip.Addr{}, false
	}
	a[1] = byte(second)
	return netip.AddrFrom4(a), true
}
