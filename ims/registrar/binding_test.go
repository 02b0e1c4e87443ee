package registrar

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// some is a binding whose texts are parts of one, as those of a message are.
func some(message string, path int) Binding {
	b := Binding{
		ID: message[:2], IMPI: message[2:5], IMPU: message[5:9], Contact: message[9:14], Params: message[14:20], CallID: message[20:21],
		InstanceID: message[21:23], AccessNetwork: message[23:24], VisitedNetwork: message[24:26], CSeq: 7, Created: time.Unix(1, 0), RegID: 3,
	}
	for i := range path {
		b.Path = append(b.Path, message[i:i+3])
	}
	return b
}

// A copy says what the binding says, and keeps nothing of the message.
func TestACloneHasTextsOfItsOwn(t *testing.T) {
	for path := range 20 {
		message := strings.Clone("abcdefghijklmnopqrstuvwxyz")
		b := some(message, path)
		c := b.Clone()
		if !reflect.DeepEqual(c, b) {
			t.Errorf("%+v has become %+v", b, c)
		}
		begin := uintptr(unsafe.Pointer(unsafe.StringData(message)))
		for _, s := range append([]string{c.ID, c.IMPI, c.IMPU, c.Contact, c.Params, c.CallID, c.InstanceID, c.AccessNetwork, c.VisitedNetwork}, c.Path...) {
			if at := uintptr(unsafe.Pointer(unsafe.StringData(s))); at >= begin && at < begin+uintptr(len(message)) {
				t.Errorf("%q is a part of the message", s)
			}
		}
		if path > 0 && &c.Path[0] == &b.Path[0] {
			t.Error("the Path is the message's")
		}
	}
	b := some("abcdefghijklmnopqrstuvwxyz", 1)
	var c Binding
	if n := testing.AllocsPerRun(100, func() { c = b.Clone() }); n != 2 || c.ID == "" {
		t.Errorf("%v objects, want the texts and the Path", n)
	}
}

// A list is what it was made of, whatever becomes of that.
func TestList(t *testing.T) {
	for _, paths := range [][]int{{}, {0}, {1}, {2}, {1, 1}, {1, 0, 3}} {
		var from, same []Binding
		for _, n := range paths {
			from = append(from, some("abcdefghijklmnopqrstuvwxyz", n))
			same = append(same, some("abcdefghijklmnopqrstuvwxyz", n))
		}
		got := List(from...)
		clear(from)
		if len(got) != len(paths) || len(got) > 0 && !reflect.DeepEqual(got, same) {
			t.Errorf("%v: %+v, want %+v", paths, got, same)
		}
	}
	b := some("abcdefghijklmnopqrstuvwxyz", 1)
	var list []Binding
	if n := testing.AllocsPerRun(100, func() { list = List(b) }); n != 1 || len(list) != 1 {
		t.Errorf("the usual one is %v objects", n)
	}
	if path := append(list[0].Path, "more"); &path[0] == &list[0].Path[0] || &append(list, Binding{})[0] == &list[0] || &list[0].Path[0] == &b.Path[0] {
		t.Error("who adds to it writes into it, or its Path is another's")
	}
}
