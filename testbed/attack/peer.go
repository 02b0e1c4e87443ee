package attack

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gocscf/gocscf/ims/sip"
)

// Peer is an application server, and at the same time a node of the core, that is
// broken: what it forwards, answers and begins is bent.
type Peer struct {
	conn    *net.UDPConn
	addr    netip.AddrPort
	sent    atomic.Int64
	targets atomic.Pointer[[]netip.AddrPort]
	reading sync.WaitGroup

	mu   sync.Mutex
	bend *Bender
}

// StartPeer opens the Peer's socket at an address.
func StartPeer(ip netip.Addr, seed uint64) (*Peer, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		return nil, fmt.Errorf("opening the broken application server's socket: %w", err)
	}
	p := &Peer{conn: c, addr: c.LocalAddr().(*net.UDPAddr).AddrPort(), bend: NewBender(seed)}
	p.reading.Go(p.read)
	return p, nil
}

// Addr is where it listens.
func (p *Peer) Addr() netip.AddrPort { return p.addr }

// Sent returns how many messages it has sent.
func (p *Peer) Sent() int64 { return p.sent.Load() }

// Aim says where the Peer sends messages on its own account.
func (p *Peer) Aim(at ...netip.AddrPort) { p.targets.Store(&at) }

// Close ends it.
func (p *Peer) Close() {
	p.conn.Close()
	p.reading.Wait()
}

func (p *Peer) read() {
	buf := make([]byte, 65536)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if strings.Contains(err.Error(), "closed") {
				return
			}
			continue
		}
		p.take(string(buf[:n]), from)
	}
}

// take answers or forwards what comes.
func (p *Peer) take(raw string, from netip.AddrPort) {
	m, err := sip.Parse(raw)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.bend
	b.Learn(raw)
	switch {
	case !m.IsRequest():
		p.back(m)
	case m.Method() == "ACK":
		p.send(p.onwards(m), from, 4)
	case m.Method() == "REGISTER":
		p.send(string(sip.NewResponse(m, 200, "", "as").Bytes()), from, 3)
	case b.chance(2):
		p.send(p.onwards(m), from, 3)
	default:
		status := [...]int{100, 180, 183, 200, 202, 299, 302, 400, 404, 408, 486, 500, 503, 580, 600, 699}[b.rng.IntN(16)]
		for range 1 + b.rng.IntN(3) {
			r := sip.NewResponse(m, status, "", sip.NewTag())
			r.Add(sip.HContact, "<sip:"+p.addr.String()+">")
			p.send(string(r.Bytes()), from, 2)
		}
	}
}

// onwards gives a request back to the S-CSCF, by what stands behind our Route entry.
func (p *Peer) onwards(m *sip.Message) string {
	var e sip.Edits
	e.PopFirst(sip.HRoute)
	e.Prepend(sip.HVia, "SIP/2.0/UDP "+p.addr.String()+";branch="+sip.NewBranch())
	return string(m.AppendTo(nil, &e))
}

// back takes a response on its way without our Via.
func (p *Peer) back(m *sip.Message) {
	var e sip.Edits
	e.PopFirst(sip.HVia)
	a, err := m.Apply(&e)
	if err != nil {
		return
	}
	v, err := a.TopVia()
	if err != nil {
		return
	}
	ip, err := netip.ParseAddr(v.Host)
	if err != nil {
		return
	}
	p.send(a.Raw(), netip.AddrPortFrom(ip, v.Port), 4)
}

// send sends m, bent once in n times, with the mutex held.
func (p *Peer) send(m string, to netip.AddrPort, n int) {
	if p.bend.chance(n) {
		m = p.bend.Bend(m)
	}
	_, _ = p.conn.WriteToUDPAddrPort([]byte(m), to)
	p.sent.Add(1)
}

// Harass sends some of what has been seen between nodes of the core, bent, to
// whichever node.
func (p *Peer) Harass(n int) {
	at := p.targets.Load()
	if at == nil || len(*at) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for range n {
		p.send(p.bend.Bend(p.bend.Seen()), (*at)[p.bend.rng.IntN(len(*at))], 1)
	}
}

// Learn gives the Peer a message to harass others with.
func (p *Peer) Learn(m string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bend.Learn(m)
}
