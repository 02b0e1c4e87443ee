package proxy

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// link joins a client transaction to its branch. Its functions are bound once
// and the link is used again when the transaction can call no more, which spares
// a request three allocations. It is not used again after a 2xx to an INVITE that is
// not retired: more of them may follow for a while.
type link struct {
	core     *Core
	b        *Branch
	edits    sip.Edits // of the response in hand
	render   func(sip.Flow) *sip.Buffer
	response func(*transaction.Client, sip.Flow, *sip.Message)
	failed   func(*transaction.Client, error)
}

func (c *Core) link(b *Branch) *link {
	l, ok := c.links.Get().(*link)
	if !ok {
		l = &link{core: c}
		l.render = func(f sip.Flow) *sip.Buffer { return l.b.render(f) }
		l.response = l.onResponse
		l.failed = l.onFailed
	}
	l.b = b
	return l
}

func (l *link) onResponse(c *transaction.Client, f sip.Flow, m *sip.Message) {
	b := l.b
	last := m.Status() >= 300 || m.Status() >= 200 && b.x.Req.Method() != "INVITE"
	b.response(c, f, m, &l.edits)
	l.edits.Reset()
	if last || c.Over() {
		l.free()
	}
}

func (l *link) onFailed(c *transaction.Client, err error) {
	b := l.b
	l.free()
	b.failed(c, err)
}

func (l *link) free() {
	l.b = nil
	l.core.links.Put(l)
}
