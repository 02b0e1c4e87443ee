package transaction

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReceiveNow: a message for a shard that rests is handled before ReceiveNow returns,
// with what its handler posts; for one that does not it waits its turn.
func TestReceiveNow(t *testing.T) {
	bubble(t, Config{Shards: 1}, func(r *rig) {
		synctest.Wait()
		r.tu.request = func(s *Server) {
			if s.Req.Method() == "MESSAGE" {
				s.Shard.Post(func() { r.tu.note("posted") })
				r.l.ReceiveNow(udp, request("OPTIONS", "2", ""), 0, 0)
				r.tu.note("message done")
			}
			answer(s, 200)
		}
		r.l.ReceiveNow(udp, request("MESSAGE", "1", ""), 0, 0)
		r.want("at once", r.tu.take(), "request MESSAGE, message done, posted, request OPTIONS")
		r.want("sent", lines(r.wire.take()), "200 MESSAGE, 200 OPTIONS")
		r.l.ReceiveNow(udp, request("MESSAGE", "1", ""), 0, 0)
		r.want("sent again", lines(r.wire.take()), "200 MESSAGE")

		r.on(func(sh *Shard) { sh.Client(r.tu.client(udp, "MESSAGE", "3")) })
		r.l.ReceiveNow(udp, response(200, "MESSAGE", "3"), 0, 0)
		r.want("of a response", r.tu.take(), "200 MESSAGE")
	})
}

// Of many shards only the last message's is run by the reader.
func TestReceiveNowOfSeveral(t *testing.T) {
	bubble(t, Config{Shards: 4}, func(r *rig) {
		synctest.Wait()
		r.tu.request = func(s *Server) { answer(s, 200) }
		r.l.ReceiveNow(udp, request("MESSAGE", "1", ""), 0, 1)
		r.l.ReceiveNow(udp, request("OPTIONS", "2", ""), 0, 0)
		synctest.Wait()
		r.want("in order", r.tu.take(), "request MESSAGE, request OPTIONS")
	})
}

// More than a few functions that a message posts are left to the shard's own goroutine,
// and its timers fire though others run it.
func TestReceiveNowLeavesTheRest(t *testing.T) {
	bubble(t, Config{Shards: 1}, func(r *rig) {
		synctest.Wait()
		ran := 0
		r.tu.request = func(s *Server) {
			for range 3 * fewPosts {
				s.Shard.Post(func() { ran++ })
			}
			s.Shard.After(1e9, func() { r.tu.note("a second later") })
			answer(s, 200)
		}
		for i := range 3 {
			r.l.ReceiveNow(udp, request("MESSAGE", fmt.Sprint(i), ""), 0, 0)
		}
		synctest.Wait()
		if ran != 9*fewPosts {
			r.Errorf("%d functions were run", ran)
		}
		r.tu.take()
		r.sleepTo(1e9)
		r.want("timers", r.tu.take(), "a second later, a second later, a second later")
	})
}

// A few functions that a message posts are run by who has read it, and what they have set
// fires; more are not.
func TestReceiveNowRunsAFew(t *testing.T) {
	for posts, reader := range map[int]bool{1: true, fewPosts: true, fewPosts + 1: false} {
		bubble(t, Config{Shards: 1}, func(r *rig) {
			synctest.Wait()
			r.tu.request = func(s *Server) {
				for range posts {
					s.Shard.Post(func() {
						if by := bytes.Contains(debug.Stack(), []byte(".runNow(")); by != reader {
							r.Errorf("of %d functions one is run by the reader: %v", posts, by)
						}
						s.Shard.After(time.Second, func() { r.tu.note("timer") })
					})
				}
				answer(s, 200)
			}
			r.l.ReceiveNow(udp, request("MESSAGE", "1", ""), 0, 0)
			synctest.Wait()
			r.want("log", r.tu.take(), "request MESSAGE")
			r.sleepTo(time.Second)
			r.want("a second later", r.tu.take(), strings.TrimSuffix(strings.Repeat("timer, ", posts), ", "))
		})
	}
}

// Close waits for whoever runs a shard.
func TestCloseWaitsForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := make(chan struct{}), make(chan struct{})
		u := &tu{request: func(*Server) { close(in); <-out }}
		l := New(Config{Shards: 1, Sender: &wire{}, User: u})
		done := false
		go l.ReceiveNow(udp, request("MESSAGE", "1", ""), 0, 0)
		<-in
		go func() {
			l.Close()
			done = true
		}()
		synctest.Wait()
		if done {
			t.Error("closed while a callback runs")
		}
		close(out)
		synctest.Wait()
		if !done {
			t.Error("not closed behind it")
		}
		l.ReceiveNow(udp, request("MESSAGE", "2", ""), 0, 0)
		if got := u.take(); got != "request MESSAGE" {
			t.Error(got)
		}
		l.shards[0].PostNow(func() { t.Error("a function is run behind Close") }, false)
	})
}

// TestPostNow: a function runs where it is posted, if the shard rests, else in its turn;
// with several shards only the last one.
func TestPostNow(t *testing.T) {
	for _, shards := range []int{1, 4} {
		bubble(t, Config{Shards: shards}, func(r *rig) {
			synctest.Wait()
			sh := r.l.Shard("call")
			sh.PostNow(func() {
				sh.PostNow(func() { r.tu.note("within") }, false)
				r.tu.note("first")
			}, false)
			r.want("at once", r.tu.take(), "first, within")
			sh.PostNow(func() { r.tu.note("second") }, true)
			if want := map[bool]string{true: "second"}[shards == 1]; r.tu.take() != want {
				r.Errorf("%d shards: not %q with more to come", shards, want)
			}
			synctest.Wait()
			r.tu.take()
			sh.Post(func() { r.tu.note("third") })
			sh.PostNow(func() { r.tu.note("fourth") }, false) // never before what waits
			synctest.Wait()
			r.want("in order", r.tu.take(), "third, fourth")
		})
	}
}
