package dialog

import "testing"

// A NOTIFY that has been answered is not held for as long as its subscription lasts.
func TestNotifierLetsGo(t *testing.T) {
	n := &Notifier{busy: true, queue: []notify{{body: Part{Type: "application/reginfo+xml", Body: "first"}}}}
	n.answered(n.queue[0], Outcome{Status: 200})
	if n.queue != nil {
		t.Errorf("%d places for NOTIFYs are held, want none", cap(n.queue))
	}
}
