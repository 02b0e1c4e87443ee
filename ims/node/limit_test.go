package node

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A limited line of Info has the caller's fields, and the count of what was left out
// since the last one; where nobody reads it, nothing is counted.
func TestLimitedInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		quiet, _ := observer.New(zapcore.WarnLevel)
		l := Limited{Burst: 3}
		for range 5 {
			l.Info(zap.New(quiet), "kind", "unread")
		}
		for range 2 {
			for range 10 {
				l.Info(zap.New(core), "kind", "text", zap.Int("status", 403))
			}
			time.Sleep(time.Second)
		}
		lines := logs.All()
		if len(lines) != 6 {
			t.Fatalf("%d lines, want three in each of two seconds", len(lines))
		}
		for i, line := range lines {
			var left any
			if i == 3 {
				left = int64(7)
			}
			if got := line.ContextMap(); got["status"] != int64(403) || got["lines_left_out"] != left {
				t.Errorf("line %d: %v, want status 403 and lines_left_out %v", i, got, left)
			}
		}
	})
}

// Kinds beyond the table are limited together, and not silent.
func TestLimitedKindsBeyondTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		l, log := Limited{Burst: 1}, zap.New(core)
		for i := range maxKinds {
			l.Warn(log, fmt.Sprint(i), "in the table")
		}
		for range 2 {
			logs.TakeAll()
			l.Warn(log, "one", "beyond it")
			l.Warn(log, "another", "beyond it")
			if got := logs.FilterMessage("beyond it").Len(); got != 1 {
				t.Errorf("%d lines of two kinds beyond the table, want one", got)
			}
			time.Sleep(time.Second)
		}
		if len(l.kinds) > maxKinds+1 {
			t.Errorf("%d kinds are kept", len(l.kinds))
		}
	})
}
