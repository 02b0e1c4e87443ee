package dialog

import "testing"

// A NOTIFY that has been answered is not held for as long as its subscription lasts.
func TestNotifierLetsGo(t *testing.T) {
	n := &Notifier{busy: true, queue: []notify{{body: Part{Type: "application/reginfo+xml", Body: "first"}}}}
	n.answered(Outcome{Status: 200})
	if n.queue != nil {
		t.Errorf("%d places for NOTIFYs are held, want none", cap(n.queue))
	}
}

// An ID with the hash of another one is another one.
func TestDialogsOfOneHash(t *testing.T) {
	a, mine := New(Config{}), &Dialog{State: State{CallID: "1", LocalTag: "l", RemoteTag: "r"}}
	a.add(mine)
	a.dialogs[a.hash(key{"2", "l", "r"})] = mine // as if
	if a.find(mine.key()) != mine || a.find(key{"2", "l", "r"}) != nil {
		t.Error("a dialog is not found by its ID, or by another's")
	}
}
