package pcscf

import "sync"

// worker does one thing after the other on a goroutine of its own, so that whoever
// asks need not wait. It runs only while there is something to do.
type worker struct {
	mu      sync.Mutex
	todo    []func()
	running bool
	closed  bool
	idle    sync.WaitGroup
}

// do queues f, unless the worker is closed.
func (w *worker) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.todo = append(w.todo, f)
	if !w.running {
		w.running = true
		w.idle.Go(w.run)
	}
}

func (w *worker) run() {
	for {
		w.mu.Lock()
		if len(w.todo) == 0 {
			w.running, w.todo = false, nil
			w.mu.Unlock()
			return
		}
		f := w.todo[0]
		w.todo[0] = nil
		w.todo = w.todo[1:]
		w.mu.Unlock()
		f()
	}
}

// close finishes what is queued and takes no more.
func (w *worker) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.idle.Wait()
}
