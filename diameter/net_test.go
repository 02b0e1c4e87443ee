package diameter

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// testXML is a small application of vendor 10415, so that the peer layer is
// tested without Cx.
const testXML = `<diameter>
  <application id="16777999" type="auth" name="Test">
    <vendor id="10415" name="TGPP"/>
    <command code="900" short="TE" name="Test">
      <request>
        <rule avp="Session-Id" required="true" max="1"/>
        <rule avp="Test-Name" required="true" max="1"/>
        <rule avp="Test-Group" max="2"/>
      </request>
      <answer/>
    </command>
    <avp name="Test-Name" code="9001" vendor-id="10415" must="M"><data type="UTF8String"/></avp>
    <avp name="Test-Number" code="9002" vendor-id="10415" must="M"><data type="Unsigned32"/></avp>
    <avp name="Test-Group" code="9003" vendor-id="10415" must="M">
      <data type="Grouped"><rule avp="Test-Number" required="true" max="1"/></data>
    </avp>
    <avp name="Test-Address" code="9004" vendor-id="10415"><data type="Address"/></avp>
  </application>
</diameter>`

const (
	testApp     uint32 = 16777999
	testCommand uint32 = 900
	testName    uint32 = 9001
	testNumber  uint32 = 9002
	testGroup   uint32 = 9003
)

var testDictionary = func() *Dictionary {
	d, err := NewDictionary(testXML)
	if err != nil {
		panic(err)
	}
	return d
}()

// memNet is a network of net.Pipe connections by address.
type memNet struct {
	mu        sync.Mutex
	listeners map[string]*memListener
}

type memListener struct {
	net  *memNet
	addr memAddr
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

type memAddr string

func (a memAddr) Network() string { return "mem" }
func (a memAddr) String() string  { return string(a) }

func newMemNet() *memNet { return &memNet{listeners: make(map[string]*memListener)} }

func (n *memNet) listen(addr string) *memListener {
	l := &memListener{net: n, addr: memAddr(addr), ch: make(chan net.Conn), done: make(chan struct{})}
	n.mu.Lock()
	n.listeners[addr] = l
	n.mu.Unlock()
	return l
}

func (n *memNet) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	a, b := net.Pipe()
	select {
	case l.ch <- b:
		return a, nil
	case <-l.done:
	case <-ctx.Done():
	}
	a.Close()
	b.Close()
	return nil, errors.New("connection refused")
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ch:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.net.mu.Lock()
		if l.net.listeners[string(l.addr)] == l {
			delete(l.net.listeners, string(l.addr))
		}
		l.net.mu.Unlock()
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

func testConfig(host string) Config {
	return Config{
		OriginHost: host, OriginRealm: "example.net", Dictionary: testDictionary,
		Applications:  []Application{{ID: testApp, Vendor: Vendor3GPP, Stateless: true}},
		AcceptUnknown: true,
	}
}

func newNode(t testing.TB, cfg Config) *Node {
	t.Helper()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, n) })
	return n
}

func closeNode(t testing.TB, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("close %s: %v", n.OriginHost(), err)
	}
}

// server starts a node at addr that answers with 2001 and counts requests.
func server(t testing.TB, mem *memNet, host, addr string, handler Handler) *Node {
	t.Helper()
	cfg := testConfig(host)
	cfg.Handler = handler
	if handler == nil {
		cfg.Handler = func(r *Request) { _ = r.Answer(r.NewAnswer(Base(Success))) }
	}
	n := newNode(t, cfg)
	if err := n.Listen(mem.listen(addr)); err != nil {
		t.Fatal(err)
	}
	return n
}

// client starts a node that dials the addresses, in order of preference.
func client(t testing.TB, mem *memNet, change func(*Config), addrs ...string) *Node {
	t.Helper()
	cfg := testConfig("client.example.net")
	cfg.Dialer = mem
	for _, a := range addrs {
		cfg.Peers = append(cfg.Peers, PeerConfig{Address: a})
	}
	if change != nil {
		change(&cfg)
	}
	n := newNode(t, cfg)
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	return n
}

func ready(t testing.TB, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.WaitReady(ctx, testApp); err != nil {
		t.Fatal(err)
	}
}

func testRequest(n *Node, name string) *Message {
	m := n.NewRequest(testApp, testCommand)
	m.Add(testDictionary.Named(testApp, "Test-Name").New(datatype.UTF8String(name)))
	return m
}

type dialerFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func (f dialerFunc) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}
