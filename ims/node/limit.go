package node

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Limited writes at most Burst lines of one kind in each Every, so that bad
// input from outside cannot fill a disk; the line after a pause says how many
// were left out. The zero value allows 10 lines a second.
type Limited struct {
	Every time.Duration
	Burst int

	mu    sync.Mutex
	kinds map[string]*window
}

type window struct {
	start   time.Time
	written int
	left    int
}

// maxKinds bounds the table: kinds are fixed words of the code, never input. Should there
// be more, they share a window.
const maxKinds = 256

// Warn logs msg at level warn unless kind has had its share.
func (l *Limited) Warn(log *zap.Logger, kind, msg string, fields ...zap.Field) {
	l.Log(log, zapcore.WarnLevel, kind, msg, fields...)
}

// Log is Warn at a level of the caller's.
func (l *Limited) Log(log *zap.Logger, level zapcore.Level, kind, msg string, fields ...zap.Field) {
	left, ok := l.allow(kind, time.Now())
	if !ok {
		return
	}
	if left > 0 {
		fields = append(fields, zap.Int("lines_left_out", left))
	}
	log.Log(level, msg, fields...)
}

// Info is Log at level info, for lines that come with each request: as with [Info] the
// caller's list of fields stays on his stack.
func (l *Limited) Info(log *zap.Logger, kind, text string, fields ...zap.Field) {
	if !log.Core().Enabled(zapcore.InfoLevel) {
		return
	}
	left, ok := l.allow(kind, time.Now())
	if !ok {
		return
	}
	if left > 0 {
		fields = append(fields, zap.Int("lines_left_out", left))
	}
	Info(log, text, fields...)
}

func (l *Limited) allow(kind string, now time.Time) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	every, burst := l.Every, l.Burst
	if every <= 0 {
		every = time.Second
	}
	if burst <= 0 {
		burst = 10
	}
	w := l.kinds[kind]
	if w == nil {
		if l.kinds == nil {
			l.kinds = make(map[string]*window)
		}
		if len(l.kinds) >= maxKinds {
			kind = ""
		}
		if w = l.kinds[kind]; w == nil {
			w = &window{start: now}
			l.kinds[kind] = w
		}
	}
	if now.Sub(w.start) >= every {
		left, w.left = w.left, 0
		w.start, w.written = now, 0
	}
	if w.written >= burst {
		w.left++
		return 0, false
	}
	w.written++
	return left, true
}
