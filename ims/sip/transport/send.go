package transport

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/gocscf/gocscf/ims/sip"
)

// Outgoing is one message to send.
type Outgoing struct {
	// Flow says where to. Over UDP, Local is one of our sockets; with Local zero
	// one is picked by Role. Over a stream, Conn names the connection. When that
	// is 0 or has ended, a connection of that role to Remote is used or dialled;
	// a Local with a port asks for exactly that source, one without only for
	// that address. The Local of a connection that has ended is not used again
	// with its port. A response may name the connection of its request in
	// Conn and in Remote the sent-by to dial should it have ended (RFC 3261
	// §18.2.2).
	Flow sip.Flow
	// Data is the whole message. Send copies what has to wait: when it returns the
	// octets are the caller's again.
	Data []byte
	// Buffer, unless nil, is what Data is in: what has to wait shares it, in place of a copy.
	Buffer *sip.Buffer
	// NoDial fails the message where otherwise a connection would be dialled.
	NoDial bool
	// Insist dials even a remote that refused lately: for a sender that has no
	// other way.
	Insist bool
	// Fail, unless nil, is called at most once, on any goroutine and perhaps
	// before Send returns, when it is known that the message did not leave, or
	// by ICMP that it did not arrive; for a request also, with a LostError, when
	// its connection has ended before long and it may not have arrived. It must
	// not block.
	Fail func(error)

	shown bool        // the Observer has seen it
	kept  *sip.Buffer // Data is in it; nil: in an allocation of its own
}

// fewOctets is up to what length a message that waits gets just the memory it takes: a
// peer must not have us keep a Buffer for a CRLF.
const fewOctets = 288

// keep makes Data the queue's own.
func (o *Outgoing) keep() {
	b := o.Buffer
	if o.Buffer = nil; len(o.Data) <= fewOctets {
		o.Data = bytes.Clone(o.Data)
		return
	}
	if o.kept = b.Share(); b == nil {
		o.kept = sip.BufferOf(o.Data)
		o.Data = o.kept.Bytes()
	}
}

// drop empties messages that have left, or never will. Nobody reads their octets then.
func drop(outs []Outgoing) {
	for i := range outs {
		outs[i].kept.Free()
	}
	clear(outs)
}

func (o *Outgoing) fail(err error) {
	if o.Fail != nil {
		o.Fail(fmt.Errorf("send to %s: %w", o.Flow, err))
	}
}

// Defaults of MaxDatagram and its bounds.
const (
	safeDatagram = 1300  // where the path MTU is not known
	mtuMargin    = 200   // which a request stays below the path MTU
	mostDatagram = 65507 // octets in an IPv4 packet behind its and the UDP header
)

// MaxDatagram is how long a request may be that goes as a datagram on that flow:
// beyond it a stream must be used (RFC 3261 18.1.1).
func (t *Transport) MaxDatagram(f sip.Flow) int {
	k, ok := t.net.(MTUKnower)
	if !ok || f.Role == sip.RoleProtectedClient || f.Role == sip.RoleProtectedServer {
		return safeDatagram
	}
	return min(max(k.PathMTU(f.Local.Addr(), f.Remote.Addr())-mtuMargin, safeDatagram), mostDatagram)
}

// Send sends a message. It never blocks.
func (t *Transport) Send(o Outgoing) {
	o.Flow.Local, o.Flow.Remote = unmap(o.Flow.Local), unmap(o.Flow.Remote)
	switch {
	case len(o.Data) == 0 || !o.Flow.Remote.IsValid():
		t.refuse(&o, Unsendable, ErrNothing)
	case o.Flow.Proto == sip.UDP:
		t.sendUDP(&o)
	case o.Flow.Proto == sip.TCP:
		t.sendStream(&o)
	default:
		t.refuse(&o, Unsendable, ErrUnsupported)
	}
}

// refuse fails a message that was not taken.
func (t *Transport) refuse(o *Outgoing, why Reason, err error) {
	t.dropped(o.Flow, why, err)
	o.fail(err)
}

func (t *Transport) sendUDP(o *Outgoing) {
	t.mu.Lock()
	closed := t.closed
	var s *socket
	if o.Flow.Local.IsValid() {
		s = t.udpByAddr[o.Flow.Local]
	} else {
		for _, l := range t.listens {
			if l.udp != nil && l.Role == o.Flow.Role && sameFamily(l.Addr.Addr(), o.Flow.Remote.Addr()) {
				s = l.udp
				break
			}
		}
	}
	t.mu.Unlock()
	switch {
	case closed:
		t.refuse(o, Unsendable, ErrClosed)
	case s == nil:
		t.refuse(o, Unsendable, ErrNoSocket)
	default:
		s.send(o)
	}
}

func (t *Transport) sendStream(o *Outgoing) {
	if sip.TooLarge(o.Data) {
		t.refuse(o, Unsendable, ErrTooLarge)
		return
	}
	if len(o.Data) > t.cfg.MaxQueue && t.cfg.MaxQueue > 0 {
		t.refuse(o, Unsendable, fmt.Errorf("%d octets are more than a connection's queue holds (%d)", len(o.Data), t.cfg.MaxQueue))
		return
	}
	local := o.Flow.Local
	if o.Flow.Conn != 0 {
		t.mu.Lock()
		c := t.conns[o.Flow.Conn]
		t.mu.Unlock()
		if c != nil && c.enqueue(o) {
			return
		}
		if o.NoDial && o.Flow.Role == sip.RoleGm { // another from its address and port may be another phone's
			t.refuse(o, Unsendable, ErrConnGone)
			return
		}
		local = netip.AddrPortFrom(local.Addr(), 0)
	}
	// A connection may end between being found and being asked; the next round
	// does not find it any more. One that is dialled has the message from the start.
	for {
		c, why, err := t.connTo(o, local)
		if err != nil {
			t.refuse(o, why, err)
			return
		}
		if c == nil || c.enqueue(o) {
			return
		}
	}
}

// connTo returns a connection for the message, or none where it has one dialled: that has
// the message already, so that one which is refused at once is not dialled for it again.
func (t *Transport) connTo(o *Outgoing, local netip.AddrPort) (*conn, Reason, error) {
	p := peer{o.Flow.Role, o.Flow.Remote}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, Unsendable, ErrClosed
	}
	if c := t.find(p, local); c != nil {
		return c, 0, nil
	}
	if o.NoDial {
		return nil, Unsendable, ErrConnGone
	}
	if !o.Insist {
		if r := t.refused.get(wayOf(p, local)); r != nil {
			return nil, DialRefused, r
		}
	}
	f := sip.Flow{Proto: sip.TCP, Role: o.Flow.Role, Local: local, Remote: o.Flow.Remote}
	asked := isResponse(o.Data)
	if why, full := t.full(source{shareOf(f.Role, asked), f.Source()}, asked, true); full {
		return nil, why, ErrTooManyConns
	}
	c := t.newConn(f, asked, false)
	c.put(o)
	t.wg.Go(c.dial)
	return nil, 0, nil
}

// over reports whether one more would exceed a limit.
func over(n, limit int) bool { return limit >= 0 && n >= limit }
