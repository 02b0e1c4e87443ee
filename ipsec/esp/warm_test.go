package esp

import (
	"bytes"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
)

// More transforms than may have their keys expanded all work, one after the other and
// again, and what they keep is bounded. A key never sees an IV twice, though what it
// was expanded to was thrown away in between.
func TestMoreTransformsThanAreKeptExpanded(t *testing.T) {
	var w warm
	type end struct{ seal, open *Transform }
	all := make([]end, 2*maxWarm)
	ready := func() (n int) {
		for _, e := range all {
			if e.seal != nil && e.seal.ready.Load() != nil {
				n++
			}
		}
		return n
	}
	ivs := make([][][]byte, len(all))
	for range 2 {
		for i := range all {
			p := ipsec.Pairs[i%len(ipsec.Pairs)]
			if all[i].seal == nil {
				all[i].seal, all[i].open = newTransforms(t, p)
				all[i].seal.warm = &w
				w.add(all[i].seal)
			}
			e := all[i]
			buf := make([]byte, 200)
			copy(buf[e.seal.Head():], "SIP")
			packet := e.seal.Seal(buf, 3, protoUDP, 1001, 1)
			if e.seal.icvLen == gcmICVLen {
				iv := bytes.Clone(packet[headerLen:e.seal.Head()])
				for _, was := range ivs[i] {
					if bytes.Equal(was, iv) {
						t.Fatalf("%v: the IV %x comes twice", p, iv)
					}
				}
				ivs[i] = append(ivs[i], iv)
			}
			if got, _, err := e.open.Open(packet); err != nil || string(got) != "SIP" {
				t.Fatalf("%v: %q, %v", p, got, err)
			}
		}
		if n := ready(); n != maxWarm || len(w.ring) != maxWarm {
			t.Errorf("%d are expanded, %d counted, want %d", n, len(w.ring), maxWarm)
		}
	}
	for _, e := range all {
		w.forget(e.seal)
	}
	if n := ready(); n != 0 {
		t.Errorf("%d are expanded after their sets have ended", n)
	}
}

// A packet that was under way when its set ended is opened, and keeps nothing of it.
func TestTheForgottenStayForgotten(t *testing.T) {
	var w warm
	tr, _ := newTransforms(t, ipsec.Pairs[0])
	tr.warm = &w
	w.add(tr)
	w.forget(tr)
	tr.Seal(make([]byte, 200), 3, protoUDP, 1001, 1)
	for _, one := range w.ring {
		if one == tr {
			t.Error("its keys are kept until others need the room")
		}
	}
}

// Who is used again and again is not pushed out by those that come once.
func TestTheUsedStayExpanded(t *testing.T) {
	var w warm
	hot := make([]*Transform, 100)
	buf := make([]byte, 200)
	use := func(tr *Transform) { tr.Seal(buf, 3, protoUDP, 1001, 1) }
	for i := range 3 * maxWarm {
		tr, _ := newTransforms(t, ipsec.Pairs[0])
		tr.warm = &w
		w.add(tr)
		if i < len(hot) {
			hot[i] = tr
		}
		if i%8 == 0 {
			for _, h := range hot[:min(i, len(hot))] {
				if h.ready.Load() == nil {
					t.Fatalf("one that is used all the time was pushed out by the %d-th", i)
				}
				use(h)
			}
		}
	}
}

// BenchmarkExpand is what a packet costs more whose phone was silent for so long that
// others have taken its place among the expanded.
func BenchmarkExpand(b *testing.B) {
	for _, p := range ipsec.Pairs {
		tr, _ := newTransforms(b, p)
		b.Run(p.String(), func(b *testing.B) {
			measure(b, func() {
				if _, err := expand(p, tr.material()); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}
