package netstack_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ipsec/esp"
)

// A connection that is left alone calls, once, when Read would not wait; it cannot be
// left alone where that is so already.
func TestLeftAlone(t *testing.T) {
	type ends struct {
		ours, phone net.Conn
		remove      func() error
	}
	for _, c := range []struct {
		name   string
		happen func(e ends) error
		want   error // of Read
	}{
		{"something comes", func(e ends) error { _, err := io.WriteString(e.phone, "ping"); return err }, nil},
		{"the peer ends it", func(e ends) error { return e.phone.Close() }, io.EOF},
		{"it is closed", func(e ends) error { return e.ours.Close() }, net.ErrClosed},
		{"its deadline passes", func(e ends) error { return e.ours.SetReadDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
		{"its deadline has passed", func(e ends) error { return e.ours.SetReadDeadline(time.Now().Add(-time.Second)) }, os.ErrDeadlineExceeded},
		{"its set is removed", func(e ends) error { return e.remove() }, syscall.ECONNABORTED},
	} {
		for _, first := range []bool{false, true} {
			name := c.name + " at rest"
			if first {
				name = c.name + " before"
			}
			t.Run(name, func(t *testing.T) {
				pcscf, phone, set := inMemory(t, esp.MemoryConfig{})
				l, err := pcscf.Listen(set.Local.Server())
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				e := ends{phone: dial(t, phone, set.Remote.Client(), set.Local.Server()), remove: func() error { return pcscf.Remove(set.ID) }}
				defer e.phone.Close()
				e.ours = accept(t, l)
				defer e.ours.Close()
				var calls atomic.Int32
				called := make(chan struct{}, 10)
				rest := func() bool {
					return e.ours.(interface{ WhenReadable(func()) bool }).WhenReadable(func() {
						calls.Add(1)
						called <- struct{}{}
					})
				}
				if first {
					if err := c.happen(e); err != nil {
						t.Fatal(err)
					}
				}
				rests := rest()
				if !first {
					if !rests {
						t.Fatal("it cannot be left alone, though nothing has happened")
					}
					if calls.Load() != 0 {
						t.Fatal("it has called, though nothing has happened")
					}
					if err := c.happen(e); err != nil {
						t.Fatal(err)
					}
				}
				if rests {
					select {
					case <-called:
					case <-time.After(5 * time.Second):
						t.Fatal("it did not call")
					}
				}
				buf := make([]byte, 10)
				if n, err := e.ours.Read(buf); !errors.Is(err, c.want) || err == nil && string(buf[:n]) != "ping" {
					t.Errorf("read %q, %v; want %v", buf[:n], err, c.want)
				}
				want := calls.Load()
				_, _ = e.phone.Close(), e.ours.Close()
				if n := calls.Load(); n != want || n > 1 {
					t.Errorf("it has called %d times, want at most once, and not while it does not rest", n)
				}
				if rest() {
					t.Error("it can be left alone though it is closed")
				}
			})
		}
	}
}
