package diameter

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestEveryCallbackIsCalledOnceUnderChurn sends from many goroutines while
// connections break, peers answer late or never, and in the end the node closes.
func TestEveryCallbackIsCalledOnceUnderChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		for _, host := range []string{"hss1", "hss2"} {
			server(t, mem, host+".example.net", host+":3868", func(r *Request) {
				switch rand.N(10) {
				case 0: // never
				case 1, 2:
					time.AfterFunc(rand.N(3*time.Second), func() { _ = r.Answer(r.NewAnswer(Base(Success))) })
				case 3:
					_ = r.Answer(r.NewAnswer(Base(TooBusy)))
				default:
					_ = r.Answer(r.NewAnswer(Base(Success)))
				}
			})
		}
		var mu sync.Mutex
		var open []net.Conn
		n := client(t, mem, func(c *Config) {
			c.ReconnectMax = time.Second
			c.Dialer = dialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := mem.DialContext(ctx, network, addr)
				if err == nil {
					mu.Lock()
					open = append(open, nc)
					mu.Unlock()
				}
				return nc, err
			})
		}, "hss1:3868", "hss2:3868")
		ready(t, n)

		const senders, each = 8, 250
		var calls [senders * each]atomic.Int32
		var good atomic.Int32
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					k := s*each + i
					n.Do(time.Now().Add(2*time.Second), testRequest(n, "a"), func(a *Answer, err error) {
						calls[k].Add(1)
						if err == nil {
							good.Add(1)
						}
						if a == nil && err == nil {
							t.Error("neither an answer nor an error")
						}
					})
					pass(rand.N(100 * time.Millisecond))
				}
			})
		}
		wg.Go(func() {
			for range 60 {
				pass(rand.N(400 * time.Millisecond))
				mu.Lock()
				open[rand.N(len(open))].Close()
				mu.Unlock()
			}
		})
		wg.Wait()
		// A last lot is under way when the node closes.
		var late [50]atomic.Int32
		for i := range late {
			n.Do(time.Time{}, testRequest(n, "a"), func(*Answer, error) { late[i].Add(1) })
		}
		closeNode(t, n)
		synctest.Wait()
		for i := range late {
			if c := late[i].Load(); c != 1 {
				t.Errorf("late callback %d was called %d times", i, c)
			}
		}
		for i := range calls {
			if c := calls[i].Load(); c != 1 {
				t.Errorf("callback %d was called %d times", i, c)
			}
		}
		if g := good.Load(); g < senders*each/2 {
			t.Errorf("only %d of %d requests succeeded", g, senders*each)
		}
	})
}
