//go:build integration

package kerneltest

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/xfrm"
	"github.com/gocscf/gocscf/testbed/conformance"
)

type ended struct {
	id   ipsec.SetID
	hard bool
}

// await waits for an event of a kind that the kernel tells of.
func await(t *testing.T, events <-chan ended, want ended) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e := <-events:
			if e == want {
				return
			}
		case <-limit:
			t.Fatalf("the kernel does not tell of %+v", want)
		}
	}
}

// A set ends by itself, is told of before and then, and leaves nothing open; one
// whose end has been moved goes on.
func TestASetEndsAndIsExtended(t *testing.T) {
	conformance.Partly(t, "IP-11")
	coreNet, phoneNet := wire(t)
	events := make(chan ended, 100)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4}, Ports: ports(2),
		Expired: func(id ipsec.SetID, hard bool) { events <- ended{id, hard} }})
	phone := byUser(t, phoneNet, phone4)
	short, long := set(0, sha1Null, false), set(1, sha1Null, false)
	short.Hard, long.Hard = time.Now().Add(6*time.Second), time.Now().Add(5*time.Second)
	for _, s := range []*ipsec.Set{short, long} {
		if err := core.Install(s); err != nil {
			t.Fatal(err)
		}
		m := mirror(s)
		m.Hard = time.Now().Add(time.Hour)
		if err := phone.Install(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := core.Extend(long.ID, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	await(t, events, ended{short.ID, false})
	ps, uc := packetSocket(t, core, short.Local.Server()), packetSocket(t, phone, short.Remote.Client())
	await(t, events, ended{short.ID, true})
	if states, _ := coreNet.Standing(t); states < 4 || states > 7 {
		t.Errorf("%d states stand, want 4 and at most 3 about to go", states)
	}
	wires := coreNet.Sniff(t)
	_, err := ps.WriteTo([]byte("late"), uc.LocalAddr())
	t.Log("sending on a set that has ended:", err)
	datagrams(t, core, phone, long)
	packets := wires.Stop()
	if clear, protected := inClear(packets); clear != 0 || protected == 0 {
		t.Errorf("%d in clear, %d protected", clear, protected)
	}
	_ = uc.SetReadDeadline(time.Now())
	if n, _, err := uc.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("a set that has ended has carried %d octets", n)
	}
	for _, s := range []*ipsec.Set{short, long} {
		remove(t, core, phone, s)
	}
	if states, policies := coreNet.Standing(t); states != 0 || policies != 8 {
		t.Errorf("%d states and %d policies are left, want the blocks alone", states, policies)
	}
}

// A P-CSCF that is killed with 200 phones registered starts again and finds nothing of
// theirs; another beside it keeps its own.
func TestRestartWithTwoHundredSets(t *testing.T) {
	conformance.Shows(t, "IP-24")
	const phones, kinds = 200, 8 // phones with other ports of theirs share ours
	coreNet, phoneNet := wire(t)
	config := xfrm.Config{Addrs: []netip.Addr{core4, core6}, Ports: ports(kinds)}
	besidePorts := []uint16{7100, 7101}
	beside := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4}, Ports: besidePorts})
	phone := byUser(t, phoneNet, phone4)
	other := set(300, sha1Null, false)
	other.Local.PortC, other.Local.PortS = besidePorts[0], besidePorts[1]
	install(t, beside, phone, other)
	blocks := 2 * 2 * 2 * kinds
	var killed *xfrm.Backend
	if err := coreNet.Do(func() (err error) { killed, err = xfrm.New(config); return err }); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for i := range phones {
		s := set(i, ipsec.Pairs[i%len(ipsec.Pairs)], i%2 == 1)
		s.Local.PortC, s.Local.PortS = firstPC+uint16(i%kinds), firstPS+uint16(i%kinds)
		if err := killed.Install(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d sets installed in %v", phones, time.Since(begin))
	if states, policies := coreNet.Standing(t); states != 4*phones+4 || policies != 4*phones+4+blocks+4 {
		t.Errorf("%d states and %d policies stand", states, policies)
	}
	begin = time.Now()
	core := byKernel(t, coreNet, config)
	t.Logf("started again in %v", time.Since(begin))
	if got, want := core.Cleaned(), 8*phones+blocks; got != want {
		t.Errorf("%d states and policies were removed at start, want %d", got, want)
	}
	if states, policies := coreNet.Standing(t); states != 4 || policies != 4+blocks+4 {
		t.Errorf("%d states and %d policies stand after the start", states, policies)
	}
	datagrams(t, beside, phone, other)
	// The first phone registers anew, with the same ports and SPIs.
	s := set(0, ipsec.Pairs[0], false)
	install(t, core, phone, s)
	datagrams(t, core, phone, s)
	remove(t, core, phone, s)
	if err := core.Close(); err != nil {
		t.Error(err)
	}
	if states, policies := coreNet.Standing(t); states != 4 || policies != 4+4 {
		t.Errorf("%d states and %d policies are left after Close, want those of the other P-CSCF", states, policies)
	}
	datagrams(t, beside, phone, other)
	// What was killed finds nothing any more.
	if err := killed.Close(); err != nil {
		t.Error(err)
	}
}

// Where a step fails nothing of a set stays, and what stood before is untouched.
func TestAFailureRollsBack(t *testing.T) {
	coreNet, phoneNet := wire(t)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4}, Ports: ports(1)})
	// Another program has a state to the phone with the last of the set's SPIs.
	s := set(0, sha1Null, false)
	foreign := &netlink.XfrmState{
		Src: core4.AsSlice(), Dst: phone4.AsSlice(), Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TRANSPORT,
		Spi: int(s.Remote.SPIS), Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 20), ICVLen: 128},
	}
	if err := coreNet.Do(func() error { return netlink.XfrmStateAdd(foreign) }); err != nil {
		t.Fatal(err)
	}
	states, policies := coreNet.Standing(t)
	err := core.Install(s)
	if err == nil {
		t.Fatal("two states with one SPI")
	}
	t.Log(err)
	if st, p := coreNet.Standing(t); st != states || p != policies {
		t.Errorf("there were %d states and %d policies, now %d and %d", states, policies, st, p)
	}
	if err := coreNet.Do(func() error { return netlink.XfrmStateDel(foreign) }); err != nil {
		t.Fatal(err)
	}
	phone := byUser(t, phoneNet, phone4)
	install(t, core, phone, s)
	datagrams(t, core, phone, s)
}

// A phone that was switched off comes back with the SPIs it had, while its old set
// stands.
func TestAPhoneComesBackWithItsSPIs(t *testing.T) {
	coreNet, phoneNet := wire(t)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4}, Ports: ports(2)})
	old, s := set(0, sha1Null, false), set(1, sha1Null, false)
	s.Remote = old.Remote
	phone := byUser(t, phoneNet, phone4)
	if err := errors.Join(core.Install(old), phone.Install(mirror(old))); err != nil {
		t.Fatal(err)
	}
	datagrams(t, core, phone, old)
	if err := errors.Join(phone.Remove(old.ID), core.Install(s), phone.Install(mirror(s))); err != nil {
		t.Fatal(err)
	}
	ps, uc := packetSocket(t, core, s.Local.Server()), packetSocket(t, phone, s.Remote.Client())
	if err := datagram(uc, ps, 100); err != nil {
		t.Fatal(err)
	}
	// Its answer waits for the take-over, as a retransmission would.
	limit := time.Now().Add(patience)
	for {
		_, err := ps.WriteTo([]byte("200"), uc.LocalAddr())
		_ = uc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		buf := make([]byte, 10)
		if n, _, e := uc.ReadFrom(buf); e == nil && string(buf[:n]) == "200" {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("the phone gets no answer: %v", err)
		}
	}
	if err := core.Remove(old.ID); err != nil {
		t.Error(err)
	}
	ps.Close()
	uc.Close()
	datagrams(t, core, phone, s)
	remove(t, core, phone, s)
	if states, policies := coreNet.Standing(t); states != 0 || policies != 8 {
		t.Errorf("%d states and %d policies are left", states, policies)
	}
}
