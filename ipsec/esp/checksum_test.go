package esp

import (
	"math/rand/v2"
	"testing"
)

// The sum as RFC 1071 1 defines it.
func plainSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		if sum += w; sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

func TestChecksum(t *testing.T) {
	// The example of RFC 1071 3.
	if got := fold(sum16(0, []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7})); got != 0xddf2 {
		t.Errorf("%04x, want ddf2", got)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32() >> (rng.Uint32() % 9)) // with many ff and 00
			if rng.Uint32()%3 == 0 {
				b[i] = 0xff
			}
		}
		if got, want := fold(sum16(0, b)), plainSum(b); got != want && got != ^want|want { // 0 and ffff are one
			t.Errorf("%x: %04x, want %04x", b, got, want)
		}
	}
}
