package pcscf

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"
)

// Strangers have answers to as many REGISTERs as they like, but not as many lines of
// the log; what was left out is counted, and who registers has all of his.
func TestLinesOfStrangers(t *testing.T) {
	const many, least, most = 1000, 100, 110
	for _, status := range []int{401, 403, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			run(t, func(w *world) {
				p, alice := w.peer("mallory", "198.51.100.9:5060"), w.peer("alice", "198.51.100.1:5060")
				ask := func(n int) {
					p.send(gmAddr, p.text("REGISTER", "sip:"+domain, fmt.Sprint("r", n), fmt.Sprintf("To: <sip:99999%010d@%s>", n, domain)))
				}
				begin := time.Now()
				for n := 0; n < many; n += 50 {
					for i := range 50 {
						ask(n + i)
					}
					for range 50 {
						w.icscf.answer(w.icscf.request("REGISTER"), status)
					}
					for range 50 {
						p.status(status)
					}
				}
				if took := time.Since(begin); took >= time.Second {
					t.Fatalf("%d REGISTERs took %v, not a second", many, took)
				}
				alice.register()
				lines, left := w.answers(status)
				if lines < least || lines > most || left != 0 {
					t.Errorf("%d lines of %d REGISTERs, %d left out; want %d to %d", lines, many, left, least, most)
				}
				time.Sleep(time.Second)
				ask(many)
				w.icscf.answer(w.icscf.request("REGISTER"), status)
				p.status(status)
				if lines, left = w.answers(status); lines+left != many+1 {
					t.Errorf("%d lines and %d left out of %d REGISTERs", lines, left, many+1)
				}
				if lines, left = w.answers(200); lines != 1 || left != 0 {
					t.Errorf("%d lines of one who registers, %d left out", lines, left)
				}
			})
		})
	}
}

// A phone that registers again and again has a line for each time.
func TestLinesOfPhones(t *testing.T) {
	const many = 300
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		begin := time.Now()
		for n := 0; n < many; n += 50 {
			for i := range 50 {
				p.send(gmAddr, p.text("REGISTER", "sip:"+domain, fmt.Sprint("r", n+i), "To: <sip:alice@"+domain+">", p.authorization()))
			}
			for range 50 {
				w.icscf.answer(w.icscf.request("REGISTER"), 200, p.granted()...)
			}
			for range 50 {
				p.status(200)
			}
		}
		if took := time.Since(begin); took >= time.Second {
			t.Fatalf("%d REGISTERs took %v, not a second", many, took)
		}
		if lines, left := w.answers(200); lines != many || left != 0 {
			t.Errorf("%d lines of %d REGISTERs, %d left out", lines, many, left)
		}
	})
}

// answers counts the lines that tell of a REGISTER's answer with a status, and those
// that they say were left out.
func (w *world) answers(status int) (lines, left int) {
	all := w.logs.Filter(func(e observer.LoggedEntry) bool {
		return e.Message == "register answered" && e.ContextMap()["status"] == int64(status)
	})
	for _, e := range all.All() {
		if n, ok := e.ContextMap()["lines_left_out"]; ok {
			left += int(n.(int64))
		}
	}
	return all.Len(), left
}
