package pcscf

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// All addresses of a /64 may be one phone's: they have as many calls as one address.
func TestCallersOfOnePrefix(t *testing.T) {
	table, now, n := newCallers(1000, newDialogs()), time.Now(), 0
	begin := func(addr string) (*caller, error) {
		t.Helper()
		n++
		m, err := sip.Parse(fmt.Sprintf("INVITE urn:service:sos SIP/2.0\r\nVia: SIP/2.0/UDP [%s]:5060;branch=z9hG4bK%d\r\n"+
			"From: <sip:x@y>;tag=%d\r\nTo: <urn:service:sos>\r\nCall-ID: c%d\r\nCSeq: 1 INVITE\r\nContact: <sip:x@[%s]>\r\n\r\n", addr, n, n, n, addr))
		if err != nil {
			t.Fatal(err)
		}
		return table.begin(sip.Flow{Role: sip.RoleGm, Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 5060)}, m, now)
	}
	var all []*caller
	for i := range maxCallersOfOne {
		c, err := begin(fmt.Sprintf("2001:db8:1:2::%x", i+1))
		if err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
		all = append(all, c)
	}
	if _, err := begin("2001:db8:1:2:ffff::1"); !errors.Is(err, errCallersOfOne) {
		t.Errorf("one more of the same /64: %v, want %v", err, errCallersOfOne)
	}
	other, err := begin("2001:db8:1:3::1")
	if err != nil {
		t.Errorf("one of another /64: %v", err)
	}
	table.ended(all[0])
	again, err := begin("2001:db8:1:2:ffff::2")
	if err != nil {
		t.Fatalf("one more when one is over: %v", err)
	}
	for _, c := range append(all[1:], other, again) {
		table.ended(c)
	}
	if left := table.sweep(now); left != 0 || len(table.byAddr) != 0 {
		t.Errorf("%d calls are left, of %d addresses", left, len(table.byAddr))
	}
}
