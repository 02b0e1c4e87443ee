package pcscf

import (
	"context"
	"net"
	"net/netip"

	"github.com/gocscf/gocscf/ims/sip/transport"
)

// gmNet opens the protected ports on the back end's stack, and everything else
// elsewhere. With the kernel's IPsec both are the kernel.
type gmNet struct {
	open, protected transport.Net
	addr            netip.Addr
	ports           map[uint16]bool
}

func newGmNet(open, protected transport.Net, addr netip.Addr, ports ...PortList) *gmNet {
	n := &gmNet{open: open, protected: protected, addr: addr.Unmap(), ports: map[uint16]bool{}}
	for _, list := range ports {
		for _, p := range list {
			n.ports[p] = true
		}
	}
	return n
}

func (n *gmNet) of(local netip.AddrPort) transport.Net {
	if local.Addr().Unmap() == n.addr && n.ports[local.Port()] {
		return n.protected
	}
	return n.open
}

func (n *gmNet) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	return n.of(local).ListenPacket(local)
}

func (n *gmNet) Listen(local netip.AddrPort) (net.Listener, error) { return n.of(local).Listen(local) }

func (n *gmNet) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	return n.of(local).Dial(ctx, local, remote)
}

// PathMTU is what the open network knows: packets of ESP are longer than what they
// carry.
func (n *gmNet) PathMTU(local, remote netip.Addr) int {
	if k, ok := n.open.(transport.MTUKnower); ok {
		return k.PathMTU(local, remote)
	}
	return 0
}
