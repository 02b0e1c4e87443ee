package esp

import (
	"errors"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// maxPacket is the longest packet of a UDP carrier, and less than IP has room for.
const maxPacket = math.MaxUint16 - ipv4HeaderLen - udpHeaderLen

// rawPatience is how long a peer may keep silent after the first packet that went
// as IP protocol 50 to it; then UDP is tried beside.
const rawPatience = time.Second

// packets are buffers to build packets in, of 2 KiB, which nearly all fit into, and of
// the longest that there are: when the connections of thousands of phones that have
// left are tried once more, as many goroutines have one each.
var packets = [...]*sync.Pool{newPackets(shortPacket), newPackets(math.MaxUint16)}

const shortPacket = 2 << 10

func newPackets(size int) *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}
}

// packetsFor returns the pool whose buffers have room for n octets.
func packetsFor(n int) *sync.Pool {
	if n <= shortPacket {
		return packets[0]
	}
	return packets[1]
}

// SendUDP protects and sends a datagram. It is [ErrNoSA] where no set is between
// the two. payload is the caller's again when it returns.
func (e *Engine) SendUDP(local, remote netip.AddrPort, payload []byte) error {
	var header [udpHeaderLen]byte
	return e.send(local, remote, protoUDP, [...][]byte{header[:], payload})
}

// SendTCP protects and sends a TCP segment: its header, with the checksum in
// place, and its payload. They are the caller's again when it returns.
func (e *Engine) SendTCP(local, remote netip.AddrPort, header, payload []byte) error {
	return e.send(local, remote, protoTCP, [...][]byte{header, payload})
}

func (e *Engine) send(local, remote netip.AddrPort, proto uint8, parts [2][]byte) error {
	sa := e.out.get(endpoints{local, remote})
	if sa == nil {
		return ErrNoSA
	}
	a := sa.of
	n := len(parts[0]) + len(parts[1])
	inner := 0
	if a.set.Mode == ipsec.UDPTunnel {
		inner = ipHeaderLen(local.Addr())
	}
	size := a.transform.Size(inner + n)
	if size > maxPacket {
		return ErrTooLong
	}
	seq := sa.seq.Add(1)
	if seq > math.MaxUint32 { // RFC 4303 3.3.3: it never cycles
		a.dead.Store(true)
	}
	if a.dead.Load() {
		e.dropped(Drop{Reason: Exhausted, SPI: sa.spi(), Set: a.set})
		return ErrExhausted
	}

	pool := packetsFor(size)
	buf := pool.Get().(*[]byte)
	defer pool.Put(buf)
	next := proto
	at := (*buf)[a.transform.Head():]
	if inner > 0 {
		next = protoIPv6
		if local.Addr().Is4() {
			next = protoIPv4
		}
		putIPHeader(at, local.Addr(), remote.Addr(), proto, n)
	}
	segment := at[inner : inner+n]
	copy(segment[copy(segment, parts[0]):], parts[1])
	if proto == protoUDP {
		putUDPHeader(segment, local, remote)
	}
	packet := a.transform.Seal(*buf, inner+n, next, sa.spi(), uint32(seq))
	now := time.Now()
	if err := e.transmit(a, packet, now); err != nil {
		e.dropped(Drop{Reason: SendFailed, SPI: sa.spi(), Set: a.set, Err: err})
		return err
	}
	sa.good(len(packet), e.since(now))
	return nil
}

// transmit sends a packet by the way the peer was heard last, and before that by
// what is likely.
func (e *Engine) transmit(a *association, packet []byte, now time.Time) error {
	if p := a.path.Load(); p != nil {
		return p.Carrier.Send(packet, a.set.Local.Addr, p.Outer)
	}
	first := a.firstSent.Load()
	if first == 0 {
		first = e.since(now)
		a.firstSent.CompareAndSwap(0, first)
	}
	ip, udp := e.guess(a)
	if ip.Carrier == nil && udp.Carrier == nil {
		return ErrNoPath
	}
	var errIP, errUDP error
	if ip.Carrier != nil {
		errIP = ip.Carrier.Send(packet, a.set.Local.Addr, ip.Outer)
		if udp.Carrier == nil || errIP == nil && e.since(now)-first < int64(rawPatience) {
			return errIP
		}
	}
	errUDP = udp.Carrier.Send(packet, a.set.Local.Addr, udp.Outer)
	if ip.Carrier != nil && errIP == nil || errUDP == nil {
		return nil
	}
	return errors.Join(errIP, errUDP)
}

// guess says where a peer may be that was not heard yet: with IP as its carrier,
// with UDP, or both.
func (e *Engine) guess(a *association) (ip, udp Path) {
	s := a.set
	outer := s.Outer
	if !outer.IsValid() {
		outer = netip.AddrPortFrom(s.Remote.Addr, 0)
	}
	if outer.Port() == 0 {
		outer = netip.AddrPortFrom(outer.Addr(), e.cfg.PeerUDPPort)
	}
	wantIP := s.Mode == ipsec.Transport && !s.Outer.IsValid()
	for _, c := range *e.carriers.Load() {
		switch {
		case c.Kind() == IP && wantIP && ip.Carrier == nil && reaches(c, s.Local.Addr, s.Remote.Addr):
			ip = Path{c, netip.AddrPortFrom(s.Remote.Addr, 0)}
		case c.Kind() == UDP && serves(c, outer.Addr()) && (udp.Carrier == nil || c.Local().Addr() == s.Local.Addr):
			udp = Path{c, outer}
		}
	}
	return ip, udp
}

// reaches reports whether an IP carrier can send from local to remote.
func reaches(c Carrier, local, remote netip.Addr) bool {
	l := c.Local().Addr()
	return serves(c, remote) && (!l.IsValid() || l.IsUnspecified() || l == local)
}
