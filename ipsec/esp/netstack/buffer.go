package netstack

import (
	"net/netip"
	"sync"
	"unsafe"
)

// buffers hold datagrams that wait for a reader: most SIP messages fit into 2 KiB,
// nearly all into 8.
var buffers = [...]*sync.Pool{newPool(2 << 10), newPool(8 << 10), newPool(64 << 10)}

func newPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}
}

// poolFor returns the pool whose buffers are just long enough for n octets.
func poolFor(n int) *sync.Pool {
	switch {
	case n <= 2<<10:
		return buffers[0]
	case n <= 8<<10:
		return buffers[1]
	}
	return buffers[2]
}

// datagram is one that waits, in a buffer of its own.
type datagram struct {
	from netip.AddrPort
	n    int
	buf  *[]byte
}

func keep(from netip.AddrPort, payload []byte) datagram {
	d := datagram{from, len(payload), poolFor(len(payload)).Get().(*[]byte)}
	copy(*d.buf, payload)
	return d
}

func (d *datagram) payload() []byte { return (*d.buf)[:d.n] }

// cost is the memory that it takes.
func (d *datagram) cost() int { return len(*d.buf) + int(unsafe.Sizeof(*d)) }

func (d *datagram) release() {
	poolFor(len(*d.buf)).Put(d.buf)
	d.buf = nil
}
