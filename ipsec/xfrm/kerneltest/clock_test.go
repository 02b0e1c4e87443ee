//go:build integration

package kerneltest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/xfrm"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
)

// remaining is for how long the kernel will keep the states in a namespace.
func remaining(t *testing.T, n *guest.Net) (left []time.Duration) {
	t.Helper()
	err := n.Do(func() error {
		list, err := netlink.XfrmStateList(netlink.FAMILY_ALL)
		now := time.Now().Unix()
		for _, s := range list {
			left = append(left, time.Duration(int64(s.Statistics.AddTime+s.Limits.TimeHard)-now)*time.Second)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// Somebody sets the clock, by which the kernel judges how old its states are: a set stands
// as long as it was to stand, and is prolonged as ever.
func TestTheClockIsSet(t *testing.T) {
	coreNet, phoneNet := wire(t)
	events := make(chan ended, 100)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4}, Ports: ports(1),
		Expired: func(id ipsec.SetID, hard bool) { events <- ended{id, hard} }})
	phone := byUser(t, phoneNet, phone4)
	s := set(0, sha1Null, false)
	s.Hard = time.Now().Add(10 * time.Minute)
	m := mirror(s)
	m.Hard = time.Now().Add(time.Hour)
	if err := core.Install(s); err != nil {
		t.Fatal(err)
	}
	if err := phone.Install(m); err != nil {
		t.Fatal(err)
	}
	// A second after it was told of limits the kernel looks at them, and then at the end.
	const judged = 2500 * time.Millisecond
	time.Sleep(judged)
	const life = 15 * time.Minute
	for _, by := range []time.Duration{time.Hour, 23 * time.Hour, -25 * time.Hour} {
		guest.SetClock(t, by)
		if err := core.Extend(s.ID, time.Now().Add(life)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(judged)
		datagrams(t, core, phone, s)
		left := remaining(t, coreNet)
		if len(left) != 4 {
			t.Errorf("the clock was set by %v, and the set prolonged: %d states stand", by, len(left))
		}
		for _, d := range left {
			// Set back, the clock has the kernel keep a state for longer.
			if d < life-time.Minute || by > 0 && d > life {
				t.Errorf("the clock was set by %v, and the set prolonged by %v: a state ends in %v", by, life, d)
			}
		}
	}
	select {
	case e := <-events:
		t.Errorf("the kernel tells of the end of set %d (hard: %v)", e.id, e.hard)
	default:
	}
	remove(t, core, phone, s)
	if states, policies := coreNet.Standing(t); states != 0 || policies != 4 {
		t.Errorf("%d states and %d policies are left, want the blocks alone", states, policies)
	}
}
