package proxy

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// Reviver is a Handler who lets Exchanges be retired.
type Reviver interface {
	// Revive sets OnResponse for a further 2xx to an INVITE that was retired: another
	// one of a fork than the first. x has its request without the body, Flow and Route
	// again, but Edits only as they were when it came; all but OnResponse is over. note
	// is that of Exchange.Retires.
	Revive(x *Exchange, note string)
}

// Retires says that the handler needs no more than note to deal with a further 2xx
// (Reviver), so that the exchange can be given up with the first. For 64·T1 the 2xx may
// come again, or another one: what is repeated is answered from octets. It is for
// handlers that set OnResponse; others' exchanges retire by themselves.
func (x *Exchange) Retires(note string) { x.retires, x.note = true, note }

// retire gives up an exchange whose only branch has relayed its first 2xx m as data.
func (x *Exchange) retire(b *Branch, m *sip.Message, data []byte) {
	if !x.ended || x.server == nil || len(x.branches) > 1 || b.next > 1 {
		return
	}
	if x.onResponse != nil {
		if _, ok := x.core.handler.(Reviver); !ok || !x.retires {
			return
		}
	}
	b.client.Retire(x.server, m, data, x.note)
}

// Revive is retire undone, for what a further 2xx needs.
func (u user) Revive(cl *transaction.Client, s *transaction.Server, note string) func(*transaction.Client, sip.Flow, *sip.Message) {
	c := u.c
	x := &Exchange{Req: s.Req, Flow: s.Flow, Shard: s.Shard, core: c, server: s, start: c.layer.Now(), done: true, ended: true}
	c.admit(x) // it was: this is for Route
	b := x.newBranch()
	b.client, b.done, b.heard, b.provisional = cl, true, true, true
	if h, ok := c.handler.(Reviver); ok {
		h.Revive(x, note)
	}
	return c.link(b).response
}
