package proxy

import (
	"context"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/uri"
)

// pass forwards an ACK without state (RFC 3261 16.11): where it goes follows
// from its route set, nothing is awaited, and what cannot be sent is lost.
func (x *Exchange) pass(t *Target) {
	x.done = true
	e := x.Edits // which nobody needs any more
	_, out := x.route(&e, t)
	if u, err := uri.Parse(out.hop); err == nil && x.core.self.is(u) && !t.Hop.set() {
		x.core.stats.droppedAcks.Add(1)
		x.Trace("ACK dropped: it is for ourselves, and of no dialog of ours")
		return
	}
	if t.Hop.set() {
		x.passTo(&e, t.ViaParams, t.Hop)
		return
	}
	var one [1]Hop
	hops, q, err := locate(x.core.cfg.Hosts, out.hop, t.Hop.Role, one[:0])
	switch {
	case err != nil || len(hops) == 0 && x.core.cfg.Resolver == nil:
		x.core.stats.droppedAcks.Add(1)
		x.Tracef("ACK dropped: no address for %q", out.hop)
	case len(hops) > 0:
		hops[0].Stream = t.Hop.Stream
		x.passTo(&e, t.ViaParams, hops[0])
	default:
		params := t.ViaParams
		ctx, cancel := context.WithTimeout(context.Background(), x.core.cfg.HandlerTimeout)
		x.core.cfg.Resolver.Resolve(ctx, q, func(hops []Hop, err error) {
			cancel()
			x.Shard.Post(func() {
				if err != nil || len(hops) == 0 {
					x.core.stats.droppedAcks.Add(1)
					x.Tracef("ACK dropped: no address for %q: %v", out.hop, err)
					return
				}
				x.passTo(&e, params, hops[0])
			})
		})
	}
}

// passTo sends it. Should a stream refuse it, it goes as a datagram.
func (x *Exchange) passTo(e *sip.Edits, viaParams string, hop Hop) {
	c := x.core
	flow, ok := c.flow(&hop)
	if !ok {
		c.stats.droppedAcks.Add(1)
		x.Tracef("ACK dropped: %v: %v %v %v", ErrNoSocket, hop.Role, hop.Proto, hop.Addr)
		return
	}
	// A retransmission must get the same branch (16.11): it is made from that of
	// the Via on top, which whoever sent it made unique.
	l := loopHasher{seed: c.seed}
	l.add(x.Req.First(sip.HVia))
	var buf [64]byte
	id := string(x.loop.appendTo(append(l.sum().appendTo(append(buf[:0], sip.MagicCookie...)), loopMark)))
	write := func(f sip.Flow) *sip.Buffer {
		edits := *e // what is added to it here is not seen by the next call
		var buf [192]byte
		edits.Prepend(sip.HVia, string(c.via(buf[:0], f, id, viaParams)))
		if f.Proto.Stream() {
			edits.EnsureLength()
		}
		return x.Req.Edited(&edits)
	}
	data := write(flow)
	second := sip.Flow{}
	if flow.Proto == sip.UDP && data.Len() > c.transport.MaxDatagram(flow) {
		if stream, ok := c.stream(&hop, flow); ok {
			second, flow = flow, stream
			data.Free()
			data = write(flow)
		}
	} else if hop.Flow.Remote.IsValid() && hop.Addr.IsValid() {
		second, _ = c.flow(&Hop{Addr: hop.Addr, Proto: hop.Proto, Role: hop.Role, Local: hop.Local})
	}
	var fail func(error)
	if second.Remote.IsValid() {
		fail = func(error) {
			data := write(second)
			c.send(second, data, nil)
			data.Free()
		}
	}
	c.send(flow, data, fail)
	data.Free()
}
