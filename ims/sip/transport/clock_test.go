package transport

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// deadlineConn keeps the deadline that it is given.
type deadlineConn struct {
	net.Conn
	at time.Time
}

func (c *deadlineConn) SetReadDeadline(at time.Time) error { c.at = at; return nil }

// TestSomebodySetsTheClock: how long a connection rests is measured by the monotonic
// clock. A wall clock that jumps ahead ends none, one that jumps back keeps none.
func TestSomebodySetsTheClock(t *testing.T) {
	tr := New(nil, Config{}, nil)
	defer tr.cancel()
	c := tr.newConn(sip.Flow{Proto: sip.TCP, Role: sip.RoleCore}, false, false)
	c.touch()
	nc := &deadlineConn{}
	c.restDeadline(nc)
	if left := time.Until(nc.at); left <= 0 || left > tr.cfg.idle(sip.RoleCore) {
		t.Errorf("it is looked at in %v, want within %v", left, tr.cfg.idle(sip.RoleCore))
	}
	for what, at := range map[string]time.Time{"its last traffic": c.lastUsed(), "its deadline": nc.at} {
		if !strings.Contains(at.String(), " m=") { // as time.Time.String shows a monotonic reading
			t.Errorf("%s, %v, is a time of the wall clock alone", what, at)
		}
	}
	if c.rested() {
		t.Error("it has rested for long already")
	}
}
