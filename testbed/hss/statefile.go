package hss

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/identity"
)

// stateFile keeps a sequence number for each private identity over restarts. What
// it holds is at or above every number that was ever used, so that a crash skips
// some numbers and repeats none (TS 33.102 6.3.2: the vector may leave only after).
//
// One goroutine writes; what is asked for meanwhile goes into its next write.
type stateFile struct {
	path string
	wg   sync.WaitGroup

	mu      sync.Mutex
	queue   []queued
	wake    chan struct{}
	closed  bool
	written map[identity.IMPI]aka.SQN // what the file holds
}

type queued struct {
	reservation
	done func(error)
}

// stateDocument is the file's content.
type stateDocument struct {
	Version int                       `json:"version"`
	SQN     map[identity.IMPI]sqnText `json:"sqn"`
}

// sqnText is a sequence number as 12 hexadecimal digits.
type sqnText aka.SQN

func (s sqnText) MarshalText() ([]byte, error) { return []byte(aka.SQN(s).String()), nil }

func (s *sqnText) UnmarshalText(text []byte) error {
	sqn, err := aka.ParseSQN(string(text))
	*s = sqnText(sqn)
	return err
}

const stateVersion = 1

// openState reads the file; one that does not exist is empty.
func openState(path string) (*stateFile, error) {
	f := &stateFile{path: path, wake: make(chan struct{}, 1), written: make(map[identity.IMPI]aka.SQN)}
	b, err := readBounded(path, maxSubscribers)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	var doc stateDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("state file %s cannot be read: %w; restore it, or remove it and let every phone resynchronise", path, err)
	}
	if doc.Version != stateVersion {
		return nil, fmt.Errorf("state file %s has version %d, want %d: it was written by another version of this program", path, doc.Version, stateVersion)
	}
	for impi, sqn := range doc.SQN {
		f.written[impi] = aka.SQN(sqn)
	}
	return f, nil
}

// start begins to write. stop must follow.
func (f *stateFile) start() { f.wg.Go(f.run) }

// reserve calls done from another goroutine, with nil once the file holds r.
func (f *stateFile) reserve(r reservation, done func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		go done(errors.New("the HSS is stopping"))
		return
	}
	f.queue = append(f.queue, queued{r, done})
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// stop writes what is queued and waits. Nothing is reserved afterwards.
func (f *stateFile) stop() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.wake)
	}
	f.mu.Unlock()
	f.wg.Wait()
}

func (f *stateFile) run() {
	for open := true; open; {
		_, open = <-f.wake
		f.mu.Lock()
		batch := f.queue
		f.queue = nil
		f.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		set := make(map[identity.IMPI]aka.SQN, len(batch))
		for _, q := range batch {
			set[q.impi] = q.sqn
		}
		err := f.write(set)
		for _, q := range batch {
			q.done(err)
		}
	}
}

// write replaces the file by what it held and set. On an error the file holds what
// it held before.
func (f *stateFile) write(set map[identity.IMPI]aka.SQN) (err error) {
	f.mu.Lock()
	doc := stateDocument{Version: stateVersion, SQN: make(map[identity.IMPI]sqnText, len(f.written)+len(set))}
	for impi, sqn := range f.written {
		doc.SQN[impi] = sqnText(sqn)
	}
	f.mu.Unlock()
	for impi, sqn := range set {
		doc.SQN[impi] = sqnText(sqn)
	}
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	if err := replaceFile(f.path, append(b, '\n')); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	f.mu.Lock()
	maps.Copy(f.written, set)
	f.mu.Unlock()
	return nil
}

// replaceFile writes beside the file and renames, so that there is always a whole
// one, and returns when the disk has it.
func replaceFile(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		tmp.Close()
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(b); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
