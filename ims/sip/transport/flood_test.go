package transport

import (
	"net"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// A socket whose datagrams come as fast as they are read is closed all the same.
func TestCloseInAFlood(t *testing.T) {
	e := newEnd(t, Kernel(), "127.0.0.1:0", sip.RoleGm, Config{})
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(e.addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Each that is read brings another, so that there are always as many.
	const always = 4 * readBatch
	flood := []byte(message("flood", 0))
	e.onArrival(func(string, sip.Flow, string) { _, _ = c.Write(flood) })
	for range always {
		if _, err := c.Write(flood); err != nil {
			t.Fatal(err)
		}
	}
	e.await(t, "the flood to last", func() bool { return len(e.received()) > 20*always })
	closed := make(chan struct{})
	go func() {
		_ = e.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("not closed within 10 s: the reader does not look up from the flood")
		e.onArrival(nil)
		<-closed
	}
}
