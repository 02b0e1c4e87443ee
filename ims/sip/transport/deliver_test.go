package transport

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// callingNet has one packet socket, which calls.
type callingNet struct {
	Net
	conn callingConn
}

func (n *callingNet) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	n.conn.local = local
	return &n.conn, nil
}

type callingConn struct {
	local   netip.AddrPort
	deliver func([]byte, netip.AddrPort)
	wrote   [][]byte
}

func (c *callingConn) Deliver(f func([]byte, netip.AddrPort)) { c.deliver = f }
func (c *callingConn) LocalAddr() net.Addr                    { return net.UDPAddrFromAddrPort(c.local) }
func (c *callingConn) Close() error                           { c.deliver = nil; return nil }
func (c *callingConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	c.wrote = append(c.wrote, b)
	return len(b), nil
}
func (c *callingConn) ReadFrom([]byte) (int, net.Addr, error) { panic("a socket that calls was read") }
func (c *callingConn) SetDeadline(time.Time) error            { return nil }
func (c *callingConn) SetReadDeadline(time.Time) error        { return nil }
func (c *callingConn) SetWriteDeadline(time.Time) error       { return nil }

func TestSocketThatCalls(t *testing.T) {
	n := &callingNet{Net: Kernel()}
	rec := newRecorder()
	tr := New(n, Config{}, rec)
	addr, err := tr.Listen(Listen{Addr: netip.MustParseAddrPort("192.0.2.1:6100"), UDP: true, Role: sip.RoleProtectedServer})
	if err != nil {
		t.Fatal(err)
	}
	remote := netip.MustParseAddrPort("192.0.2.2:6301")
	buf := []byte(message("a", 0))
	n.conn.deliver(buf, remote)
	clear(buf) // the message is a copy
	n.conn.deliver([]byte("\r\n\r\n"), remote)
	got := rec.of("receive")
	want := sip.Flow{Proto: sip.UDP, Role: sip.RoleProtectedServer, Local: addr, Remote: remote}
	if len(got) != 1 || got[0].flow != want || got[0].raw != message("a", 0) {
		t.Errorf("arrived %v, want one message on %v", got, want)
	}
	tr.Send(Outgoing{Flow: want, Data: []byte(message("b", 0))})
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if len(n.conn.wrote) != 1 || n.conn.deliver != nil {
		t.Errorf("wrote %q, still called: %v", n.conn.wrote, n.conn.deliver != nil)
	}
}
