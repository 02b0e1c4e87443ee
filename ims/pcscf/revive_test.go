package pcscf

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A further 2xx, of a fork, belongs to him who has called, wherever he is by then.
func TestALateForkIsTheCallers(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		const contact = "sip:alice@198.51.100.1:5060;transport=tcp"
		p.listen()
		conn := p.dial(40000, gmAddr)
		p.registerOver(conn, contact)
		write(t, conn, p.text("INVITE", "sip:bob@"+domain, "c1"))
		c := &call{p: p, callID: "c1", target: "sip:bob@192.0.2.88", invite: w.scscf.request("INVITE")}
		c.ring(200, "far")
		p.registerOver(p.dial(40001, gmAddr), contact)
		c.ring(200, "fork")
		if n := w.dialogsKept(); n != 2 {
			t.Errorf("one who has registered anew over another connection has %d dialogs, want that of the fork too", n)
		}
	})
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		c := newCall(p, "c1")
		time.Sleep(5 * time.Second)
		p.name = "carol"
		p.register()
		c.ring(200, "fork")
		for impi, list := range w.p.dialogs.byUser {
			if len(list) > 0 && !strings.HasPrefix(impi, "alice@") {
				t.Errorf("%s, who has not called, has the dialog %v", impi, list[0].key)
			}
		}
	})
}

// A connection that has ended is not a phone's again because something comes that
// belongs to a request over it.
func TestALateForkOpensNoConnection(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.listen()
		p.register()
		conn := p.dial(5060, gmAddr)
		write(t, conn, p.text("INVITE", "sip:bob@"+domain, "c1"))
		c := &call{p: p, callID: "c1", target: "sip:bob@192.0.2.88", invite: w.scscf.request("INVITE")}
		c.ring(200, "far")
		_ = conn.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		c.ring(200, "fork")
		for _, list := range w.p.bindings.byIMPI {
			for b := range list.all {
				if f := b.stream.Load(); f != nil {
					t.Errorf("the phone's connection is %v, which has ended", *f)
				}
			}
		}
	})
}
