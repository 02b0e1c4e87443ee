package load

import (
	"net/netip"
	"strconv"

	"github.com/gocscf/gocscf/aka"
)

// phone is a SIM and what its phone remembers. It does one thing at a time.
type phone struct {
	index      int32
	addr       [4]byte
	registered bool
	pcscf      netip.AddrPort
	doing      *attempt
	control    []byte // makes what it sends leave from its address
	sim        *aka.USIM
	sub        *subscription

	// Of its registration.
	routes      []byte // lines Route for requests outside of dialogs, shared with others
	boot        uint32 // numbers its Call-IDs
	cseq        uint32
	credentials string // from nonce on, of the last challenge
}

// subscription is a dialog of the event package reg (RFC 3680).
type subscription struct {
	number uint64 // of the attempt that began it: it is in the Call-ID
	cseq   uint32
	to     string // with the notifier's tag
	target string
	routes string
}

// queue has phones that do nothing, the one that waits longest first.
type queue struct {
	ring       []*phone
	head, size int
}

func (q *queue) push(p *phone) {
	if q.size == len(q.ring) {
		ring := make([]*phone, max(16, 2*len(q.ring)))
		for i := range q.size {
			ring[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.size)%len(q.ring)] = p
	q.size++
}

func (q *queue) pop() *phone {
	if q.size == 0 {
		return nil
	}
	p := q.ring[q.head]
	q.ring[q.head] = nil
	q.head, q.size = (q.head+1)%len(q.ring), q.size-1
	return p
}

// take takes out the phone that came last, if it is p.
func (q *queue) take(p *phone) bool {
	last := (q.head + q.size - 1) % max(len(q.ring), 1)
	if q.size == 0 || q.ring[last] != p {
		return false
	}
	q.ring[last] = nil
	q.size--
	return true
}

// appendIMSI writes the 15 digits of a phone's IMSI.
func (e *engine) appendIMSI(b []byte, index int32) []byte {
	n := e.cfg.First + uint64(index)
	var digits [15]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[:]...)
}

func (e *engine) appendIMPU(b []byte, index int32) []byte {
	return append(append(e.appendIMSI(append(b, "sip:"...), index), '@'), e.cfg.Domain...)
}

// appendSentBy writes a phone's address and port.
func (e *engine) appendSentBy(b []byte, p *phone) []byte {
	b = netip.AddrFrom4(p.addr).AppendTo(b)
	return strconv.AppendUint(append(b, ':'), uint64(e.socket.port), 10)
}

// phoneAt finds the phone that has an address, nil if none has.
func (e *engine) phoneAt(a netip.Addr) *phone {
	if !a.Is4() {
		return nil
	}
	first, b := e.cfg.Address.As4(), a.As4()
	if b[0] != first[0] || b[3] == 0 {
		return nil
	}
	lines := int(b[1])*250 + int(b[2]) - int(first[1])*250 - int(first[2])
	i := lines*250 + int(b[3]) - int(first[3])
	if i < 0 || i >= len(e.phones) || e.phones[i].addr != b {
		return nil
	}
	return &e.phones[i]
}
