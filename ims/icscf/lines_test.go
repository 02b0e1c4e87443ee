package icscf

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"github.com/gocscf/gocscf/diameter/cx"
)

// Whoever names a user, or calls one from outside, has an answer each time, but no
// line of the log; who has proven who he is, and who is of the trust domain, has.
func TestLinesOfStrangers(t *testing.T) {
	const many, batch, burst = 300, 20, 100
	outside := func(c *Config) { c.Trusted = append(c.Trusted, netip.MustParsePrefix("203.0.113.0/24")) }
	inside := func(c *Config) { c.Trusted = append(c.Trusted, netip.MustParsePrefix("192.0.2.0/24")) }
	register := func(protected string) func(*world, string) {
		return func(w *world, id string) {
			w.p.register(id, fmt.Sprintf("Authorization: Digest username=%q, integrity-protected=%q", private, protected))
		}
	}
	call := func(w *world, id string) { w.p.send(w.p.text("MESSAGE", "sip:alice@"+domain, id)) }
	for _, tt := range []struct {
		name, line, method string
		send               func(*world, string)
		adjust             func(*Config)
		want               int
	}{
		{"in clear", "user authorized", "REGISTER", register("no"), inside, burst},
		{"over an SA set", "user authorized", "REGISTER", register("yes"), inside, many},
		{"called from outside", "user located", "MESSAGE", call, outside, burst},
		{"called from inside", "user located", "MESSAGE", call, inside, many},
		{"called where all are trusted", "user located", "MESSAGE", call, func(*Config) {}, many},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				ask := func(from, count int) {
					for i := range count {
						tt.send(w, fmt.Sprint("c", from+i))
					}
					for range count {
						if tt.method == "REGISTER" {
							w.uar(cx.Registration).named(t, s2)
						} else {
							w.lir("sip:alice@"+domain).named(t, s2)
						}
					}
					for range count {
						w.s2.answer(w.s2.request(tt.method), 403)
					}
					for range count {
						w.p.status(403)
					}
				}
				begin := time.Now()
				for n := 0; n < many; n += batch {
					ask(n, batch)
				}
				if took := time.Since(begin); took >= time.Second {
					t.Fatalf("%d requests took %v, not a second", many, took)
				}
				if lines, _ := w.lines(tt.line); lines != tt.want {
					t.Errorf("%d lines of %d requests, want %d", lines, many, tt.want)
				}
				time.Sleep(time.Second)
				ask(many, 1)
				if lines, left := w.lines(tt.line); lines+left != many+1 {
					t.Errorf("%d lines and %d left out of %d requests", lines, left, many+1)
				}
			}, tt.adjust)
		})
	}
}

// lines counts the lines that begin with text, and those that they say were left out.
func (w *world) lines(text string) (lines, left int) {
	all := w.logs.Filter(func(e observer.LoggedEntry) bool { return strings.HasPrefix(e.Message, text) })
	for _, e := range all.All() {
		if n, ok := e.ContextMap()["lines_left_out"]; ok {
			left += int(n.(int64))
		}
	}
	return all.Len(), left
}
