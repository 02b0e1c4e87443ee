package node

import (
	"os"
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

func (c fileCore) With(fields []zapcore.Field) zapcore.Core {
	return fileCore{c.Core.With(fields), c.out}
}

func (c fileCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write lets a warning, and what came before it, reach the file at once: it may be
// the last that the service says.
func (c fileCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	err := c.Core.Write(e, fields)
	if e.Level >= zapcore.WarnLevel {
		return c.out.Sync()
	}
	return err
}

// bufferedFile gathers what is written to a file.
type bufferedFile struct {
	mu      sync.Mutex
	f       *os.File
	buf     []byte
	waiting bool // a timer will write
	closed  bool
	err     error // of the last write to the file, told with the next to us
}

// Write takes p, and tells whether the file took what was written before.
func (b *bufferedFile) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.buf)+len(p) > logBuffer {
		b.flush()
	}
	if b.buf = append(b.buf, p...); b.closed {
		b.flush()
	} else if !b.waiting {
		b.waiting = true
		time.AfterFunc(logDelay, b.late)
	}
	return len(p), b.err
}

func (b *bufferedFile) late() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = false
	b.flush()
}

// flush writes what was gathered. A disk that is full loses lines, and no memory.
func (b *bufferedFile) flush() {
	if len(b.buf) == 0 {
		return
	}
	_, b.err = b.f.Write(b.buf)
	if b.buf = b.buf[:0]; cap(b.buf) > 2*logBuffer {
		b.buf = nil
	}
}

// Sync writes what was gathered.
func (b *bufferedFile) Sync() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
	return b.err
}

// Close writes what was gathered and closes the file.
func (b *bufferedFile) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.flush()
	return b.f.Close()
}
