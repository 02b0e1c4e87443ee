package proxy

import (
	"fmt"

	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

// Observer is told what happens; nil is off. One that also implements
// transport.Observer or transaction.Observer gets messages and drops from there,
// unless Config names others for that.
type Observer interface {
	// Decision says in words why the proxy or its handler did something. It is
	// called on any goroutine and must not block. callID may be "".
	Decision(callID, text string)
}

// An Observer that is also a Listener is told decisions only while it listens:
// their texts cost more than the rest of a forward.
type Listener interface {
	Listening() bool // on any goroutine
}

// observe lets the observer hear the floors below as well.
func (c *Config) observe() {
	if o, ok := c.Observer.(transport.Observer); ok && c.Transport.Observer == nil {
		c.Transport.Observer = o
	}
	if o, ok := c.Observer.(transaction.Observer); ok && c.TransactionObserver == nil {
		c.TransactionObserver = o
	}
}

// Trace tells the observer why the handler does what it does.
func (x *Exchange) Trace(text string) {
	if x.Tracing() {
		x.core.obs.Decision(x.Req.CallID(), text)
	}
}

// Tracef is Trace with formatting. Its arguments may allocate: ask Tracing first
// where that matters.
func (x *Exchange) Tracef(format string, args ...any) {
	if x.Tracing() {
		x.core.obs.Decision(x.Req.CallID(), fmt.Sprintf(format, args...))
	}
}

// Tracing reports whether somebody observes and listens.
func (x *Exchange) Tracing() bool {
	return x.core.obs != nil && (x.core.listener == nil || x.core.listener.Listening())
}
