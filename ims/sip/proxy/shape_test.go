package proxy

import (
	"bytes"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// Shape changes, repeats and loses what is sent; what is lost is sent again when
// its time has come, as if the network had lost it.
func TestShape(t *testing.T) {
	seen := 0 // by the one shard that sends; read when it rests
	shape := func(f sip.Flow, data []byte) [][]byte {
		switch {
		case f.Remote != netip.MustParseAddrPort("192.0.2.20:5060") || !bytes.HasPrefix(data, []byte("MESSAGE")):
			return [][]byte{data}
		case seen == 0:
			seen++
			return nil
		}
		seen++
		short := bytes.Replace(data, []byte("\r\nFrom: "), []byte("\r\nf: "), 1)
		return [][]byte{short, short}
	}
	run(t, handlerFunc(func(x *Exchange) { x.Forward(Target{Hop: hop("192.0.2.20:5060")}) }), func(w *world) {
		a, b := w.peer("a", "192.0.2.10", false), w.peer("b", "192.0.2.20", false)
		defer a.close()
		defer b.close()
		b.repeats = true
		a.send(a.text("MESSAGE", "sip:b@test", "shape"))
		time.Sleep(time.Second)
		synctest.Wait()
		for range 2 {
			m := b.request("MESSAGE")
			if _, name, _ := m.msg.Line(m.msg.Find(sip.HFrom, 0)); name != "f" {
				t.Errorf("From is named %q", name)
			}
		}
		if seen != 2 || len(b.box) != 0 {
			t.Errorf("%d messages shaped and %d more received, want 2 and none: the retransmission, twice", seen, len(b.box))
		}
	}, func(c *Config) { c.Shape = shape })
}
