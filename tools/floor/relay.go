package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// addresses are where the roles listen, by role; for UDP and TCP the same.
type addresses map[string]netip.AddrPort

var roles = []string{pcscf, icscf, scscf, hss, phones}

// relay is a role: its sockets, and what it sends when something arrives.
type relay struct {
	role   string
	script *script
	at     addresses
	udp    *net.UDPConn
	// arrived is told of what comes, before what follows is sent; nil for the core.
	arrived func(place uint32, op uint64)

	mu        sync.Mutex
	dialled   map[string]net.Conn
	accepted  map[string]net.Conn
	connected *sync.Cond
}

const socketBuffer = 4 << 20

// open opens the role's sockets and reads from them.
func open(role string, s *script, at addresses) (*relay, error) {
	r := &relay{role: role, script: s, at: at, dialled: map[string]net.Conn{}, accepted: map[string]net.Conn{}}
	r.connected = sync.NewCond(&r.mu)
	var err error
	if r.udp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at[role])); err != nil {
		return nil, err
	}
	// As much as the services take: a burst of all phones must find room, or the closed
	// loop goes on with those that are left. A smaller buffer than asked for is no error.
	_, _ = r.udp.SetReadBuffer(socketBuffer), r.udp.SetWriteBuffer(socketBuffer)
	ln, err := net.Listen("tcp4", at[role].String())
	if err != nil {
		return nil, err
	}
	go r.accept(ln)
	go r.readUDP()
	return r, nil
}

// dial connects to every role that the script has requests for over a stream.
func (r *relay) dial() error {
	for i := range r.script.messages {
		m := &r.script.messages[i]
		if m.From != r.role || m.Over == overUDP || m.answer() || r.dialled[m.To] != nil {
			continue
		}
		c, err := net.Dial("tcp4", r.at[m.To].String())
		if err != nil {
			return err
		}
		b := make([]byte, headLen)
		putHead(b, hello, uint64(slices.Index(roles, r.role)))
		if _, err := c.Write(b); err != nil {
			return err
		}
		r.dialled[m.To] = c
		go r.readStream(c)
	}
	return nil
}

func (r *relay) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go r.readStream(c)
	}
}

func (r *relay) readUDP() {
	b, out := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, _, err := r.udp.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if n >= headLen {
			_, place, op := head(b)
			r.receive(place, op, out)
		}
	}
}

// readStream cuts what comes into messages.
func (r *relay) readStream(c net.Conn) {
	b, out := make([]byte, 64<<10), make([]byte, 64<<10)
	have := 0
	for {
		n, err := c.Read(b[have:])
		if err != nil {
			return
		}
		have += n
		at := 0
		for have-at >= headLen {
			length, place, op := head(b[at:])
			if length < headLen || length > len(b) {
				return
			}
			if have-at < length {
				break
			}
			at += length
			if place == hello {
				r.mu.Lock()
				r.accepted[roles[op%uint64(len(roles))]] = c
				r.connected.Broadcast()
				r.mu.Unlock()
				continue
			}
			r.receive(place, op, out)
		}
		have = copy(b, b[at:have])
	}
}

// receive sends what follows a message.
func (r *relay) receive(place uint32, op uint64, out []byte) {
	if int(place) >= len(r.script.next) {
		return
	}
	if r.arrived != nil {
		r.arrived(place, op)
	}
	for _, n := range r.script.next[place] {
		if err := r.send(n, op, out); err != nil {
			fmt.Println(r.role, "cannot send:", err)
		}
	}
}

func (r *relay) send(place uint32, op uint64, out []byte) error {
	m := &r.script.messages[place]
	out = out[:m.Octets]
	putHead(out, place, op)
	if m.Over == overUDP {
		_, err := r.udp.WriteToUDPAddrPort(out, r.at[m.To])
		return err
	}
	c := r.conn(m)
	if c == nil {
		return io.ErrClosedPipe
	}
	_, err := c.Write(out)
	return err
}

func (r *relay) conn(m *message) net.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.answer() {
		return r.accepted[m.To]
	}
	return r.dialled[m.To]
}

// await waits until everybody who has requests for this role has dialled.
func (r *relay) await() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.script.messages {
		m := &r.script.messages[i]
		for m.To == r.role && m.Over != overUDP && !m.answer() && r.accepted[m.From] == nil {
			r.connected.Wait()
		}
	}
}
