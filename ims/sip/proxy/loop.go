package proxy

import "hash/maphash"

// RFC 5393 4.2: the branch that we put into Via ends in a hash over everything
// of the received request that decides where it goes. When a request comes back
// with one of our Vias and the same hash, nothing has changed since: a loop.
// Another hash is a spiral, which is legal (a call that visits an application
// server comes back with another Route).
//
// The hash has a seed that each Core draws when it starts: nobody else makes or
// knows ours, so a hash that fits is proof enough that the Via is ours.

// loopMark separates the random part of a branch from the hash. sip.NewBranch
// never makes it.
const loopMark = '~'

const loopDigits = "0123456789abcdefghijklmnopqrstuv"

// loopLen is how many base-32 digits hold 64 bits.
const loopLen = 13

type loopHash uint64

// appendTo writes the hash's digits.
func (h loopHash) appendTo(dst []byte) []byte {
	for range loopLen {
		dst = append(dst, loopDigits[h&31])
		h >>= 5
	}
	return dst
}

// mark is the hash as it stands in a branch.
func (h loopHash) mark() (m [1 + loopLen]byte) {
	h.appendTo(append(m[:0], loopMark))
	return m
}

// loopHasher folds fields into a hash; the length of each goes in too, so that
// a byte cannot move from one field to the next unseen.
type loopHasher struct {
	seed maphash.Seed
	h    uint64
}

func (l *loopHasher) add(s string) {
	l.h = l.h*0x9E3779B97F4A7C15 + maphash.String(l.seed, s) + uint64(len(s))
	l.h ^= l.h >> 29
}

func (l *loopHasher) sum() loopHash { return loopHash(l.h) }
