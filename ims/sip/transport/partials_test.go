package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// Long messages of strangers that do not become complete take no more memory than they
// may: the oldest give way, and who completes his is served.
func TestPartialMessages(t *testing.T) {
	const (
		conns  = 40
		buffer = 64 << 10 // that a message of so many octets needs
		fit    = 16
	)
	long := message("long", 56<<10)
	for _, tc := range []struct {
		role sip.Role
		want int // connections that stay
	}{{sip.RoleGm, fit}, {sip.RoleCore, conns}, {sip.RoleProtectedServer, conns}} {
		t.Run(tc.role.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
				b := newEnd(t, hb, addrB, tc.role, Config{MaxPartial: fit * buffer})
				var all []net.Conn
				for range conns {
					c := rawDial(t, ha, b.addr)
					write(t, c, long[:len(long)-1])
					synctest.Wait()
					all = append(all, c)
				}
				if n := b.Stats().Conns; n != tc.want || b.counted(PartialLimit) != conns-tc.want {
					t.Errorf("%d of %d connections stay and %d give way, want %d and the rest", n, conns, b.counted(PartialLimit), tc.want)
				}
				for _, c := range all[conns-fit:] {
					write(t, c, long[len(long)-1:])
				}
				synctest.Wait()
				if n := len(b.received()); n != fit {
					t.Errorf("%d messages become complete, want those %d of the last", n, fit)
				}
				b.Transport.partials.mu.Lock()
				defer b.Transport.partials.mu.Unlock()
				if p := &b.Transport.partials; tc.role == sip.RoleGm && (p.octets != 0 || len(p.places) != 0 || p.oldest.Len() != 0) {
					t.Errorf("%d octets of %d connections count when all are complete", p.octets, len(p.places))
				}
			})
		})
	}
}

// What counts is how long a message has waited, not its connection; and what has ended
// counts no more.
func TestOldestPartialGivesWay(t *testing.T) {
	long := message("long", 56<<10)
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{MaxPartial: 3 * 64 << 10})
		var conns []net.Conn
		begin := func(i int) {
			write(t, conns[i], long[:len(long)-1])
			synctest.Wait()
		}
		for i := range 4 {
			conns = append(conns, rawDial(t, ha, b.addr))
			if i < 3 {
				begin(i)
			}
		}
		write(t, conns[0], long[len(long)-1:])
		synctest.Wait()
		begin(0) // now the youngest
		begin(3)
		gone := func(want ...bool) {
			t.Helper()
			var got []bool
			for _, c := range conns {
				_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
				_, err := c.Read(make([]byte, 1))
				got = append(got, !errors.Is(err, os.ErrDeadlineExceeded))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("ended are %v, want %v", got, want)
			}
		}
		gone(false, true, false, false)
		_ = conns[2].Close()
		synctest.Wait()
		conns = append(conns, rawDial(t, ha, b.addr))
		begin(4)
		conns[2] = conns[4]
		gone(false, true, false, false, false)
	})
}
