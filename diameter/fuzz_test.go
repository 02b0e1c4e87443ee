package diameter

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// FuzzDecode shows that no octets make the codec panic (the checker lets nothing
// through to it that does), and that what is accepted can be sent on.
func FuzzDecode(f *testing.F) {
	for _, c := range hostile {
		if len(c.frame) < 4096 {
			f.Add(c.frame)
		}
	}
	for _, frame := range harmless {
		if len(frame) < 4096 {
			f.Add(frame)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, fault := testDictionary.Decode(frame)
		sameAsWalker(t, frame, m, fault)
		if fault != nil {
			if strings.HasPrefix(fault.Reason, "decoding failed") {
				t.Fatalf("the codec panicked: %v", fault)
			}
			if fault.AVP != nil {
				NewGroup(fault.AVP).Serialize() // as Failed-AVP
			}
			return
		}
		again, fault := testDictionary.Decode(m.Append(nil))
		if fault != nil {
			t.Fatalf("what was accepted is refused when sent on: %v", fault)
		}
		if len(again.All()) != len(m.All()) {
			t.Fatalf("%d AVPs became %d", len(m.All()), len(again.All()))
		}
		if m.IsRequest() {
			testDictionary.Check(m)
		}
		m.Result()
	})
}

// FuzzFrames shows that a stream, whatever is in it, is cut into frames that
// hold all its octets or ends with an error, in bounded memory.
func FuzzFrames(f *testing.F) {
	f.Add(bytes.Repeat(rawMessage(body(), nil), 3))
	f.Add([]byte{1, 0, 0, 4})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newFrameReader(bytes.NewReader(stream), 4096)
		var kept int
		for {
			frame, fault, err := r.next()
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF && err != errFrame {
					t.Fatal(err)
				}
				return
			}
			if len(frame) < HeaderLen || len(frame) > 4096 || cap(r.buf) > 16<<10 {
				t.Fatalf("frame of %d octets, buffer of %d", len(frame), cap(r.buf))
			}
			if fault == nil {
				kept += len(frame)
			}
			if kept > len(stream) {
				t.Fatal("more octets than there were")
			}
		}
	})
}
