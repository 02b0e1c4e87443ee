//go:build !race

package node

import (
	"io"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A line of Info costs no allocation.
func TestInfoAllocates(t *testing.T) {
	log := zap.New(zapcore.NewCore(newConsole(), zapcore.AddSync(io.Discard), zap.InfoLevel))
	if n := testing.AllocsPerRun(100, func() {
		Info(log, "text", zap.String("a", "b"), zap.Int("c", 1), zap.String("d", "e"), zap.String("f", "g"))
	}); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
	l := Limited{Burst: 1000}
	if n := testing.AllocsPerRun(100, func() {
		l.Info(log, "kind", "text", zap.String("a", "b"), zap.Int("c", 1), zap.String("d", "e"), zap.String("f", "g"))
	}); n != 0 {
		t.Errorf("%.0f allocations of a limited one", n)
	}
}
