package sip

import (
	"bytes"
	"strings"
	"testing"
)

func poisoning(t *testing.T) {
	before := poison
	poison = true
	t.Cleanup(func() { poison = before })
}

// A Buffer has room for what was asked, and grows beyond that.
func TestBufferRoom(t *testing.T) {
	for _, n := range []int{0, 1, 544, 545, 1120, 1121, 1504, 1505, 2016, 2017, 4064, 4065, 8160, 8161, MaxMessage} {
		b := NewBuffer(n)
		if b.Len() != 0 || cap(b.Bytes()) < n || cap(b.Bytes()) > 2*n+room576 {
			t.Errorf("a Buffer for %d octets has %d, and room for %d", n, b.Len(), cap(b.Bytes()))
		}
		b.Append(strings.Repeat("a", n), "b", "c")
		if got := string(b.Bytes()); got != strings.Repeat("a", n)+"bc" {
			t.Errorf("%d octets and two more have become %d", n, len(got))
		}
		grown := cap(b.Bytes()) > 2*n+room576
		b.Free()
		if again := NewBuffer(n); cap(again.Bytes()) > 2*n+room576 && grown {
			t.Errorf("a Buffer for %d octets that has grown came back", n)
		}
	}
}

// Who reads a Buffer that he has freed finds out.
func TestBufferPoison(t *testing.T) {
	poisoning(t)
	for _, n := range []int{10, 1300, 9000} {
		b := BufferOf(bytes.Repeat([]byte("a"), n))
		kept := b.Bytes()
		b.Free()
		if i := bytes.IndexFunc(kept, func(r rune) bool { return r == 'a' }); i >= 0 {
			t.Errorf("octet %d of %d stands after Free", i, n)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("freed twice, and nobody says so")
				}
			}()
			b.Free()
		}()
	}
	(*Buffer)(nil).Free() // nothing
}

// A Buffer that is shared stands until all have freed it.
func TestBufferShare(t *testing.T) {
	poisoning(t)
	for _, n := range []int{10, 1300, 9000} {
		want := strings.Repeat("a", n)
		b := BufferOf([]byte(want))
		one, two := b.Share(), b.Share()
		b.Free()
		one.Free()
		if string(two.Bytes()) != want {
			t.Errorf("of %d octets that two of three have freed, not all stand", n)
		}
		two.Free()
		if bytes.IndexByte(b.data[:cap(b.data)][:n], 'a') >= 0 {
			t.Errorf("%d octets stand that all have freed", n)
		}
	}
	if (*Buffer)(nil).Share() != nil {
		t.Error("nothing has become something")
	}
}

// A Builder can be used on after Buffer and Bytes; after Free it has nothing, of others
// neither.
func TestBuilderFree(t *testing.T) {
	poisoning(t)
	b := NewRequest("MESSAGE", "sip:b@h").Body("text/plain", "hello")
	one, two := b.Buffer(), b.Buffer()
	three := string(b.Bytes())
	if string(one.Bytes()) != three || string(two.Bytes()) != three || !strings.HasSuffix(three, "5\r\n\r\nhello") {
		t.Errorf("the same message is\n%s\n%s\n%s", one.Bytes(), two.Bytes(), three)
	}
	one.Free()
	if string(two.Bytes()) != three {
		t.Errorf("with the first freed the second is %s", two.Bytes())
	}
	b = NewRequest("MESSAGE", "sip:b@h")
	b.Free()
	other := NewRequest("OPTIONS", "sip:other@h")
	if s := string(b.Bytes()); strings.Contains(s, "OPTIONS") || strings.Contains(s, "MESSAGE") {
		t.Errorf("a freed Builder has %q", s)
	}
	b.Free() // does no harm
	if s := string(other.Bytes()); !strings.HasPrefix(s, "OPTIONS sip:other@h SIP/2.0\r\n") {
		t.Errorf("another Builder has %q", s)
	}
}

// Writing an edited message into a Buffer is free of allocations.
func TestEditedAllocations(t *testing.T) {
	m, err := Parse(sampleInvite)
	if err != nil {
		t.Fatal(err)
	}
	var e Edits
	e.Prepend(HVia, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
	m.Edited(&e).Free()
	if n := testing.AllocsPerRun(100, func() { m.Edited(&e).Free() }); n > 0 && !raced {
		t.Errorf("%.1f allocations", n)
	}
}
