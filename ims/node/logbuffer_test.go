package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What is in a log file, and when.
func TestLogFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "log")
		log, closer, err := NewLog(LogConfig{File: file, Format: "json"}, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		has := func(when string, want ...string) {
			t.Helper()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(b), "\n"); n != len(want) {
				t.Errorf("%s the file has %d lines, want %q:\n%s", when, n, want, b)
			}
			for _, w := range want {
				if !strings.Contains(string(b), w) {
					t.Errorf("%s the file lacks %q", when, w)
				}
			}
		}
		log.Info("one")
		log.Named("sub").With().Info("two")
		has("at once")
		time.Sleep(logDelay + time.Millisecond)
		synctest.Wait()
		has("half a second later", "one", "two")
		log.Info("three")
		log.Warn("four")
		has("with a warning", "one", "two", "three", "four")
		log.Info("five")
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
		has("after the end", "one", "two", "three", "four", "five")
		time.Sleep(logDelay + time.Millisecond) // the timer finds nothing to do
	})
}

// Lines come faster than the delay: the buffer stays within its bound, and nothing
// is lost or cut.
func TestLogFileManyLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	b := &bufferedFile{f: f}
	line := strings.Repeat("x", 1000) + "\n"
	for range 200 {
		if _, err := b.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if len(b.buf) > logBuffer {
			t.Fatalf("%d octets are held back", len(b.buf))
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != strings.Repeat(line, 200) {
		t.Errorf("the file has %d octets, %v", len(got), err)
	}
}

// A file that takes nothing costs an error with the next line, and no memory.
func TestLogFileBroken(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	b := &bufferedFile{f: f}
	var last error
	for range 200 {
		_, last = b.Write(make([]byte, 1000))
	}
	if last == nil || len(b.buf) > logBuffer {
		t.Errorf("%v with %d octets held back, want an error and at most %d", last, len(b.buf), logBuffer)
	}
	_ = b.Close()
}
