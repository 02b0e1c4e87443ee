package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

func killed(name string) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error { return b.core.end(ctx, name, syscall.SIGKILL) }
}

// back starts a service again, and is over when the others have found it.
func back(name string) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		err := b.core.start(ctx, name)
		for _, s := range services {
			if err == nil {
				err = b.core.ready(ctx, s)
			}
		}
		return err
	}
}

func frozen(name string) func(context.Context, *bench) error {
	return func(_ context.Context, b *bench) error { return b.core.signal(name, syscall.SIGSTOP) }
}

func thawed(name string) func(context.Context, *bench) error {
	return func(_ context.Context, b *bench) error { return b.core.signal(name, syscall.SIGCONT) }
}

func damaged(d load.Damage) func(context.Context, *bench) error {
	return func(_ context.Context, b *bench) error {
		b.hurt = b.damages()
		b.gm.Set(d)
		return nil
	}
}

// damages are all datagrams so far that did not pass as they should.
func (b *bench) damages() uint64 {
	lost, doubled, late := b.gm.Counts()
	return lost + doubled + late
}

// damageTime is how long a datagram may take to be damaged, beyond the time that the
// fault stays: with few phones not many pass.
const damageTime = 30 * time.Second

// afterDamage takes the damage away when there has been some: no fault has come before.
func afterDamage(ctx context.Context, b *bench) error {
	defer b.gm.Set(load.Damage{})
	for end := time.Now().Add(damageTime); b.damages() == b.hurt; pause(ctx, lookEvery) {
		if ctx.Err() != nil || time.Now().After(end) {
			return errors.New("no datagram on Gm was damaged: want more phones, or a higher rate")
		}
	}
	return nil
}

func (b *bench) slow(by time.Duration) {
	for _, w := range b.core.ways {
		w.delay.Store(int64(by))
	}
}

// held are connections that a fault keeps, and what ends its work.
type held struct {
	conns []net.Conn
	end   chan struct{}
	wg    sync.WaitGroup
}

// A service that starves has the processor for fed, and then not for hungry. That is too
// short to be taken for dead, and long beside the wait at which requests are refused.
const (
	fed    = 5 * time.Millisecond
	hungry = 45 * time.Millisecond
)

// starve stops a service again and again.
func (b *bench) starve(name string) error {
	if err := b.core.signal(name, syscall.SIGSTOP); err != nil {
		return err
	}
	end := make(chan struct{})
	b.held.end = end
	b.held.wg.Go(func() {
		for {
			for _, next := range [...]struct {
				after time.Duration
				sig   syscall.Signal
			}{{hungry, syscall.SIGCONT}, {fed, syscall.SIGSTOP}} {
				select {
				case <-end:
					return
				case <-time.After(next.after):
				}
				_ = b.core.signal(name, next.sig) // of one that has ended core.ended tells
			}
		}
	})
	return nil
}

// stalledPause is between requests of a connection that reads nothing: it is to stall,
// not to flood.
const stalledPause = 5 * time.Millisecond

// stall opens connections to the P-CSCF on which requests go out and no answer is read.
// Answers are long, as they hold the request's Via.
func (b *bench) stall(n int) error {
	for i := range n {
		c, err := (&net.Dialer{Control: smallWindow}).Dial("tcp", b.core.gm.String())
		if err != nil {
			return fmt.Errorf("opening a connection that reads nothing: %w", err)
		}
		b.held.conns = append(b.held.conns, c)
		b.held.wg.Go(func() {
			for seq := 1; ; seq++ { // until the connection is closed
				if _, err := c.Write(stalledRequest(c.LocalAddr().String(), b.core.domain, i, seq)); err != nil {
					return
				}
				time.Sleep(stalledPause)
			}
		})
	}
	return nil
}

// smallWindow lets the kernel take little for a reader that does not read.
func smallWindow(_, _ string, c syscall.RawConn) error {
	var err error
	if outer := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) }); outer != nil {
		return outer
	}
	return err
}

func stalledRequest(from, domain string, who, seq int) []byte {
	return fmt.Appendf(nil, "MESSAGE sip:nobody@%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKstall%d.%d;rport;long=%s\r\nMax-Forwards: 70\r\n"+
		"From: <sip:nobody@%s>;tag=%d\r\nTo: <sip:nobody@%s>\r\nCall-ID: stall-%d-%d@%s\r\nCSeq: %d MESSAGE\r\nContent-Length: 0\r\n\r\n",
		domain, from, who, seq, strings.Repeat("x", 12000), domain, who, domain, who, seq, from, seq)
}

// letGo closes what a fault keeps, and ends its work.
func (b *bench) letGo() {
	for _, c := range b.held.conns {
		_ = c.Close()
	}
	if b.held.end != nil {
		close(b.held.end)
	}
	b.held.wg.Wait()
	b.held.conns, b.held.end = nil, nil
}

// exhaust leaves a service two descriptors and opens more connections than that.
func (b *bench) exhaust(name string) error {
	open := descriptors(b.core.pid(name))
	if open < 0 {
		return fmt.Errorf("the descriptors of %s cannot be counted", name)
	}
	was, err := setLimit(b.core.pid(name), limitFiles, uint64(open+2))
	if err != nil {
		return err
	}
	b.files = was
	for range 16 {
		c, err := net.Dial("tcp", b.core.tcp[name].String())
		if err != nil {
			return fmt.Errorf("taking the descriptors of %s: %w", name, err)
		}
		b.held.conns = append(b.held.conns, c)
	}
	return nil
}

func (b *bench) limit(name string, resource int, soft uint64) error {
	_, err := setLimit(b.core.pid(name), resource, soft)
	return err
}

// disk lets files of all services grow to size octets.
func (b *bench) disk(size uint64) error {
	for _, name := range services {
		if err := b.limit(name, limitFileSize, size); err != nil {
			return err
		}
	}
	return nil
}
