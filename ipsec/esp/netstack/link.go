package netstack

import (
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/gocscf/gocscf/ipsec/esp"
)

// link is gVisor's network interface: what it sends is protected and leaves, what
// was decrypted goes in.
type link struct {
	engine *esp.Engine
	mtu    uint32

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
}

var _ stack.LinkEndpoint = (*link)(nil)

// WritePackets sends TCP segments. What has no association, or is no TCP, is
// dropped: a retransmission may find one.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for _, p := range pkts.AsSlice() {
		v := p.ToView()
		l.send(v.AsSlice())
		v.Release()
	}
	return pkts.Len(), nil
}

func (l *link) send(b []byte) {
	if header.IPVersion(b) != header.IPv6Version || header.IPv6(b).NextHeader() != uint8(header.TCPProtocolNumber) {
		return // ICMPv6 of gVisor's own: there is no link to discover
	}
	src, dst := outer([16]byte(b[8:])), outer([16]byte(b[24:]))
	b = b[header.IPv6MinimumSize:]
	h := header.TCP(b)
	_ = l.engine.SendTCP(netip.AddrPortFrom(src, h.SourcePort()), netip.AddrPortFrom(dst, h.DestinationPort()), b, nil)
}

// inject gives gVisor a segment, which it copies, as an IP packet.
func (l *link) inject(local, remote netip.Addr, segment []byte) {
	l.mu.RLock()
	d := l.dispatcher
	l.mu.RUnlock()
	if d == nil {
		return
	}
	v := buffer.NewViewSize(header.IPv6MinimumSize + len(segment))
	h := header.IPv6(v.AsSlice())
	h.Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(segment)), TransportProtocol: header.TCPProtocolNumber, HopLimit: 64, SrcAddr: inner(remote), DstAddr: inner(local),
	})
	copy(h[header.IPv6MinimumSize:], segment)
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)})
	d.DeliverNetworkPacket(network, p)
	p.DecRef()
}

func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = d
}

func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.dispatcher != nil
}

func (l *link) MTU() uint32 { return l.mtu }

func (*link) SetMTU(uint32)                                {}
func (*link) MaxHeaderLength() uint16                      { return 0 }
func (*link) LinkAddress() tcpip.LinkAddress               { return "" }
func (*link) SetLinkAddress(tcpip.LinkAddress)             {}
func (*link) Capabilities() stack.LinkEndpointCapabilities { return 0 }
func (*link) Wait()                                        {}
func (*link) ARPHardwareType() header.ARPHardwareType      { return header.ARPHardwareNone }
func (*link) AddHeader(*stack.PacketBuffer)                {}
func (*link) ParseHeader(*stack.PacketBuffer) bool         { return true }
func (*link) Close()                                       {}
func (*link) SetOnCloseAction(func())                      {}
