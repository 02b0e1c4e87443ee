package sip

import (
	crand "crypto/rand"
	"math/rand/v2"
	"sync"
)

// MagicCookie begins every branch made by RFC 3261 (§8.1.1.7).
const MagicCookie = "z9hG4bK"

// Identifiers are cut from ChaCha8, a cipher used as a generator: the next one
// cannot be told from those before. Each generator has its own seed from the
// operating system; the pool saves a lock that all shards would share.
var generators = sync.Pool{New: func() any {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails: crypto/rand ends the program instead
	return rand.NewChaCha8(seed)
}}

// letters are the digits of an identifier: safe in tokens and in user parts.
const letters = "abcdefghijklmnopqrstuvwxyz234567"

// randomID returns prefix and n letters of 5 random bits each, n ≤ 24.
func randomID(prefix string, n int) string {
	var buf [32]byte
	return string(appendRandom(append(buf[:0], prefix...), n))
}

func appendRandom(b []byte, n int) []byte {
	g := generators.Get().(*rand.ChaCha8)
	for n > 0 {
		bits := g.Uint64()
		for i := 0; i < 12 && n > 0; i++ {
			b = append(b, letters[bits&31])
			bits >>= 5
			n--
		}
	}
	generators.Put(g)
	return b
}

// NewBranch returns a branch: the magic cookie and 120 random bits.
func NewBranch() string { return randomID(MagicCookie, 24) }

// AppendBranch appends a branch to a Via under construction.
func AppendBranch(dst []byte) []byte { return appendRandom(append(dst, MagicCookie...), 24) }

// NewTag returns a tag of 80 random bits; RFC 3261 §19.3 asks for 32.
func NewTag() string { return randomID("", 16) }

// NewCallID returns a Call-ID of 120 random bits, without a host: a Call-ID
// leaves the trust domain and need not tell where it was made.
func NewCallID() string { return randomID("", 24) }
