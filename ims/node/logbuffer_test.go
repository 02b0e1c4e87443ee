package node

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
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

// disk is a file on a disk with so much room.
type disk struct {
	bytes.Buffer
	room int
}

func (d *disk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.Buffer.Write(p[:n])
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) Close() error { return nil }

// logOnDisk logs to a disk without room.
func logOnDisk(t *testing.T, c LogConfig) (*zap.Logger, *bufferedFile, *disk) {
	t.Helper()
	c.File = filepath.Join(t.TempDir(), "log")
	log, closer, err := NewLog(c, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	out, d := closer.(*bufferedFile), &disk{}
	_ = out.f.Close()
	out.f = d
	return log, out, d
}

// A disk is full for a while: what it does not take is counted, and told of in the file
// when there is room again; the line within which it ended goes on there.
func TestLogFileOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out, d := logOnDisk(t, LogConfig{Format: "json"})
		wait := func() {
			time.Sleep(logDelay + time.Millisecond)
			synctest.Wait()
		}
		log.Info("one")
		d.room = len(out.buf) * 3 / 2
		log.Info("two")
		log.Info("three")
		wait()
		for range 3 {
			log.Info("lost")
			wait()
		}
		if got, kept := out.Lost(), len(out.buf); got != 4 || kept > d.Len() {
			t.Errorf("%d lines are lost, want 4; %d octets are held back", got, kept)
		}
		d.room = 1 << 20
		log.Info("four")
		wait()
		log.Info("five")
		if err := out.Close(); err != nil {
			t.Error(err)
		}
		var got []string
		for line := range strings.Lines(d.String()) {
			var l struct {
				Msg, Error string
				Lines      int
				All        int `json:"lines_in_all"`
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			got = append(got, l.Msg)
			if l.Error != "" && (l.Lines != 4 || l.All != 4 || l.Error != syscall.ENOSPC.Error()) {
				t.Errorf("the line that tells of it: %s", line)
			}
		}
		if want := []string{"one", "two", "four", "log lines are missing here: the file could not be written, and can be again", "five"}; !slices.Equal(got, want) {
			t.Errorf("the file holds %q, want %q", got, want)
		}
	})
}

// Whatever the level, and if it is the last that is written: the file says that lines are
// missing.
func TestLogFileTellsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out, d := logOnDisk(t, LogConfig{Level: "error"})
		log.Error("lost")
		d.room = 1 << 20
		log.Error("kept")
		if got := d.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "log lines are missing here") {
			t.Errorf("the file holds %q", got)
		}
		d.room = 0
		log.Error("lost")
		d.room = 1 << 20
		_, _ = out.Write([]byte("the last\n"))
		if err := out.Close(); err != nil {
			t.Error(err)
		}
		if got := d.String(); strings.Count(got, "log lines are missing here") != 2 {
			t.Errorf("the file holds %q", got)
		}
	})
}

// A file that takes nothing costs an error a try, and no memory.
func TestLogFileBroken(t *testing.T) { synctest.Test(t, testLogFileBroken) }

func testLogFileBroken(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	b := &bufferedFile{f: f}
	line := append(make([]byte, 999), '\n')
	complaints := 0
	for range 200 {
		if _, err := b.Write(line); err != nil {
			complaints++
		}
	}
	if err := b.Sync(); err == nil {
		t.Error("a file that is closed has taken lines")
	}
	if tries := 200 * len(line) / logBuffer; complaints != tries || len(b.buf) != 0 || b.Lost() != 200 {
		t.Errorf("%d complaints of %d tries, %d octets held back, %d lines lost of 200", complaints, tries, len(b.buf), b.Lost())
	}
	_ = b.Close()
}
