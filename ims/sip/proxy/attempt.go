package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

// ask has the resolver find the addresses.
func (b *Branch) ask(q Query, hop string) {
	x := b.x
	if x.core.cfg.Resolver == nil {
		b.err = fmt.Errorf("%w: %q is neither an address nor a configured host name", ErrUnresolved, hop)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), x.core.cfg.HandlerTimeout)
	b.asking = cancel
	x.core.cfg.Resolver.Resolve(ctx, q, func(hops []Hop, err error) {
		x.Shard.Post(func() { b.answered(hops, err, hop) })
	})
}

// maxHops bounds how many addresses one target may have.
const maxHops = 8

func (b *Branch) answered(hops []Hop, err error, hop string) {
	if b.asking == nil { // it came twice
		return
	}
	b.asking()
	b.asking = nil
	if b.done {
		return
	}
	switch {
	case err != nil:
		b.err = fmt.Errorf("%w: %q: %w", ErrUnresolved, hop, err)
	case len(hops) == 0:
		b.err = fmt.Errorf("%w: %q", ErrUnresolved, hop)
	}
	b.hops = hops[:min(len(hops), maxHops)]
	b.attempt()
}

// attempt sends the request to the next address that can be sent to. Without
// one, the branch ends with the last error.
func (b *Branch) attempt() {
	if b.done || b.asking != nil {
		return
	}
	x := b.x
	for b.next < len(b.hops) {
		hop := &b.hops[b.next]
		b.next++
		flow, ok := x.core.flow(hop)
		if !ok {
			b.err = fmt.Errorf("%w: %v %v %v", ErrNoSocket, hop.Role, hop.Proto, hop.Addr)
			continue
		}
		b.send(flow, hop)
		return
	}
	if b.err == nil {
		b.err = ErrUnresolved
	}
	b.fail(b.err)
}

// send starts a transaction towards hop.
func (b *Branch) send(flow sip.Flow, hop *Hop) {
	x := b.x
	b.id = ""
	b.client, b.heard, b.second = nil, false, nil
	b.ready = b.write(flow)
	switch {
	case flow.Proto == sip.UDP && b.ready.Len() > x.core.transport.MaxDatagram(flow):
		if stream, ok := x.core.stream(hop, flow); ok {
			b.other(flow)
			b.ready.Free()
			flow, b.ready = stream, nil
		}
	case hop.Flow.Remote.IsValid() && hop.Addr.IsValid():
		second, _ := x.core.flow(&Hop{Addr: hop.Addr, Proto: hop.Proto, Role: hop.Role, Local: hop.Local})
		b.other(second)
	case flow.Conn != 0 && !hop.Flow.Remote.IsValid():
		b.other(x.core.layer.Redial(flow)) // the open connection may lead nowhere
	}
	if x.Tracing() {
		x.Tracef("forwarding %s to %s over %v", x.Req.Method(), b.URI, flow)
	}
	l := x.core.link(b)
	r := transaction.ClientRequest{
		Method: x.Req.Method(), Branch: b.id, Flow: flow,
		Render: l.render, Response: l.response, Failed: l.failed,
	}
	if b.second != nil {
		r.Fallback = b.fallback
	}
	b.client = x.Shard.Client(r)
	if r.Method == "INVITE" && x.origin == nil {
		b.began = x.core.layer.Now()
		if !b.timerC.running() {
			b.timerC.startWith(x.Shard, x.core.cfg.TimerC, branchTimeC, b)
		}
	}
	if b.timeoutAfter > 0 {
		b.wait.startWith(x.Shard, b.timeoutAfter, branchSilent, b)
	}
}

// other notes where to go when the flow fails.
func (b *Branch) other(f sip.Flow) {
	if f.Remote.IsValid() {
		b.second = &f
	}
}

// render gives the layer the request for a flow; the first time it is written
// already.
func (b *Branch) render(f sip.Flow) *sip.Buffer {
	if data := b.ready; data != nil {
		b.ready = nil
		return data
	}
	return b.write(f)
}

// write writes the request for a flow, with Via and Record-Route.
func (b *Branch) write(f sip.Flow) *sip.Buffer {
	x := b.x
	// Via and Record-Route are one string, the branch a piece of it.
	var buf [512]byte
	text := append(append(buf[:0], "SIP/2.0/"...), f.Proto.String()...)
	text = append(append(text, ' '), x.core.sentBy(f)...)
	text = append(text, ";branch="...)
	id := len(text)
	if b.id != "" {
		text = append(text, b.id...)
	} else {
		mark := x.loop.mark()
		text = append(sip.AppendBranch(text), mark[:]...)
	}
	idEnd := len(text)
	text = append(text, b.viaParams...)
	via := len(text)
	if b.own != nil {
		text = b.own.record(text, x, f)
	}
	all := string(text)
	if b.id == "" {
		b.id = all[id:idEnd]
	}
	e := b.edits // what is added to it here is not seen by the next attempt
	e.Prepend(sip.HVia, all[:via])
	if via < len(all) {
		e.Prepend(sip.HRecordRoute, all[via:])
	}
	if f.Proto.Stream() {
		e.EnsureLength()
	}
	return x.Req.Edited(&e)
}

// fallback is where to go when the flow did not work: back to the datagram
// (TR-08), to the address beside a flow that is gone, or there once more over
// another connection.
func (b *Branch) fallback(failed sip.Flow, err error) (sip.Flow, bool) {
	second := b.second
	b.second = nil
	if second == nil || b.cancelled { // who has hung up rings nobody
		return sip.Flow{}, false
	}
	if errors.Is(err, transport.ErrTooLarge) { // nor could the next hop take it from elsewhere
		return sip.Flow{}, false
	}
	f := *second
	b.x.Tracef("%v failed (%v): now over %v", failed, err, f)
	return f, true
}
