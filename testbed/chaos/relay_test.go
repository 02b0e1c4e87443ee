package chaos

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// frame is a message as far as a relay looks at it.
func frame(text string) []byte {
	b := make([]byte, 20, 20+len(text))
	binary.BigEndian.PutUint32(b, 1<<24|uint32(20+len(text)))
	return append(b, text...)
}

// TestRelay: a front end of an HSS has a name of its own, and its peers too; requests
// and answers meet again, and when it dies connections end on both sides.
func TestRelay(t *testing.T) {
	hss, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hss.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	_ = free.Close()
	r := newRelay(at, hss.Addr().String(), "ims.test", 'x')
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	defer r.cut()
	peer, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	behind, err := hss.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	for _, c := range []net.Conn{peer, behind} {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	for _, tt := range []struct {
		from, to    net.Conn
		sent, comes string
	}{
		{peer, behind, "scscf.ims.test;1 to xss.ims.test in ims.test", "scscx.ims.test;1 to hss.ims.test in ims.test"},
		{behind, peer, "scscx.ims.test;1 from hss.ims.test", "scscf.ims.test;1 from xss.ims.test"},
	} {
		b := frame(tt.sent)
		for _, part := range [][]byte{b[:3], b[3:30], b[30:]} { // as TCP may bring it
			if _, err := tt.from.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, len(b))
		if _, err := io.ReadFull(tt.to, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, frame(tt.comes)) {
			t.Errorf("%q has become %q", tt.sent, got[20:])
		}
	}
	r.cut()
	for _, c := range []net.Conn{peer, behind} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection has outlived the front end")
		}
	}
	if c, err := net.Dial("tcp", at); err == nil {
		_ = c.Close()
		t.Error("a front end that is dead takes a connection")
	}
}
