package transport

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// owed sends responses of which each goes to another port of an address, as after
// requests whose connection has ended, and returns how many are not refused at once.
func (e *end) owed(role sip.Role, addr string, first, count int) (dialled int) {
	before := len(e.failed())
	for i := range count {
		f := sip.Flow{Proto: sip.TCP, Role: role, Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(first+i))}
		e.Send(Outgoing{Flow: f, Data: []byte("SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"), Insist: true, Fail: e.Fail})
	}
	return count - (len(e.failed()) - before)
}

// Whoever is owed responses over connections that do not come up has few of them tried
// at a time, and takes nothing from the core.
func TestDialsForResponses(t *testing.T) {
	const far, farther, near = "198.51.100.9", "198.51.100.10", "192.0.2.3"
	for _, role := range []sip.Role{sip.RoleGm, sip.RoleCore} {
		t.Run(role.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
				n.Host(far, farther)
				n.SetLink("192.0.2.2", far, memnet.Link{Blackhole: true})
				n.SetLink("192.0.2.2", farther, memnet.Link{Blackhole: true})
				a, b := newEnd(t, ha, addrA, sip.RoleCore, Config{}), newEnd(t, hb, addrB, role, Config{})
				if got := b.owed(role, far, 1, 100); got != maxAnswering || b.counted(AddrLimit) != 100-maxAnswering {
					t.Errorf("%d connections are tried at a time, want %d", got, maxAnswering)
				}
				if got := b.owed(role, far, 1, 1); got != 1 {
					t.Error("a response for a connection that is tried already is refused")
				}
				if got := b.owed(role, farther, 1, 100); got != maxAnswering {
					t.Errorf("%d are tried to another address, want %d", got, maxAnswering)
				}
				if got := b.owed(sip.RoleProtectedClient, far, 1, 100); got != 100 {
					t.Errorf("%d are tried to phones with SAs that have an address in common, want all", got)
				}
				if errs := b.failed(); len(errs) == 0 || !errors.Is(errs[0], ErrTooManyConns) {
					t.Errorf("the others fail with %v", errs)
				}
				b.Send(Outgoing{Flow: sip.Flow{Proto: sip.TCP, Role: sip.RoleCore, Remote: a.addr}, Data: []byte(message("a", 0)), Fail: b.Fail})
				synctest.Wait()
				if len(a.received()) != 1 {
					t.Error("a request to the core is not sent meanwhile")
				}
				time.Sleep(time.Second + time.Millisecond)
				if got := b.owed(role, far, 101, 100); got != maxAnswering {
					t.Errorf("%d are tried when those before are given up, want %d", got, maxAnswering)
				}
				time.Sleep(2 * time.Second)
				// To somebody who can be reached they leave, whatever their number.
				h := n.Host(near)
				for port := range uint16(2 * maxAnswering) {
					l, err := h.Listen(netip.AddrPortFrom(netip.MustParseAddr(near), 1+port))
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = l.Close() })
				}
				failed := len(b.failed())
				for port := range 2 * maxAnswering {
					b.owed(role, near, 1+port, 1)
					synctest.Wait()
				}
				if len(b.failed()) != failed {
					t.Errorf("%d responses do not leave", len(b.failed())-failed)
				}
				b.Transport.mu.Lock()
				defer b.Transport.mu.Unlock()
				if left := len(b.Transport.counts.answering); left != 0 {
					t.Errorf("%d addresses count as being dialled in the end", left)
				}
			})
		})
	}
}

// However many addresses they have, strangers are owed no more connections than they
// may open: the rest is for requests to the core.
func TestResponsesLeaveRoomToDial(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		far := []string{"198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"}
		n.Host(far...)
		for _, to := range far {
			n.SetLink("192.0.2.2", to, memnet.Link{Blackhole: true})
		}
		a, b := newEnd(t, ha, addrA, sip.RoleCore, Config{}), newEnd(t, hb, addrB, sip.RoleGm, Config{MaxConns: 32})
		got := 0
		for _, to := range far {
			got += b.owed(sip.RoleGm, to, 1, 10)
		}
		if got != 28 || b.counted(ConnLimit) != 12 {
			t.Errorf("%d of 32 connections are tried for responses, want 28", got)
		}
		b.Send(Outgoing{Flow: sip.Flow{Proto: sip.TCP, Role: sip.RoleCore, Remote: a.addr}, Data: []byte(message("a", 0)), Fail: b.Fail})
		synctest.Wait()
		if len(a.received()) != 1 {
			t.Errorf("a request to the core is not sent meanwhile: %v", b.failed())
		}
	})
}
