package esp

import (
	"net/netip"

	"github.com/gocscf/gocscf/ipsec"
)

// Reason is why a packet was dropped.
type Reason uint8

// The reasons. Those up to Selector are of the receiver, and except UnknownSPI and
// NotESP also counted in the association's [ipsec.SAStats].
const (
	NotESP     Reason = iota // too short, or no ESP at all (an IKE message)
	UnknownSPI               // no association has this SPI
	BadICV
	Replayed
	Malformed
	Selector
	NoListener // nobody reads at the datagram's port
	QueueFull  // whoever reads there is too slow
	SendFailed // the carrier did not take the packet
	Exhausted  // all sequence numbers of the set are used
	Fragments  // of a datagram in a tunnel, that cannot be put together, or for which there was no time or room
	Reasons    // how many there are
)

var reasonNames = [Reasons]string{"not ESP", "unknown SPI", "bad ICV", "replayed", "malformed", "selector",
	"no listener", "queue full", "send failed", "sequence numbers exhausted", "fragments"}

func (r Reason) String() string {
	if r < Reasons {
		return reasonNames[r]
	}
	return "?"
}

// Drop is one dropped packet.
type Drop struct {
	Reason Reason
	SPI    uint32         // 0 where it is not known
	Outer  netip.AddrPort // where it came from, or was to go; not valid where that is not known
	Set    *ipsec.Set     // nil where none is concerned
	Err    error          // of SendFailed
}

// Observer is told what happens. It is called on the goroutines that move
// packets and must not block; a flood of drops calls it as often. It must not call
// the Engine's Install, Extend, Remove or Close.
type Observer interface {
	// FirstPacket tells that a set's first authentic packet has come in.
	FirstPacket(s *ipsec.Set, by Path)
	// PathChanged tells that a set's peer is reached by another way than before.
	PathChanged(s *ipsec.Set, from, to Path)
	Dropped(d Drop)
	// Expired tells that a set has reached its hard lifetime and is gone.
	Expired(s *ipsec.Set)
}
