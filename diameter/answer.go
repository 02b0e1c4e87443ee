package diameter

import (
	"fmt"
	"slices"

	"github.com/fiorix/go-diameter/v4/diam/avp"
)

// answered is called on the reader goroutine with the answer to the request.
func (k *call) answered(c *conn, m *Message, fault *AVPError) {
	res, hasResult := m.Result()
	if fault == nil && hasResult && !res.Experimental && k.tryElsewhere(ResultCode(res.Code)) {
		return
	}
	k.finish(m, c.host, k.judge(c, m, fault))
}

// tryElsewhere sends the request to another peer when this one could not serve
// it for reasons of its own (RFC 6733 7.1.3). The T bit stays as it is: an
// answer did come.
func (k *call) tryElsewhere(code ResultCode) bool {
	if code != TooBusy && code != UnableToDeliver || k.finished.Load() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if code == UnableToDeliver && k.hint && k.m.has(avp.DestinationHost) {
		// The learned host is gone: any other in the realm will do, also behind
		// the same agent.
		k.dropHostLocked()
		k.tried = slices.DeleteFunc(k.tried, func(c *conn) bool { return c == k.conn })
	}
	return k.sendLocked() == nil
}

func (k *call) judge(c *conn, m *Message, fault *AVPError) error {
	origin := m.OriginHost()
	if origin == "" {
		origin = c.host
	}
	var failure error
	res, ok := m.Result()
	if ok && !res.IsSuccess() {
		e := &ResultError{Result: res, Message: errorMessage(m), Peer: origin}
		if !res.Experimental {
			e.Name = resultNames[ResultCode(res.Code)]
		}
		failure = e
	}
	switch {
	case fault != nil:
		return &ProtocolError{Peer: origin, Reason: "the answer is malformed", Err: fault}
	case m.Command != k.command:
		return &ProtocolError{Peer: origin, Reason: fmt.Sprintf("the answer is of command %d, asked was %d", m.Command, k.command), Err: failure}
	case m.Application != k.app:
		return &ProtocolError{Peer: origin, Reason: fmt.Sprintf("the answer is of application %d, asked was %d", m.Application, k.app), Err: failure}
	case !ok:
		return &ProtocolError{Peer: origin, Reason: "the answer holds neither Result-Code nor Experimental-Result"}
	case failure == nil && m.Flags&FlagError != 0:
		return &ProtocolError{Peer: origin, Reason: "the answer has the E bit and a result of success"}
	}
	return failure
}
