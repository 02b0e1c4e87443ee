package transport

import (
	"errors"
	"time"
)

// A write to a stream that succeeds says only that the kernel took the octets.
// When the connection then ends, because the peer was restarted or is no longer
// where it was, the senders of what was written lately are told that it may be
// lost: a request can go another way at once instead of waiting for its timer.
const (
	lostWithin = 32 * time.Second // 64·T1: nobody waits for longer
	maxWritten = 128              // requests of one connection that are remembered
)

// LostError says that the connection ended soon after the message had been
// written on it. It may have arrived all the same.
type LostError struct{ Err error }

func (e *LostError) Error() string {
	return "the connection ended behind the message, which may be lost: " + e.Err.Error()
}

func (e *LostError) Unwrap() error { return e.Err }

// Uncertain tells this error from those of messages that have not left.
func (e *LostError) Uncertain() bool { return true }

// written remembers whom to tell, the oldest first.
type written struct {
	sent    []writtenRequest
	purging bool // a timer runs that drops what is too old to matter
}

type writtenRequest struct {
	fail func(error)
	at   time.Time
}

// wrote enters what has been written. Responses are left out: whoever waits for
// one asks again.
func (c *conn) wrote(outs []Outgoing) {
	over := c.enter(outs)
	if over == nil || errors.Is(over, ErrClosed) {
		return
	}
	for i := range outs {
		if wantsToKnow(&outs[i]) {
			outs[i].Fail(&LostError{over})
		}
	}
}

func wantsToKnow(o *Outgoing) bool {
	return o.Fail != nil && len(o.Data) > 4 && !isResponse(o.Data)
}

func isResponse(data []byte) bool { return len(data) > 4 && string(data[:4]) == "SIP/" }

// enter does that; over is why the connection has ended meanwhile.
func (c *conn) enter(outs []Outgoing) (over error) {
	var now time.Time
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == ended {
		return c.cause
	}
	w := &c.written
	for i := range outs {
		o := &outs[i]
		if !wantsToKnow(o) {
			continue
		}
		if now.IsZero() {
			now = time.Now()
		}
		if len(w.sent) == maxWritten {
			copy(w.sent, w.sent[1:])
			w.sent = w.sent[:maxWritten-1]
		}
		w.sent = append(w.sent, writtenRequest{o.Fail, now})
	}
	if len(w.sent) > 0 && !w.purging {
		w.purging = true
		time.AfterFunc(lostWithin, c.purge)
	}
	return nil
}

// purge lets go of senders that will not be told any more.
func (c *conn) purge() {
	oldest := time.Now().Add(-lostWithin)
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &c.written
	n := 0
	for n < len(w.sent) && !w.sent[n].at.After(oldest) {
		n++
	}
	kept := copy(w.sent, w.sent[n:])
	clear(w.sent[kept:])
	w.sent = w.sent[:kept]
	if w.purging = kept > 0; w.purging {
		time.AfterFunc(lostWithin, c.purge)
	} else {
		w.sent = nil
	}
}

// take takes out whom to tell.
func (w *written) take(now time.Time) []func(error) {
	var fails []func(error)
	for _, s := range w.sent {
		if now.Sub(s.at) < lostWithin {
			fails = append(fails, s.fail)
		}
	}
	w.sent = nil
	return fails
}
