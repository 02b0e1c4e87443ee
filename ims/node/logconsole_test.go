package node

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapConsole is the encoder that lines were written with first, and are read as.
func zapConsole() zapcore.Encoder {
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	enc.TimeKey = "time"
	enc.EncodeLevel = zapcore.CapitalLevelEncoder
	return zapcore.NewConsoleEncoder(enc)
}

// Lines are octet for octet those of zap's console encoder.
func TestConsole(t *testing.T) {
	at := time.Date(2026, 11, 28, 18, 7, 9, 45_678_901, time.UTC)
	fields := []zapcore.Field{
		zap.Int("status", 200), zap.String("reason", "O\"K\n\x01é"), zap.Strings("scscf", []string{"sip:a", "sip:b"}),
		zap.Duration("took", 1500*time.Millisecond), zap.Time("when", at), zap.Error(errors.New("broken")), zap.Bool("on", true),
		zap.Any("map", map[string]int{"a": 1}), zap.Namespace("in"), zap.Float64("f", 0.25), zap.Stringer("d", time.Second),
		zap.Dict("dict", zap.Int("x", 1)), zap.Binary("b", []byte{1, 2}), zap.Reflect("nil", nil),
	}
	entries := []zapcore.Entry{
		{Level: zapcore.InfoLevel, Time: at, LoggerName: "pcscf", Message: "register answered"},
		{Level: zapcore.WarnLevel, Time: at.Add(954 * time.Millisecond), Message: "tab\tand\nline"},
		{Level: zapcore.DebugLevel, Time: at.In(time.FixedZone("X", -9000)), LoggerName: "a.b"},
		{Level: zapcore.ErrorLevel, Message: "no time", Stack: "stack\nlines", Caller: zapcore.NewEntryCaller(0, "/x/y/z.go", 7, true)},
		{Level: zapcore.InfoLevel, Time: at.In(time.FixedZone("Y", 3600)), Message: "another zone within the second"},
	}
	got, want := zapcore.Encoder(newConsole()), zapConsole()
	for range 2 { // the second time with fields of With
		for _, e := range entries {
			for n := range len(fields) + 1 {
				g, err := got.EncodeEntry(e, fields[:n])
				if err != nil {
					t.Fatal(err)
				}
				w, err := want.EncodeEntry(e, fields[:n])
				if err != nil {
					t.Fatal(err)
				}
				if g.String() != w.String() {
					t.Errorf("%d fields of %+v:\n%q, want\n%q", n, e, g, w)
				}
				g.Free()
				w.Free()
			}
		}
		got, want = got.Clone(), want.Clone()
		for _, enc := range []zapcore.Encoder{got, want} {
			enc.AddString("function", "pcscf")
		}
	}
}

func BenchmarkConsole(b *testing.B) {
	e := zapcore.Entry{Level: zapcore.InfoLevel, Time: time.Now(), LoggerName: "pcscf", Message: "register answered"}
	fields := []zapcore.Field{
		zap.Int("status", 200), zap.String("reason", "OK"), zap.String("impi", "001010000000001@ims.mnc001.mcc001.3gppnetwork.org"),
		zap.String("impu", "sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org"), zap.String("icid", "abcdefghijklmnop.127.0.0.1"), zap.String("call_id", "0123456789abcdef"),
	}
	for name, enc := range map[string]zapcore.Encoder{"zap": zapConsole(), "ours": newConsole()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				line, err := enc.EncodeEntry(e, fields)
				if err != nil {
					b.Fatal(err)
				}
				line.Free()
			}
		})
	}
}
