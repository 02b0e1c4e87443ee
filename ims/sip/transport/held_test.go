package transport

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
)

// tightNet's sockets write so many datagrams at once without waiting, and note how
// many each call had.
type tightNet struct {
	Net
	room int // for what is written in a call that may not wait
	all  int // for what is written in all such calls, 0: no bound

	mu    sync.Mutex
	now   []int // datagrams of each call that may not wait
	later []int // and of each that may
	sent  []string
}

func (n *tightNet) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	pc, err := n.Net.ListenPacket(local)
	if err != nil {
		return nil, err
	}
	return &tightConn{pc, n}, nil
}

type tightConn struct {
	net.PacketConn
	n *tightNet
}

func (c *tightConn) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	return singly{c.PacketConn}.ReadBatch(bufs, sizes, from)
}

func (c *tightConn) WriteBatch(bufs [][]byte, to []netip.AddrPort) (int, error) {
	return c.note(&c.n.later, bufs, len(bufs))
}

func (c *tightConn) WriteBatchNow(bufs [][]byte, to []netip.AddrPort) (int, error) {
	room := c.n.room
	if c.n.all > 0 {
		c.n.mu.Lock()
		room = min(room, max(0, c.n.all-len(c.n.sent)))
		c.n.mu.Unlock()
	}
	return c.note(&c.n.now, bufs, room)
}

func (c *tightConn) note(calls *[]int, bufs [][]byte, room int) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	*calls = append(*calls, len(bufs))
	n := min(len(bufs), room)
	for _, b := range bufs[:n] {
		c.n.sent = append(c.n.sent, string(b))
	}
	if n < len(bufs) {
		return n, syscall.EAGAIN
	}
	return n, nil
}

// What is sent under Hold leaves in one call and in order, on the goroutine that
// releases; what does not fit there leaves behind it, and is seen once.
func TestHold(t *testing.T) {
	for _, c := range []struct {
		name       string
		room       int
		now, later []int
	}{
		{"all of it fits", 100, []int{5}, nil},
		{"some does", 2, []int{5}, []int{3}},
		{"nothing does", 0, []int{5}, []int{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &tightNet{Net: Kernel(), room: c.room}
			seen := &sentCounter{}
			tr := New(n, Config{Observer: seen}, newRecorder())
			defer tr.Close()
			local, err := tr.Listen(Listen{Addr: netip.MustParseAddrPort("127.0.0.1:0"), UDP: true, Role: sip.RoleCore})
			if err != nil {
				t.Fatal(err)
			}
			tr.Hold()
			tr.Hold() // of another shard
			var want []string
			for _, m := range []string{"one", "two", "three", "four", "five"} {
				want = append(want, m)
				tr.Send(Outgoing{Flow: sip.Flow{Proto: sip.UDP, Local: local, Remote: local}, Data: []byte(m)})
			}
			if n.sent != nil {
				t.Errorf("%q left before Release", n.sent)
			}
			tr.Release()
			if err := tr.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			tr.Release() // has nothing left
			n.mu.Lock()
			defer n.mu.Unlock()
			if !slices.Equal(n.sent, want) || !slices.Equal(n.now, c.now) || !slices.Equal(n.later, c.later) {
				t.Errorf("sent %q, at once %d, later %d; want %q, %d, %d", n.sent, n.now, n.later, want, c.now, c.later)
			}
			if got := seen.count(); got != 5 {
				t.Errorf("the observer saw %d, want 5", got)
			}
		})
	}
}

type sentCounter struct {
	mu sync.Mutex
	n  int
}

func (c *sentCounter) Received(sip.Flow, string)       {}
func (c *sentCounter) Dropped(sip.Flow, Reason, error) {}
func (c *sentCounter) Sent(sip.Flow, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *sentCounter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// Messages that are held when the transport is closed fail like others.
func TestHeldAtTheEnd(t *testing.T) {
	tr := New(Kernel(), Config{}, newRecorder())
	local, err := tr.Listen(Listen{Addr: netip.MustParseAddrPort("127.0.0.1:0"), UDP: true, Role: sip.RoleCore})
	if err != nil {
		t.Fatal(err)
	}
	tr.Hold()
	var failed []error
	tr.Send(Outgoing{Flow: sip.Flow{Proto: sip.UDP, Local: local, Remote: local}, Data: []byte("late"), Fail: func(err error) { failed = append(failed, err) }})
	_ = tr.Close()
	tr.Release()
	if len(failed) != 1 {
		t.Errorf("failed with %v, want one error", failed)
	}
	if q := tr.Stats().Queued; q != 0 {
		t.Errorf("%d octets are still queued", q)
	}
}
