package load

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

const (
	batch       = 64
	maxDatagram = 16 << 10 // more than any core sends a phone over UDP
	socketRoom  = 8 << 20  // asked for; the system may give less
)

// socket is the one that all phones share. It is bound to no address: the kernel tells
// to which one a datagram came, and is told from which one to send (IP_PKTINFO).
type socket struct {
	conn *net.UDPConn
	mmsg *ipv4.PacketConn
	port uint16

	in      []ipv4.Message // one reader's
	control ipv4.ControlMessage

	out   []ipv4.Message // guarded by the engine
	to    []net.UDPAddr  // what out[i].Addr points to
	queue int            // how many of out wait

	gm *Impairment
}

func listen(port uint16) (*socket, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
	if err != nil {
		return nil, fmt.Errorf("opening the phones' socket: %w", err)
	}
	// Many phones' answers may wait here at once. Where the system gives less, drops
	// show in the report.
	_, _ = c.SetReadBuffer(socketRoom), c.SetWriteBuffer(socketRoom)
	s := &socket{conn: c, mmsg: ipv4.NewPacketConn(c), port: c.LocalAddr().(*net.UDPAddr).AddrPort().Port()}
	if err := s.mmsg.SetControlMessage(ipv4.FlagDst, true); err != nil {
		return nil, fmt.Errorf("asking for the address that a datagram came to: %w", err)
	}
	s.in, s.out, s.to = make([]ipv4.Message, batch), make([]ipv4.Message, batch), make([]net.UDPAddr, batch)
	for i := range batch {
		s.in[i].Buffers = [][]byte{make([]byte, maxDatagram)}
		s.in[i].OOB = ipv4.NewControlMessage(ipv4.FlagDst)
		s.out[i].Buffers = [][]byte{nil}
		s.out[i].Addr = &s.to[i]
	}
	return s, nil
}

// read waits for datagrams and gives each with the addresses it came from and to. The
// octets are good until the next call.
func (s *socket) read(each func(b []byte, from netip.AddrPort, to netip.Addr)) error {
	n, err := s.mmsg.ReadBatch(s.in, 0)
	if err != nil {
		return err
	}
	for i := range s.in[:n] {
		m := &s.in[i]
		from, ok := m.Addr.(*net.UDPAddr)
		if !ok || s.control.Parse(m.OOB[:m.NN]) != nil {
			continue
		}
		to, ok := netip.AddrFromSlice(s.control.Dst)
		if ok {
			each(m.Buffers[0][:m.N], from.AddrPort(), to.Unmap())
		}
	}
	return nil
}

// begin gives the buffer of the next datagram; send sends what was appended to it.
func (s *socket) begin() []byte {
	if s.queue == len(s.out) {
		s.flush()
	}
	return s.out[s.queue].Buffers[0][:0]
}

func (s *socket) send(b, control []byte, to netip.AddrPort) {
	if !s.gm.pass(b, func(b []byte) { _, _, _ = s.conn.WriteMsgUDPAddrPort(b, control, to) }) {
		return
	}
	m := &s.out[s.queue]
	m.Buffers[0], m.OOB = b, control
	a := to.Addr().As4()
	s.to[s.queue].IP, s.to[s.queue].Port = append(s.to[s.queue].IP[:0], a[:]...), int(to.Port())
	s.queue++
}

// flush sends what waits. What cannot be sent counts as lost on the way: the sender's
// timers see to it.
func (s *socket) flush() {
	for done := 0; done < s.queue; {
		n, err := s.mmsg.WriteBatch(s.out[done:s.queue], 0)
		if err != nil {
			n = max(n, 0) + 1 // that one is refused, as where nobody listens
		}
		done += n
	}
	s.queue = 0
}

// control is what makes a datagram leave from an address.
func controlFrom(a netip.Addr) []byte {
	src := a.As4()
	cm := ipv4.ControlMessage{Src: src[:]}
	return cm.Marshal()
}
