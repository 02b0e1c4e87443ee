package node

import (
	"github.com/gocscf/gocscf/diameter/cx"
)

// shard is where the work of a request goes on: its *proxy.Exchange, or the
// *transaction.Shard itself, which runs f also when the request is done.
type shard interface {
	Post(f func())
	PostNow(f func(), more bool)
}

// Answered goes on with a request of which the HSS has answered a question, or not: a is
// nil then. It is for callbacks of Cx, which have read the answer and may do what follows
// from it themselves, if nothing else is before it.
func Answered[A any, P interface {
	*A
	cx.Answer
}](sh shard, a P, f func()) {
	if a == nil { // a clock has called: what it ends may be many, and nobody gathers
		sh.Post(f)
		return
	}
	sh.PostNow(f, cx.More(a))
}
