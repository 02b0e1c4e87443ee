package transport

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// A connection is left alone from its beginning, and whenever nothing of a message is
// there; Close ends it all the same.
func TestLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		var conns []*restingConn
		e := newEnd(t, restingNet{n.Host("192.0.2.2"), &conns}, addrB, sip.RoleProtectedServer, Config{})
		c := rawDial(t, n.Host("192.0.2.1"), e.addr)
		m := message("a", 5000)
		for _, s := range []struct {
			write string
			alone bool
			want  int // messages by then
		}{
			{"", true, 0},
			{m[:1], false, 0},
			{m[1 : len(m)-1], false, 0},
			{m[len(m)-1:], true, 1},
			{m + m + m[:100], false, 3},
			{m[100:], true, 4},
			{"\r\n\r\n", true, 4},
			{"\r", false, 4},
			{"\n\r\n" + m, true, 5},
		} {
			write(t, c, s.write)
			synctest.Wait()
			if len(conns) != 1 {
				t.Fatalf("%d connections were accepted, want 1", len(conns))
			}
			if alone := conns[0].leftAlone(); alone != s.alone || len(e.received()) != s.want {
				t.Errorf("after %d octets it is left alone: %v, and %d messages have come; want %v, %d", len(s.write), alone, len(e.received()), s.alone, s.want)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(e.of("closed")); n != 1 || conns[0].leftAlone() {
			t.Errorf("it was closed %d times, and is left alone: %v", n, conns[0].leftAlone())
		}
	})
}

// restingNet has connections that can be left alone.
type restingNet struct {
	Net
	accepted *[]*restingConn // those that were; nil for nobody who wants to know
}

func (n restingNet) Listen(local netip.AddrPort) (net.Listener, error) {
	l, err := n.Net.Listen(local)
	return restingListener{l, n.accepted}, err
}

func (n restingNet) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	c, err := n.Net.Dial(ctx, local, remote)
	if err != nil {
		return nil, err
	}
	return &restingConn{Conn: c}, nil
}

type restingListener struct {
	net.Listener
	accepted *[]*restingConn
}

func (l restingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	r := &restingConn{Conn: c}
	if l.accepted != nil {
		*l.accepted = append(*l.accepted, r)
	}
	return r, nil
}

// restingConn waits, while nobody reads it, with a read of a single octet.
type restingConn struct {
	net.Conn

	mu      sync.Mutex
	resting bool
	there   []byte // read while it rested, with err
	err     error
}

func (c *restingConn) leftAlone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resting
}

func (c *restingConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func (c *restingConn) SetLinger(sec int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(sec)
	}
	return nil
}

func (c *restingConn) WhenReadable(ready func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resting {
		panic("left alone twice")
	}
	if len(c.there) > 0 || c.err != nil {
		return false
	}
	c.resting = true
	go func() {
		var one [1]byte
		n, err := c.Conn.Read(one[:])
		c.mu.Lock()
		c.there, c.err, c.resting = slices.Clone(one[:n]), err, false
		c.mu.Unlock()
		ready()
	}()
	return true
}

func (c *restingConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	if c.resting {
		panic("read while it was left alone")
	}
	n, err := copy(b, c.there), c.err
	c.there, c.err = c.there[n:], nil
	c.mu.Unlock()
	if n > 0 || err != nil {
		return n, err
	}
	return c.Conn.Read(b)
}
