package diameter

import (
	"testing"
	"testing/synctest"
	"time"
)

// testWatchdog follows RFC 3539 3.4.1: quiet for Tw, DWR; no answer for Tw,
// Suspect; nothing for another Tw, closed.
func testWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		l := mem.listen("hss:3868")
		var seen states
		n := client(t, mem, func(c *Config) { c.Observer = &seen }, "hss:3868")
		p := acceptRaw(t, l)
		p.accept("hss.example.net")
		ready(t, n)
		last := time.Now()
		for range 20 {
			m := p.read()
			if m.Command != DeviceWatchdog || !m.IsRequest() {
				t.Fatalf("instead of a DWR: %v", m)
			}
			if d := time.Since(last); d < 28*time.Second || d > 32*time.Second {
				t.Errorf("DWR after %v", d)
			}
			p.replyResult(m, "hss.example.net", Success)
			last = time.Now()
		}
		p.read() // one more DWR, never answered
		silent := time.Now()
		synctest.Wait()
		if seen.has("hss.example.net suspect") {
			t.Error("suspect before Tw is over")
		}
		pass(33 * time.Second)
		synctest.Wait()
		if !seen.has("hss.example.net suspect") || seen.has("hss.example.net down") {
			t.Errorf("%v after the DWR: %v", time.Since(silent), seen.all)
		}
		// A late answer brings it back.
		p.replyResult(baseMessage(DeviceWatchdog, true), "hss.example.net", Success)
		synctest.Wait()
		if s := n.Peers()[0].State; s != Okay {
			t.Errorf("state %v after a late DWA", s)
		}
		p.read()
		silent = time.Now()
		p.expectClosed(70 * time.Second)
		if d := time.Since(silent); d < 56*time.Second || d > 64*time.Second {
			t.Errorf("closed %v after the DWR, want twice Tw", d)
		}
	})
}

func TestTrafficKeepsTheWatchdogQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		l := mem.listen("hss:3868")
		n := client(t, mem, nil, "hss:3868")
		p := acceptRaw(t, l)
		p.accept("hss.example.net")
		ready(t, n)
		for range 10 {
			ch := do(n, time.Minute, testRequest(n, "a"))
			m := p.read()
			if m.Command != testCommand {
				t.Fatalf("instead of the request: %v", m)
			}
			p.replyResult(m, "hss.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Fatal(r.err)
			}
			pass(20 * time.Second)
		}
	})
}
