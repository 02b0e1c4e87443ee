package node

import (
	"io"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Info writes what Logger.Info does, however many fields there are.
func TestInfo(t *testing.T) {
	var got, want strings.Builder
	to := func(w io.Writer) *zap.Logger {
		return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}), zapcore.AddSync(w), zap.InfoLevel))
	}
	for n := range 3 * maxFields {
		var fields []zap.Field
		for i := range n {
			fields = append(fields, zap.Int(string(rune('a'+i)), i))
		}
		Info(to(&got), "text", fields...)
		to(&want).Info("text", fields...)
	}
	if got.String() != want.String() {
		t.Errorf("%s\nwant\n%s", got.String(), want.String())
	}
	if list := fieldLists.Get().(*[maxFields]zap.Field); *list != [maxFields]zap.Field{} {
		t.Error("a list holds on to what was written")
	}
	quiet := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(io.Discard), zap.ErrorLevel))
	Info(quiet, "text", zap.String("a", "b")) // and nothing where the level says so
}

// A line that is written while another one is does not take its fields.
func TestInfoWithinInfo(t *testing.T) {
	var got strings.Builder
	inner := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(&got), zap.InfoLevel))
	outer := zap.New(within{inner.Core(), func() { Info(inner, "text", zap.Int("b", 2)) }})
	for range 100 { // the pool keeps not all that it gets
		got.Reset()
		Info(outer, "text", zap.Int("a", 1))
		if want := "{\"b\":2}\n{\"a\":1}\n"; got.String() != want {
			t.Fatalf("%swant\n%s", got.String(), want)
		}
	}
}

// within does something before it writes.
type within struct {
	zapcore.Core
	first func()
}

func (w within) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.AddCore(e, w)
}

func (w within) Write(e zapcore.Entry, fields []zapcore.Field) error {
	w.first()
	return w.Core.Write(e, fields)
}
