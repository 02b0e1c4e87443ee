package transport

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
)

// perConnection is how many octets of the heap a connection of the kernel may take at
// rest, with the other end of it in this process. It was 6800 while it kept its buffer.
const perConnection = 4000

// A connection at rest has no buffer.
func TestAConnectionAtRestIsSmall(t *testing.T) {
	tr := New(Kernel(), Config{}, answering{})
	tr.handler = answering{tr}
	t.Cleanup(func() { _ = tr.Close() })
	addr, err := tr.Listen(Listen{Addr: netip.MustParseAddrPort("127.0.0.1:0"), TCP: true, Role: sip.RoleGm})
	if err != nil {
		t.Fatal(err)
	}
	connect := func(count int) {
		for range count {
			c, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			for range 2 {
				write(t, c, message("a", 1000))
				if _, err := io.ReadFull(c, make([]byte, len(answer))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	held := func() int {
		var m runtime.MemStats
		for range 2 { // the first leaves what pools have
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	connect(50)
	before := held()
	const count = 300
	connect(count)
	each := (held() - before) / count
	t.Logf("%d octets for each connection", each)
	if each > perConnection {
		t.Errorf("a connection at rest takes %d octets of the heap, want at most %d", each, perConnection)
	}
}

const answer = "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"

// answering is a Handler.
type answering struct{ tr *Transport }

func (h answering) Receive(f sip.Flow, _ string)    { h.tr.Send(Outgoing{Flow: f, Data: []byte(answer)}) }
func (answering) Malformed(sip.Flow, string, error) {}
func (answering) Closed(sip.Flow)                   {}
