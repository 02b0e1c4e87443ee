package transport

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// What Send is given is the caller's again when it returns, and a Buffer his to free:
// while datagrams are held, while a connection is dialled, and while others are written.
func TestSendCopies(t *testing.T) {
	lengths := []int{0, 100, 300, 1000, 1300, 3000, 9000, 30000}
	send := func(e *end, f sip.Flow, want []string, shared bool) {
		one := make([]byte, 0, 1<<16)
		for _, m := range want {
			if shared { // it is poisoned when all who have it have freed it
				b := sip.BufferOf([]byte(m))
				e.Send(Outgoing{Flow: f, Data: b.Bytes(), Buffer: b, Fail: e.Fail})
				b.Free()
				continue
			}
			one = append(one[:0], m...)
			e.Send(Outgoing{Flow: f, Data: one, Fail: e.Fail})
			for i := range one {
				one[i] = '#'
			}
		}
	}
	for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, _ *memnet.Network, ha, hb *memnet.Host) {
				a, b := newEnd(t, ha, addrA, sip.RoleCore, Config{}), newEnd(t, hb, addrB, sip.RoleCore, Config{})
				var want []string
				for i, n := range lengths {
					want = append(want, message(string(rune('a'+i)), n))
				}
				f, _ := a.Pick(proto, sip.RoleCore, netip.MustParseAddrPort(addrB))
				once := want
				want = nil
				for _, shared := range []bool{false, true} {
					a.Hold()
					send(a, f, once, shared)
					a.Release()
					synctest.Wait()
					send(a, f, once, shared)
					synctest.Wait()
					want = append(append(want, once...), once...)
				}
				if got := b.received(); !slices.Equal(got, want) {
					t.Errorf("%s have come, want %s, each as it was", short(got), short(want))
				}
				if got := a.recorder.sent; !slices.Equal(got, want) {
					t.Errorf("the Observer has seen %s, want %s, each as it was", short(got), short(want))
				}
				if q := a.Stats().Queued; q != 0 || len(a.failed()) != 0 {
					t.Errorf("%d octets are queued, failed with %v", q, a.failed())
				}
			})
		})
	}
}

// What could not be written at once is written later as it was.
func TestSendCopiesWhatIsPutBack(t *testing.T) {
	n := &tightNet{Net: Kernel(), room: writeBatch, all: writeBatch + 3} // full amid the second batch
	tr := New(n, Config{}, newRecorder())
	defer tr.Close()
	local, err := tr.Listen(Listen{Addr: netip.MustParseAddrPort("127.0.0.1:0"), UDP: true, Role: sip.RoleCore})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for range 3 {
		tr.Hold()
		for i := range writeBatch + 8 {
			m := message(string(rune('a'+i)), 300+i)
			want = append(want, m)
			data := []byte(m)
			tr.Send(Outgoing{Flow: sip.Flow{Proto: sip.UDP, Local: local, Remote: local}, Data: data})
			clear(data)
		}
		tr.Release()
		if err := tr.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.sent, want) {
		t.Errorf("sent %s, want %s, each as it was", short(n.sent), short(want))
	}
}
