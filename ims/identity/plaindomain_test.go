package identity

import (
	"math/rand/v2"
	"testing"

	"github.com/gocscf/gocscf/ims/uri"
)

// What is taken for a domain name without a closer look, the closer look takes, too.
func TestPlainDomain(t *testing.T) {
	const letters = "ab19.-_A:"
	plain := 0
	for range 100_000 {
		b := make([]byte, 1+rand.IntN(6))
		for i := range b {
			b[i] = letters[rand.IntN(len(letters))]
		}
		if !plainDomain(string(b)) {
			continue
		}
		plain++
		if _, err := uri.Parse("sip:" + string(b)); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
	}
	if plain < 1000 || plainDomain("") {
		t.Errorf("%d of 100000 are plain", plain)
	}
}
