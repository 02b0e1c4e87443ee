package esp

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// MemoryConfig says what a network in memory does to IP packets. The zero config
// is perfect, takes no time and has an MTU of 1500.
type MemoryConfig struct {
	MTU int
	// Delay is the time every packet takes.
	Delay time.Duration
	// Loss, Duplicate and Reorder are probabilities, from 0 to 1. A reordered
	// packet takes ReorderBy longer; 0 is 10 ms.
	Loss, Duplicate, Reorder float64
	ReorderBy                time.Duration
	Seed                     uint64
	// Hook sees each IP packet before it travels and may drop it by returning
	// false. It owns no packet, and must not keep or change it.
	Hook func(packet []byte) bool
}

// Memory is a network in memory for tests. Packets longer than its MTU travel as
// fragments. Time is that of package time: in a testing/synctest bubble delays
// cost nothing.
type Memory struct {
	cfg MemoryConfig

	mu     sync.Mutex
	rng    *rand.Rand
	owners map[netip.Addr]*memoryCarrier
	id     uint32
}

// NewMemory makes a network without hosts.
func NewMemory(cfg MemoryConfig) *Memory {
	if cfg.MTU == 0 {
		cfg.MTU = 1500
	}
	if cfg.ReorderBy == 0 {
		cfg.ReorderBy = 10 * time.Millisecond
	}
	return &Memory{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0)), owners: make(map[netip.Addr]*memoryCarrier)}
}

// Carrier attaches a host. Its addresses become known as it uses them.
func (m *Memory) Carrier() Carrier {
	c := &memoryCarrier{net: m}
	c.cond.L = &c.mu
	return c
}

// Inject lets an IP packet travel as if a host had sent it.
func (m *Memory) Inject(packet []byte) { m.travel(append([]byte(nil), packet...)) }

// travel owns packet.
func (m *Memory) travel(packet []byte) {
	p, ok := parseIP(packet)
	if !ok || m.cfg.Hook != nil && !m.cfg.Hook(packet) {
		return
	}
	m.mu.Lock()
	to := m.owners[p.dst]
	copies := 1
	switch {
	case to == nil, m.chance(m.cfg.Loss):
		copies = 0
	case m.chance(m.cfg.Duplicate):
		copies = 2
	}
	delay := m.cfg.Delay
	if m.chance(m.cfg.Reorder) {
		delay += m.cfg.ReorderBy
	}
	m.mu.Unlock()
	for range copies {
		if delay == 0 {
			to.push(packet)
		} else {
			time.AfterFunc(delay, func() { to.push(packet) })
		}
	}
}

// chance draws only where there is something to decide. The caller holds m.mu.
func (m *Memory) chance(p float64) bool { return p > 0 && m.rng.Float64() < p }

// maxMemoryBacklog bounds the octets that wait for a host.
const maxMemoryBacklog = 16 << 20

// memoryCarrier is a host of a network in memory.
type memoryCarrier struct {
	net        *Memory
	reassembly reassembler

	mu     sync.Mutex
	cond   sync.Cond
	queue  [][]byte
	octets int
	closed bool
}

func (*memoryCarrier) Kind() Kind            { return IP }
func (*memoryCarrier) Local() netip.AddrPort { return netip.AddrPort{} }

func (c *memoryCarrier) Claim(a netip.Addr) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.net.owners[a] = c
}

func (c *memoryCarrier) Send(packet []byte, src netip.Addr, dst netip.AddrPort) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	c.net.mu.Lock()
	c.net.id++
	id := c.net.id
	c.net.mu.Unlock()
	ipPackets(packet, src, dst.Addr(), protoESP, id, c.net.cfg.MTU, c.net.travel)
	return nil
}

func (c *memoryCarrier) push(packet []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.octets > maxMemoryBacklog {
		return
	}
	c.queue = append(c.queue, packet)
	c.octets += len(packet)
	c.cond.Signal()
}

func (c *memoryCarrier) Receive(f func(data []byte, src, dst netip.AddrPort)) error {
	var batch [][]byte
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.closed {
			c.cond.Wait()
		}
		if c.closed {
			c.mu.Unlock()
			return nil
		}
		batch, c.queue = c.queue, batch[:0]
		c.octets = 0
		c.mu.Unlock()
		for i, packet := range batch {
			batch[i] = nil
			c.deliver(packet, f)
		}
	}
}

func (c *memoryCarrier) deliver(packet []byte, f func(data []byte, src, dst netip.AddrPort)) {
	p, ok := parseIP(packet)
	if !ok || p.proto != protoESP {
		return
	}
	data := p.payload
	if p.isFragment() {
		if data, ok, _ = c.reassembly.add(p, time.Now()); !ok {
			return
		}
	} else {
		data = append([]byte(nil), data...) // a duplicate shares it
	}
	f(data, netip.AddrPortFrom(p.src, 0), netip.AddrPortFrom(p.dst, 0))
}

func (c *memoryCarrier) Close() error {
	c.net.mu.Lock()
	for a, o := range c.net.owners {
		if o == c {
			delete(c.net.owners, a)
		}
	}
	c.net.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.cond.Broadcast()
	return nil
}
