package attack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Interceptor stands between Diameter peers and bends what passes, as a broken HSS
// would. Capabilities, watchdogs and disconnections (RFC 6733 5) pass as they are.
type Interceptor struct {
	ln       net.Listener
	upstream string
	bending  atomic.Int64 // one frame in so many, 0 for none
	bent     atomic.Int64
	ended    atomic.Int64 // connections of peers that had exchanged capabilities
	running  sync.WaitGroup

	mu      sync.Mutex
	rng     *rand.Rand
	conns   map[net.Conn]*sync.Mutex // those of peers that have exchanged capabilities, each with who may write
	opening []net.Conn               // all
	closed  bool
}

// StartInterceptor listens at ip for peers of the HSS at upstream.
func StartInterceptor(ip netip.Addr, upstream netip.AddrPort, seed uint64) (*Interceptor, error) {
	ln, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
	if err != nil {
		return nil, fmt.Errorf("opening the socket of what stands before the HSS: %w", err)
	}
	x := &Interceptor{ln: ln, upstream: upstream.String(), rng: rand.New(rand.NewPCG(seed, 0xd1a)), conns: map[net.Conn]*sync.Mutex{}}
	x.running.Go(x.accept)
	return x, nil
}

// Addr is where peers find it.
func (x *Interceptor) Addr() netip.AddrPort { return x.ln.Addr().(*net.TCPAddr).AddrPort() }

// Bend has one frame in n bent from now on, none with 0.
func (x *Interceptor) Bend(n int) { x.bending.Store(int64(n)) }

// Bent returns how many frames have been bent.
func (x *Interceptor) Bent() int64 { return x.bent.Load() }

// Ended returns how many connections of peers have ended.
func (x *Interceptor) Ended() int64 { return x.ended.Load() }

// Close ends it.
func (x *Interceptor) Close() {
	x.mu.Lock()
	x.closed = true
	for _, c := range x.opening {
		c.Close()
	}
	x.mu.Unlock()
	x.ln.Close()
	x.running.Wait()
}

func (x *Interceptor) accept() {
	for {
		c, err := x.ln.Accept()
		if err != nil {
			return
		}
		x.running.Go(func() { x.serve(c) })
	}
}

func (x *Interceptor) serve(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", x.upstream)
	if err != nil {
		return
	}
	defer up.Close()
	down := new(sync.Mutex)
	x.mu.Lock()
	closed := x.closed
	x.opening = append(x.opening, c, up)
	x.mu.Unlock()
	if closed {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { x.pump(c, up, new(sync.Mutex), 4, func() {}); up.Close() })
	x.pump(up, c, down, 1, func() {
		x.mu.Lock()
		x.conns[c] = down
		x.mu.Unlock()
	})
	c.Close()
	both.Wait()
	x.mu.Lock()
	if x.conns[c] != nil {
		x.ended.Add(1)
	}
	delete(x.conns, c)
	x.opening = slices.DeleteFunc(x.opening, func(o net.Conn) bool { return o == c || o == up })
	x.mu.Unlock()
}

// pump carries frames, those of requests to the HSS bent less often: the
// testbed's HSS is not what is attacked.
func (x *Interceptor) pump(from, to net.Conn, writing *sync.Mutex, seldom int, up func()) {
	for {
		f, err := readFrame(from)
		if err != nil {
			return
		}
		frames, last := [][]byte{f}, false
		if n := int(x.bending.Load()) * seldom; n > 0 && !base(f) {
			frames, last = x.bend(f, n)
		}
		writing.Lock()
		for _, f := range frames {
			_, err = to.Write(f)
		}
		writing.Unlock()
		if err != nil || last {
			return
		}
		if binary.BigEndian.Uint32(f[4:8])&0xffffff == 257 { // the peers have exchanged capabilities
			up()
		}
	}
}

// Inject sends a frame to every peer, as if it came from the HSS. It returns to how
// many.
func (x *Interceptor) Inject(frame []byte) (n int) {
	x.mu.Lock()
	conns := make(map[net.Conn]*sync.Mutex, len(x.conns))
	for c, m := range x.conns {
		conns[c] = m
	}
	x.mu.Unlock()
	for c, m := range conns {
		m.Lock()
		_, err := c.Write(frame)
		m.Unlock()
		if err == nil {
			n++
		}
	}
	return n
}

// Peers returns how many are connected.
func (x *Interceptor) Peers() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.conns)
}

var errFrame = errors.New("no Diameter frame")

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:]) & 0xffffff
	if n < 20 {
		return nil, errFrame
	}
	f := make([]byte, n)
	copy(f, head[:])
	_, err := io.ReadFull(r, f[4:])
	return f, err
}

// base reports whether a frame is of the base protocol.
func base(f []byte) bool { return binary.BigEndian.Uint32(f[8:12]) == 0 }

// bend returns what goes on in place of a frame: itself, n-1 times of n. After one that
// cannot be framed the connection is no good for anything: last.
func (x *Interceptor) bend(f []byte, n int) (frames [][]byte, last bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.rng
	if r.IntN(n) > 0 {
		return [][]byte{f}, false
	}
	x.bent.Add(1)
	b := append([]byte(nil), f...)
	body := len(b) - 20
	switch r.IntN(12) {
	case 0:
		return nil, false
	case 1:
		return [][]byte{f, f}, false
	case 2: // another answer than the one that was asked for
		binary.BigEndian.PutUint32(b[12:], r.Uint32())
	case 3:
		b[4] = byte(r.Uint32()) // flags
	case 4:
		b[7] = byte(r.Uint32()) // command
	case 5:
		if body > 8 { // the length of the first AVP
			b[20+5+r.IntN(3)] = byte(r.Uint32())
		}
	case 6: // ends early
		b = b[:20+r.IntN(body+1)&^3]
		b[1], b[2], b[3] = byte(len(b)>>16), byte(len(b)>>8), byte(len(b))
	case 7: // goes on
		b = append(b, b[20:]...)
		b[1], b[2], b[3] = byte(len(b)>>16), byte(len(b)>>8), byte(len(b))
	case 8:
		if r.IntN(10) == 0 {
			b[1+r.IntN(3)] = byte(r.Uint32())
			last = true
		}
	default:
		for range 1 + r.IntN(8) {
			if body > 0 {
				b[20+r.IntN(body)] = byte(r.Uint32())
			}
		}
	}
	return [][]byte{b}, last
}
