package xfrm

import (
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// Config is what a Backend protects, and whom it tells of what the kernel does by
// itself. The functions may be nil. They are called from goroutines of the Backend
// that hold no lock; they may call its methods, but not Close.
type Config struct {
	// Addrs are the protected local addresses. The kernel applies no IPsec to
	// loopback, which is refused.
	Addrs []netip.Addr
	// Ports are the protected ports at each of Addrs, client and server ports alike.
	// With Addrs they tell this instance from others on the host. What is in clear
	// and from or to one of them is dropped.
	Ports []uint16
	// Pairs are the algorithms that the kernel must have; nil for all.
	Pairs []ipsec.Pair
	// EncapPort is where ESP in UDP is received at each of Addrs, [ipsec.NATPort] as a
	// rule. New binds it. 0 is no UDP-enc-tun.
	EncapPort uint16

	// Expired tells that the kernel has ended a set (hard), or will soon. A set's
	// policies stay until Remove, so that nothing goes in clear.
	Expired func(id ipsec.SetID, hard bool)
	// Mapped tells where the packets of a set in UDP really come from: a NAT has
	// chosen or changed its port. What we send goes there already.
	Mapped func(id ipsec.SetID, outer netip.AddrPort)
	// Failed tells of what went wrong where nobody waits for an error.
	Failed func(error)
}

// Drops is what the kernel has dropped since it runs, in the whole network
// namespace: it does not say whose packets they were.
type Drops struct {
	Clear      uint64 // came in clear where only ESP may, or was none of the association's
	UnknownSPI uint64
	BadICV     uint64
	Replayed   uint64
	Expired    uint64 // the association had ended
	Malformed  uint64
	OutBlocked uint64 // would have left in clear
	OutNoState uint64 // its association is not there (any more)
}

// ReplayWindow is how far behind the highest sequence number of an association a
// packet may come.
const ReplayWindow = 128

// softBefore is how long before the end of an association the kernel tells of it.
const softBefore = 10 * time.Second
