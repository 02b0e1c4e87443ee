package chaos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// relay stands between the CSCFs and the HSS as one front end of it: what a Diameter
// peer sees is an HSS with a name of its own. It passes messages on (RFC 6733 3) and
// changes nothing but names: two front ends of one HSS must differ in Origin-Host, and
// the HSS must see different peers.
type relay struct {
	at, hss   string
	near, far [][]byte // names before and behind it, of the same length; none is changed where there are none

	delay atomic.Int64 // of each answer, nanoseconds

	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// newRelay makes the front end that listens at an address. alias, if it is not zero, is
// the octet that replaces the first one of every name.
func newRelay(at, hss, domain string, alias rune) *relay {
	r := &relay{at: at, hss: hss, conns: make(map[net.Conn]struct{})}
	if alias != 0 {
		r.near = [][]byte{[]byte(string(alias) + "ss." + domain), []byte("cscf." + domain)}
		r.far = [][]byte{[]byte("hss." + domain), []byte("csc" + string(alias) + "." + domain)}
	}
	return r
}

// open lets peers connect.
func (r *relay) open() error {
	ln, err := net.Listen("tcp", r.at)
	if err != nil {
		return fmt.Errorf("opening a way to the HSS: %w", err)
	}
	r.mu.Lock()
	r.ln = ln
	r.mu.Unlock()
	r.wg.Go(func() { r.accept(ln) })
	return nil
}

func (r *relay) accept(ln net.Listener) {
	for {
		peer, err := ln.Accept()
		if err != nil {
			return
		}
		hss, err := net.Dial("tcp", r.hss)
		if err != nil { // the HSS is away, and so is its front end
			_ = peer.Close()
			continue
		}
		if !r.keep(ln, peer, hss) {
			return
		}
		end := func() { r.drop(peer); r.drop(hss) }
		r.wg.Go(func() { defer end(); _ = r.pass(hss, peer, false) })
		r.wg.Go(func() { defer end(); _ = r.pass(peer, hss, true) })
	}
}

func (r *relay) keep(ln net.Listener, conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if r.ln != ln {
			_ = c.Close()
			continue
		}
		r.conns[c] = struct{}{}
	}
	return r.ln == ln
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
	_ = c.Close()
}

// cut is the death of the front end: connections end, and nobody can connect.
func (r *relay) cut() {
	r.mu.Lock()
	if r.ln != nil {
		_ = r.ln.Close()
		r.ln = nil
	}
	for c := range r.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // at once, as the kernel of a process that is gone
		}
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// maxDiameter bounds a message that passes.
const maxDiameter = 1 << 20

var errFrame = errors.New("what passes is no Diameter")

// pass passes messages on, back is from the HSS to a peer.
func (r *relay) pass(to, from net.Conn, back bool) error {
	var head [4]byte
	if !back {
		return r.each(to, from, head[:], back, nil)
	}
	// Late answers do not make those behind them later still.
	type late struct {
		due time.Time
		b   []byte
	}
	queue := make(chan late, 4096)
	done := make(chan struct{})
	r.wg.Go(func() {
		defer close(done)
		for l := range queue {
			if wait := time.Until(l.due); wait > 0 {
				time.Sleep(wait)
			}
			if _, err := to.Write(l.b); err != nil {
				_ = from.Close() // so that nobody waits for room in the queue
			}
		}
	})
	err := r.each(to, from, head[:], back, func(b []byte) {
		queue <- late{time.Now().Add(time.Duration(r.delay.Load())), b}
	})
	close(queue)
	<-done
	return err
}

func (r *relay) each(to io.Writer, from io.Reader, head []byte, back bool, send func([]byte)) error {
	for {
		if _, err := io.ReadFull(from, head); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(head) & 0xffffff)
		if head[0] != 1 || n < 20 || n > maxDiameter {
			return errFrame
		}
		b := make([]byte, n)
		copy(b, head)
		if _, err := io.ReadFull(from, b[4:]); err != nil {
			return err
		}
		b = r.rename(b, back)
		if send != nil {
			send(b)
			continue
		}
		if _, err := to.Write(b); err != nil {
			return err
		}
	}
}

// rename changes names of the same length, so that lengths in the message stay right.
func (r *relay) rename(b []byte, back bool) []byte {
	old, now := r.near, r.far
	if back {
		old, now = r.far, r.near
	}
	for i := range old {
		b = bytes.ReplaceAll(b, old[i], now[i])
	}
	return b
}
