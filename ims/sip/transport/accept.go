package transport

import (
	"net"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// accept takes connections until the listener is closed.
func (t *Transport) accept(l *listen) {
	const first, last = 5 * time.Millisecond, time.Second
	pause := first
	for {
		nc, err := l.tcp.Accept()
		if err == nil {
			pause = first
			t.accepted(l, nc)
			continue
		}
		if isClosed(err) || t.ctx.Err() != nil {
			return
		}
		// Out of descriptors, or a peer that went away meanwhile. Accept would
		// fail again at once: the connection still waits.
		t.dropped(sip.Flow{Proto: sip.TCP, Role: l.Role, Local: l.Addr}, AcceptFailed, err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, last)
		case <-t.ctx.Done():
			return
		}
	}
}

// accepted admits a connection, or closes it where a limit is reached.
func (t *Transport) accepted(l *listen, nc net.Conn) {
	f := sip.Flow{Proto: sip.TCP, Role: l.Role, Local: addrPort(nc.LocalAddr()), Remote: addrPort(nc.RemoteAddr())}
	if a := t.cfg.Admit; a != nil && !a(f) {
		t.dropped(f, NotAdmitted, nil)
		_ = nc.Close()
		return
	}
	if shareOf(f.Role, true) == strangers && t.takes(f) {
		t.makeRoom()
	}
	t.mu.Lock()
	if t.closed || t.draining {
		t.mu.Unlock()
		_ = nc.Close()
		return
	}
	if why, full := t.full(source{shareOf(f.Role, true), f.Source()}, true, false); full {
		t.mu.Unlock()
		t.dropped(f, why, nil)
		_ = nc.Close()
		return
	}
	c := t.newConn(f, true, true)
	c.state = open
	c.nc = nc
	t.wg.Go(c.serve)
	t.mu.Unlock()
}

// takes reports whether a stranger's connection is let in if there is a place: nobody gives
// way to one who is refused in any case.
func (t *Transport) takes(f sip.Flow) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.closed && !t.draining && !over(t.counts.bySource[source{strangers, f.Source()}], t.cfg.MaxConnsPerAddr)
}
