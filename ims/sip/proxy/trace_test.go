package proxy

import (
	"slices"
	"testing"
	"testing/synctest"
)

// listener is an observer that may be told not to listen.
type listener struct {
	deaf  bool
	heard []string
}

func (l *listener) Listening() bool         { return !l.deaf }
func (l *listener) Decision(_, text string) { l.heard = append(l.heard, text) }

func TestDecisionsAreForListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, handlerFunc(func(x *Exchange) {
			x.Trace("going on")
			x.Forward()
		}))
		l := &listener{}
		r.core.obs, r.core.listener = l, l
		buf := make([]byte, 0, 4096)
		r.forward(buf, "MESSAGE")
		if len(l.heard) != 2 || l.heard[0] != "going on" {
			t.Errorf("heard %q, want what the handler says, and the forwarding", l.heard)
		}
		heard := slices.Clone(l.heard)
		l.deaf = true
		r.forward(buf, "MESSAGE")
		if !slices.Equal(l.heard, heard) {
			t.Errorf("heard %q without listening", l.heard[len(heard):])
		}
	})
}
