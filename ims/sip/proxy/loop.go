package proxy

import (
	"hash/maphash"
	"strings"
)

// RFC 5393 4.2: the branch that we put into Via ends in a hash over everything
// of the received request that decides where it goes. When a request comes back
// with one of our Vias and the same hash, nothing has changed since: a loop.
// Another hash is a spiral, which is legal (a call that visits an application
// server comes back with another Route).

// loopMark separates the random part of a branch from the hash. sip.NewBranch
// never makes it.
const loopMark = "~"

// loopSeed is fixed for the life of the process: no one else must recognise our
// hashes, and after a restart no request of before is still on its way.
var loopSeed = maphash.MakeSeed()

const loopDigits = "0123456789abcdefghijklmnopqrstuv"

// loopLen is how many base-32 digits hold 64 bits.
const loopLen = 13

type loopHash uint64

// appendTo writes the hash as it stands in a branch.
func (h loopHash) appendTo(dst []byte) []byte {
	dst = append(dst, loopMark...)
	for i := 0; i < loopLen; i++ {
		dst = append(dst, loopDigits[h&31])
		h >>= 5
	}
	return dst
}

// in reports whether branch ends in h.
func (h loopHash) in(branch string) bool {
	at := len(branch) - loopLen - len(loopMark)
	if at < 0 || branch[at:at+len(loopMark)] != loopMark {
		return false
	}
	for i := 0; i < loopLen; i++ {
		if branch[at+len(loopMark)+i] != loopDigits[h&31] {
			return false
		}
		h >>= 5
	}
	return true
}

// loopHasher folds fields into a hash; the length of each goes in too, so that
// a byte cannot move from one field to the next unseen.
type loopHasher struct{ h uint64 }

func (l *loopHasher) add(s string) {
	l.h = l.h*0x9E3779B97F4A7C15 + maphash.String(loopSeed, s) + uint64(len(s))
	l.h ^= l.h >> 29
}

func (l *loopHasher) sum() loopHash { return loopHash(l.h) }

// cutLoop returns a branch without its loop hash.
func cutLoop(branch string) string {
	head, _, _ := strings.Cut(branch, loopMark)
	return head
}
