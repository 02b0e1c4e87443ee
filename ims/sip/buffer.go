package sip

import (
	"sync"
	"sync/atomic"
)

// Buffer has the octets of one message that is to be sent, in memory that is used again.
//
// Whoever made it, or has it by Share, calls Free when he reads Bytes no more, and touches
// it no more after that. Once it is shared its octets stay as they are. What is passed to a
// function as []byte is lent to it until it returns: who needs it for longer copies it. A
// Buffer that is never freed is garbage like any other.
type Buffer struct {
	data  []byte
	class uint8
	users atomic.Int32 // who have not called Free
}

// The room of a Buffer, in octets. With what stands before it, each fills one of the
// sizes in which Go allocates.
const (
	bufferHead = 32
	room576    = 576 - bufferHead
	room1152   = 1152 - bufferHead
	room1536   = 1536 - bufferHead
	room2048   = 2048 - bufferHead
	room4096   = 4096 - bufferHead
	room8192   = 8192 - bufferHead
)

var rooms = [...]int{room576, room1152, room1536, room2048, room4096, room8192}

// buffers are those that are free, by room. What a burst has left goes with the next
// collections.
var buffers [len(rooms)]sync.Pool

// NewBuffer returns an empty Buffer with room for n octets. One of more than 8 KiB is not
// used again.
func NewBuffer(n int) *Buffer {
	class := 0
	for class < len(rooms) && n > rooms[class] {
		class++
	}
	if class == len(rooms) {
		return (&Buffer{data: make([]byte, 0, n), class: uint8(class)}).Share()
	}
	b, ok := buffers[class].Get().(*Buffer)
	if !ok {
		b = makeBuffer(class)
	}
	return b.Share()
}

// BufferOf returns a Buffer with a copy of data.
func BufferOf(data []byte) *Buffer {
	b := NewBuffer(len(data))
	b.data = append(b.data, data...)
	return b
}

// makeBuffer allocates a Buffer and its room together.
func makeBuffer(class int) *Buffer {
	var b *Buffer
	switch rooms[class] {
	case room576:
		m := new(struct {
			Buffer
			room [room576]byte
		})
		b, m.data = &m.Buffer, m.room[:0]
	case room1152:
		m := new(struct {
			Buffer
			room [room1152]byte
		})
		b, m.data = &m.Buffer, m.room[:0]
	case room1536:
		m := new(struct {
			Buffer
			room [room1536]byte
		})
		b, m.data = &m.Buffer, m.room[:0]
	case room2048:
		m := new(struct {
			Buffer
			room [room2048]byte
		})
		b, m.data = &m.Buffer, m.room[:0]
	case room4096:
		m := new(struct {
			Buffer
			room [room4096]byte
		})
		b, m.data = &m.Buffer, m.room[:0]
	case room8192:
		m := new(struct {
			Buffer
			room [room8192]byte
		})
		b, m.data = &m.Buffer, m.room[:0]
	}
	b.class = uint8(class)
	return b
}

// Bytes returns what is in the Buffer, for as long as it is not freed; nil of nil.
func (b *Buffer) Bytes() []byte {
	if b == nil {
		return nil
	}
	return b.data
}

// Append appends texts.
func (b *Buffer) Append(texts ...string) {
	for _, s := range texts {
		b.data = append(b.data, s...)
	}
}

// Len is how many octets are in it.
func (b *Buffer) Len() int { return len(b.Bytes()) }

// Share returns the Buffer for somebody else, who frees it, too; of nil it does nothing.
func (b *Buffer) Share() *Buffer {
	if b != nil {
		b.users.Add(1)
	}
	return b
}

// Free gives the Buffer back when all who have it have freed it; of nil it does nothing.
// Nobody may free it twice, which tests find out as long as nobody else has the Buffer. Its
// octets are overwritten, as they may have been keys.
func (b *Buffer) Free() {
	if b == nil {
		return
	}
	switch n := b.users.Add(-1); {
	case n > 0:
		return
	case n < 0:
		if b.users.Store(0); poison {
			panic("sip: a buffer is freed twice")
		}
		return
	}
	wipe(b.data)
	// One that has grown beyond its room is garbage.
	if int(b.class) < len(rooms) && cap(b.data) == rooms[b.class] {
		b.data = b.data[:0]
		buffers[b.class].Put(b)
	}
}

// wipe overwrites what is given back.
func wipe(data []byte) {
	if !poison {
		clear(data)
		return
	}
	for i := range data {
		data[i] = poisoned
	}
}

// poisoned is what a freed Buffer is full of where that is asked for.
const poisoned = 0xDB

// poison has freed Buffers overwritten, so that who still reads them is found out: always
// with the race detector.
var poison = raced

// PoisonBuffers is for tests without the race detector. It must be called before anything
// is sent, in TestMain.
func PoisonBuffers() { poison = true }
