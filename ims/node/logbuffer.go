package node

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

const (
	// logBuffer is how much of a log file is held back at most, and logDelay for how
	// long: a write to a file costs more than all else that a line takes.
	logBuffer = 64 << 10
	logDelay  = 500 * time.Millisecond
)

// fileCore writes lines to a file, those below a warning with a delay. Copies made by
// With share the file.
type fileCore struct {
	zapcore.Core
	out *bufferedFile
}

func (c *fileCore) With(fields []zapcore.Field) zapcore.Core {
	return &fileCore{c.Core.With(fields), c.out}
}

func (c *fileCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write lets a warning, and what came before it, reach the file at once: it may be
// the last that the service says.
func (c *fileCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	err := c.Core.Write(e, fields)
	if e.Level >= zapcore.WarnLevel {
		return errors.Join(err, c.out.Sync())
	}
	return err
}

// bufferedFile gathers what is written to a file. A disk that is full costs lines, which
// are counted, and no memory; when there is room again the file says so.
type bufferedFile struct {
	mu      sync.Mutex
	f       io.WriteCloser
	buf     []byte
	waiting bool // a timer will write
	closed  bool

	cut    bool   // the file ends within a line, whose rest is the first of buf
	lost   uint64 // lines that the file has not taken
	untold uint64 // of them those that nobody has been told of
	back   bool   // and now it takes lines again
	why    error  // it did not
	err    error  // the same, until the next to write has heard of it
	// tell writes down what was lost; nil for nobody.
	tell func(lines, all uint64, why error)
}

// Lost counts the lines that the file has not taken.
func (b *bufferedFile) Lost() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

// Write takes p, and tells whether the file took what was written before.
func (b *bufferedFile) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.unlock()
	if len(b.buf)+len(p) > logBuffer {
		b.flush()
	}
	if b.buf = append(b.buf, p...); b.closed {
		b.flush()
	} else if !b.waiting {
		b.waiting = true
		time.AfterFunc(logDelay, b.late)
	}
	return len(p), b.complaint()
}

func (b *bufferedFile) late() {
	b.mu.Lock()
	defer b.unlock()
	b.waiting = false
	b.flush()
}

// flush writes what was gathered. Of what the file does not take it keeps the rest of a
// line that has been begun.
func (b *bufferedFile) flush() {
	if len(b.buf) == 0 {
		return
	}
	n, err := b.f.Write(b.buf)
	rest := b.buf[n:]
	if err != nil {
		b.err, b.why, b.back = err, err, false
		if n > 0 {
			b.cut = b.buf[n-1] != '\n'
		}
		keep := 0
		if b.cut {
			keep = bytes.IndexByte(rest, '\n') + 1
		}
		lines := uint64(bytes.Count(rest[keep:], []byte{'\n'}))
		b.lost += lines
		b.untold += lines
		rest = rest[:keep]
	} else {
		b.cut, b.back = false, true
	}
	if cap(b.buf) > 2*logBuffer {
		b.buf = nil
	}
	b.buf = append(b.buf[:0], rest...)
}

// complaint is what is wrong with the file, told once for each try: who is told writes it
// down somewhere, and lines come fast.
func (b *bufferedFile) complaint() (err error) {
	err, b.err = b.err, nil
	return err
}

// unlock has it written down when lines were lost and the file takes them again.
func (b *bufferedFile) unlock() {
	lines, all, why, tell := b.untold, b.lost, b.why, b.tell
	if lines == 0 || !b.back || b.closed {
		tell = nil
	}
	if tell != nil {
		b.untold = 0
	}
	b.mu.Unlock()
	if tell != nil {
		tell(lines, all, why)
	}
}

// Sync writes what was gathered.
func (b *bufferedFile) Sync() error {
	b.mu.Lock()
	defer b.unlock()
	b.flush()
	return b.complaint()
}

// Close writes what was gathered, and what is to be told of lines that were lost, and
// closes the file.
func (b *bufferedFile) Close() error {
	b.mu.Lock()
	b.flush()
	b.unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.flush()
	return errors.Join(b.complaint(), b.f.Close())
}
