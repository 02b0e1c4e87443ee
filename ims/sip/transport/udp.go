package transport

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

const (
	readBatch   = 16      // datagrams read in one call
	writeBatch  = 32      // datagrams written in one call
	maxDatagram = 1 << 16 // no datagram is longer
	// readStride is how far apart the buffers of a batch are: not a power of two, which
	// would have the beginnings of all in the same few lines of the processor's caches.
	readStride = maxDatagram + 4096 + 1536
	// quietReads is how many datagrams a socket reads one at a time before it gets
	// the buffers of a whole batch, which are a mebibyte: most sockets of a phone,
	// and of its SAs, never see so many.
	quietReads = 64
	// heldFor is for how many datagrams what they lead to is gathered.
	heldFor = 64
)

// socket is a UDP socket: one reader, one writer while there is something to
// write.
type socket struct {
	t     *Transport
	role  sip.Role
	local netip.AddrPort
	pc    net.PacketConn
	batch BatchConn

	inside atomic.Bool // the reader is with the handler

	mu      sync.Mutex
	closed  bool
	writing bool // somebody runs flush, or will when Release is called
	queue   []Outgoing
	spare   []Outgoing // the queue's other backing array
	octets  int        // in queue and in what is being written

	sent recent // who wants to know of ICMP errors
}

// outBatch is what a writer passes to WriteBatch. Most sockets, those of a phone's
// SAs, seldom have a writer.
type outBatch struct {
	bufs [writeBatch][]byte
	to   [writeBatch]netip.AddrPort
}

var outBatches = sync.Pool{New: func() any { return new(outBatch) }}

func newSocket(t *Transport, role sip.Role, local netip.AddrPort, pc net.PacketConn) *socket {
	s := &socket{t: t, role: role, local: local, pc: pc, batch: batchOf(pc)}
	if n, ok := pc.(UnreachableNotifier); ok {
		s.sent.wanted = true
		n.NotifyUnreachable(s.unreachable)
	}
	return s
}

func (s *socket) flow(remote netip.AddrPort) sip.Flow {
	return sip.Flow{Proto: sip.UDP, Role: s.role, Local: s.local, Remote: remote}
}

// read hands datagrams to the handler until the socket is closed.
func (s *socket) read() {
	bufs := [][]byte{make([]byte, maxDatagram)}
	reads, came := 0, false
	space := func() [][]byte {
		if reads++; reads == quietReads {
			all := make([]byte, (readBatch-1)*readStride)
			for i := range readBatch - 1 {
				bufs = append(bufs, all[i*readStride:][:maxDatagram:maxDatagram])
			}
		}
		return bufs
	}
	var waiter Waiter
	if s.t.waits != nil {
		waiter, _ = s.pc.(Waiter)
	}
	var waited time.Duration
	holding, held := false, 0
	done := func() {
		if holding {
			s.t.Release()
		}
		holding, held = false, 0
	}
	got := func(data []byte, from netip.AddrPort, more int) {
		came = true
		if waiter != nil {
			waited = waiter.Waited()
		}
		if s.t.now != nil && !holding {
			holding = true
			s.t.Hold()
		}
		s.inside.Store(true)
		s.receive(s.flow(unmap(from)), data, waited, more)
		s.inside.Store(false)
		if held++; held == heldFor {
			done()
			runtime.Gosched() // there is more to come: it is others' turn first
		}
	}
	reader := readerOf(s.batch)
	pause := time.Duration(0)
	for {
		err := reader.ReadBatches(space, got, done)
		done()
		if isClosed(err) || s.t.ctx.Err() != nil {
			return
		}
		s.t.dropped(s.flow(netip.AddrPort{}), ReadFailed, err)
		if came {
			came, pause = false, 0
		}
		// One failure may be chance; a socket that keeps failing must not spin.
		select {
		case <-time.After(pause):
			pause = min(2*pause+time.Millisecond, time.Second)
		case <-s.t.ctx.Done():
			return
		}
	}
}

// deliver makes a [Deliverer] call the handler.
func (s *socket) deliver(d Deliverer) {
	d.Deliver(s.take)
}

// take is for datagrams that somebody else has read: he may hold locks.
func (s *socket) take(data []byte, from netip.AddrPort) {
	s.receive(s.flow(unmap(from)), data, 0, notNow)
}

// notNow in place of a number of datagrams to come: they are not the reader's.
const notNow = -1

func (s *socket) receive(f sip.Flow, data []byte, waited time.Duration, more int) {
	if a := s.t.cfg.Admit; a != nil && !a(f) {
		s.t.dropped(f, NotAdmitted, nil)
		return
	}
	data = bytes.TrimLeft(data, "\r\n") // before a start line they mean nothing (RFC 3261 §7.5)
	switch {
	case len(data) <= 4:
		// CRLF keep-alive belongs to streams (RFC 5626 §4.4.1); over UDP phones
		// send it, or a few octets of anything, to hold a NAT binding, and
		// expect nothing.
		s.t.dropped(f, KeepAlive, nil)
		return
	case isSTUN(data):
		s.t.dropped(f, NotSIP, nil)
		return
	}
	raw := string(data)
	if o := s.t.cfg.Observer; o != nil {
		o.Received(f, raw)
	}
	switch {
	case s.t.now != nil && more != notNow:
		s.t.now.ReceiveNow(f, raw, waited, more)
	case waited > 0:
		s.t.waits.ReceiveWaited(f, raw, waited)
	default:
		s.t.handler.Receive(f, raw)
	}
}

// isSTUN tells STUN from SIP on one socket: by its two zero bits and its magic
// cookie (RFC 5389 §6).
func isSTUN(d []byte) bool {
	return len(d) >= 20 && d[0] < 4 && string(d[4:8]) == "\x21\x12\xa4\x42"
}

func (s *socket) send(o *Outgoing) {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		s.t.refuse(o, Unsendable, ErrClosed)
		return
	case s.t.cfg.MaxDatagrams > 0 && s.octets+len(o.Data) > s.t.cfg.MaxDatagrams:
		s.mu.Unlock()
		s.t.refuse(o, QueueFull, ErrQueueFull)
		return
	}
	o.keep()
	s.queue = append(s.queue, *o)
	s.octets += len(o.Data)
	if !s.writing {
		s.writing = true
		if !s.t.held.add(s) {
			s.t.wg.Go(s.flush)
		}
	}
	s.mu.Unlock()
}

// flush writes until the queue is empty.
func (s *socket) flush() { s.flushBy(s.batch.WriteBatch) }

// flushNow does so without waiting, where the socket can do that: what has to wait
// is left to a goroutine.
func (s *socket) flushNow() {
	if now, ok := s.batch.(NowWriter); ok {
		s.flushBy(now.WriteBatchNow)
		return
	}
	s.flushLater()
}

// flushLater leaves the writing to a goroutine, which may wait.
func (s *socket) flushLater() {
	s.mu.Lock()
	if !s.closed {
		s.t.wg.Go(s.flush)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.flush() // nothing waits on a closed socket: all of it fails
}

type writeFunc func(bufs [][]byte, to []netip.AddrPort) (int, error)

func (s *socket) flushBy(write writeFunc) {
	b := outBatches.Get().(*outBatch)
	defer outBatches.Put(b)
	bufs, to := &b.bufs, &b.to
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.writing = false
			s.mu.Unlock()
			return
		}
		all := s.queue
		s.queue = s.spare[:0]
		s.mu.Unlock()

		octets, left := 0, 0
		rest := all
		for len(rest) > 0 && left == 0 {
			n := min(len(rest), writeBatch)
			for i := range n {
				o := &rest[i]
				bufs[i], to[i] = o.Data, o.Flow.Remote
				if obs := s.t.cfg.Observer; obs != nil && !o.shown {
					o.shown = true
					obs.Sent(s.flow(o.Flow.Remote), o.Data)
				}
			}
			left = s.write(rest[:n], bufs[:n], to[:n], write)
			for i := range n - left {
				octets += len(rest[i].Data)
			}
			rest = rest[n-left:]
		}
		clear(bufs[:])
		drop(all[:len(all)-len(rest)]) // neither messages nor senders are kept by an idle socket
		if left > 0 {
			s.putBack(rest, octets)
			return
		}
		s.mu.Lock()
		s.spare = all[:0]
		s.octets -= octets
		s.mu.Unlock()
	}
}

// putBack gives what could not be written at once to a goroutine that waits.
func (s *socket) putBack(rest []Outgoing, octets int) {
	s.mu.Lock()
	s.octets -= octets
	more := s.queue // in the other of the two arrays
	s.queue = append(rest, more...)
	clear(more)
	s.mu.Unlock()
	s.flushLater()
}

// write sends one batch, going on behind a datagram that cannot be sent. It returns
// how many would have to wait.
func (s *socket) write(outs []Outgoing, bufs [][]byte, to []netip.AddrPort, write writeFunc) (left int) {
	seq := s.sent.remember(outs)
	for len(outs) > 0 {
		n, err := write(bufs, to)
		if n < len(outs) && errors.Is(err, errWouldWait) {
			for i := range outs[n:] {
				s.sent.claim(seq + uint64(n+i)) // they are remembered when they leave
			}
			return len(outs) - n
		}
		if n < len(outs) {
			o := &outs[n]
			if err == nil || isClosed(err) {
				err = ErrClosed
			}
			s.t.dropped(o.Flow, Unsendable, err)
			if !s.sent.on() || s.sent.claim(seq+uint64(n)) {
				o.fail(err)
			}
			n++
		}
		seq += uint64(n)
		outs, bufs, to = outs[n:], bufs[n:], to[n:]
	}
	return 0
}

// unreachable is told of an ICMP error about a datagram to remote.
func (s *socket) unreachable(remote netip.AddrPort, err error) {
	remote = unmap(remote)
	s.t.dropped(s.flow(remote), Unreachable, err)
	if errors.Is(err, syscall.EMSGSIZE) {
		return // the stack has learnt the path MTU: a retransmission gets through
	}
	// Which of the datagrams it was, not every router quotes; where one of them
	// found nobody, the others sent in that moment found nobody either.
	o := Outgoing{Flow: s.flow(remote)}
	for _, fail := range s.sent.take(remote) {
		o.Fail = fail
		o.fail(err)
	}
}

func (s *socket) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.octets
}

func (s *socket) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if !s.inside.Load() {
		_ = s.pc.Close()
		return
	}
	// It may be the handler that closes, and closing waits for the reader's call.
	s.t.wg.Go(func() { _ = s.pc.Close() })
}
