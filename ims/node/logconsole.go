package node

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// console writes lines as zap's console encoder does, octet for octet, without
// taking time, level and name through interfaces and fmt. zap's own encoder writes
// the fields.
type console struct {
	zapcore.Encoder // with fields alone, without a head and a line end of its own
	stamp           *stamp
}

var lines = buffer.NewPool()

func newConsole() console {
	return console{zapcore.NewConsoleEncoder(zapcore.EncoderConfig{
		SkipLineEnding: true, EncodeDuration: zapcore.SecondsDurationEncoder, EncodeTime: zapcore.ISO8601TimeEncoder,
	}), new(stamp)}
}

// Clone is for With.
func (c console) Clone() zapcore.Encoder { return console{c.Encoder.Clone(), c.stamp} }

// EncodeEntry writes a line.
func (c console) EncodeEntry(e zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	text, err := c.Encoder.EncodeEntry(zapcore.Entry{}, fields)
	if err != nil {
		return nil, err
	}
	line := lines.Get()
	if !e.Time.IsZero() {
		c.stamp.append(line, e.Time)
		line.AppendByte('\t')
	}
	line.AppendString(e.Level.CapitalString())
	if e.LoggerName != "" {
		line.AppendByte('\t')
		line.AppendString(e.LoggerName)
	}
	if e.Caller.Defined {
		line.AppendByte('\t')
		line.AppendString(e.Caller.TrimmedPath())
	}
	line.AppendByte('\t')
	line.AppendString(e.Message)
	if text.Len() > 0 {
		line.AppendByte('\t')
		_, _ = line.Write(text.Bytes())
	}
	text.Free()
	if e.Stack != "" {
		line.AppendByte('\n')
		line.AppendString(e.Stack)
	}
	line.AppendString(zapcore.DefaultLineEnding)
	return line, nil
}

// stamp writes times in ISO 8601. Within a second only the milliseconds change.
type stamp struct{ last atomic.Pointer[second] }

// second is how a second is written, before and behind its milliseconds.
type second struct {
	unix         int64
	zone         *time.Location
	before, zulu string
}

func (s *stamp) append(line *buffer.Buffer, t time.Time) {
	l := s.last.Load()
	if l == nil || l.unix != t.Unix() || l.zone != t.Location() {
		l = &second{t.Unix(), t.Location(), t.Format("2006-01-02T15:04:05."), t.Format("Z0700")}
		s.last.Store(l)
	}
	line.AppendString(l.before)
	ms := t.Nanosecond() / int(time.Millisecond)
	line.AppendByte('0' + byte(ms/100))
	line.AppendByte('0' + byte(ms/10%10))
	line.AppendByte('0' + byte(ms%10))
	line.AppendString(l.zulu)
}
