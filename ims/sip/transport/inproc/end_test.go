package inproc

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
)

// A peer that takes no more, because it cannot frame what came, closes while the other
// end still writes: that is told as on the network, and without a race.
func TestWriteToWhoHasEnough(t *testing.T) {
	near, far := newPair(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"))
	bad := errors.New("not SIP")
	ended := make(chan error)
	go func() { ended <- far.DeliverStream(func([]byte) error { return bad }) }()
	if n, err := near.Write([]byte("x")); n != 1 || err != nil {
		t.Errorf("the first write: %d, %v", n, err)
	}
	if err := <-ended; err != bad {
		t.Errorf("the peer's reading ended with %v", err)
	}
	closed := make(chan struct{})
	go func() {
		_ = far.Close()
		close(closed)
	}()
	if n, err := near.Write([]byte("y")); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("another write: %d, %v", n, err)
	}
	<-closed
}
