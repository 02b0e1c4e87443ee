package diameter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// errFrame ends a connection whose octets cannot be told apart any more.
var errFrame = errors.New("message length below 20: message boundaries are lost")

// frameBuffer is how many octets are read at once. Frames up to that length are
// handed out where they were read to.
const frameBuffer = 16 << 10

// A frameReader cuts a stream into messages by their length fields.
type frameReader struct {
	r     *bufio.Reader
	limit int
	read  int    // octets of the last frame that are still in r
	buf   []byte // of the last frame that had no room in r, used again for the next
}

func newFrameReader(r io.Reader, limit int) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, frameBuffer), limit: limit}
}

// next returns the next frame, at least a header long and valid until the call
// after. A frame above the bound is skipped: its header alone comes back, with a
// fault to answer. An error ends the stream; errFrame comes with the header if
// the peer sent one.
func (f *frameReader) next() (frame []byte, fault *AVPError, err error) {
	if f.read > 0 {
		_, _ = f.r.Discard(f.read) // it is there
		f.read = 0
	}
	first, err := f.r.Peek(4)
	if err != nil {
		return nil, nil, err
	}
	length := int(first[1])<<16 | int(first[2])<<8 | int(first[3])
	if length < HeaderLen {
		if f.r.Buffered() >= HeaderLen {
			frame, _ = f.r.Peek(HeaderLen)
		}
		return frame, &AVPError{Code: InvalidMessageLength, Reason: fmt.Sprintf("message length %d is shorter than a header", length)}, errFrame
	}
	if length > f.limit {
		frame = f.take(HeaderLen)
		if _, err := io.ReadFull(f.r, frame); err != nil {
			return nil, nil, err
		}
		if _, err := io.CopyN(io.Discard, f.r, int64(length-HeaderLen)); err != nil {
			return nil, nil, err
		}
		return frame, &AVPError{Code: InvalidMessageLength, Reason: fmt.Sprintf(
			"message of %d octets; this node takes %d", length, f.limit)}, nil
	}
	if length <= frameBuffer {
		if frame, err = f.r.Peek(length); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, nil, err
		}
		f.read = length
		return frame, nil, nil
	}
	frame = f.take(length)
	if _, err := io.ReadFull(f.r, frame); err != nil {
		return nil, nil, err
	}
	return frame, nil, nil
}

// more reports whether the frame after the last one is there already.
func (f *frameReader) more() bool {
	rest := f.r.Buffered() - f.read
	if rest < HeaderLen {
		return false
	}
	b, _ := f.r.Peek(f.read + 4)
	b = b[f.read:]
	return rest >= int(b[1])<<16|int(b[2])<<8|int(b[3])
}

// take returns a buffer of n octets. One large message does not pin its size
// for the life of the connection.
func (f *frameReader) take(n int) []byte {
	const keep = 16 << 10
	if cap(f.buf) < n || cap(f.buf) > keep && n <= keep {
		f.buf = make([]byte, max(n, 4096))
	}
	return f.buf[:n]
}
