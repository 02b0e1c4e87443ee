package transport

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// A message that the peer cannot frame fails by itself: the connection stays, with what
// others have on it.
func TestTooLargeForAStream(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		a := newEnd(t, ha, addrA, sip.RoleCore, Config{})
		b := newEnd(t, hb, addrB, sip.RoleCore, Config{})
		first, last := message("first", 10), message("last", 20000)
		b.send(t, sip.TCP, sip.RoleCore, a.addr, first)
		b.send(t, sip.TCP, sip.RoleCore, a.addr, strings.Replace(first, "\r\n", "\r\nX: "+strings.Repeat("y", sip.MaxHeader)+"\r\n", 1))
		b.send(t, sip.TCP, sip.RoleCore, a.addr, message("long", sip.MaxMessage))
		b.send(t, sip.TCP, sip.RoleCore, a.addr, last)
		synctest.Wait()
		if got := a.received(); len(got) != 2 || got[0] != first || got[1] != last {
			t.Errorf("%d messages have come", len(got))
		}
		if n := a.Stats().Conns; n != 1 || a.counted(Malformed) != 0 || len(a.of("closed")) != 0 {
			t.Errorf("%d connections, %d could not be framed, closed: %v", n, a.counted(Malformed), a.of("closed"))
		}
		errs := b.failed()
		if len(errs) != 2 || b.counted(Unsendable) != 2 {
			t.Fatalf("failed: %v, counted %d", errs, b.counted(Unsendable))
		}
		for _, err := range errs {
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("failed with %v", err)
			}
		}
	})
}
