package ipsec

import "time"

// Backend holds installed sets and protects what goes between their addresses.
// Its methods may be called from any goroutine.
type Backend interface {
	// Name is "kernel" or "user".
	Name() string
	// Install puts all four associations in, or none: after an error nothing of
	// the set is left. The error says which step failed, and what to do about it.
	// The back end may hold on to s, which does not change any more.
	Install(s *Set) error
	// Extend moves the end of an installed set.
	Extend(id SetID, hard time.Time) error
	// Remove takes a set out. A set that is not there is no error.
	Remove(id SetID) error
	// Stats tells what has gone over a set; false when it is not there.
	Stats(id SetID) (SetStats, bool)
	// Close removes every set.
	Close() error
}

// SAStats is what has gone over one association. Drops are those of the receiver.
type SAStats struct {
	Packets, Octets uint64
	Last            time.Time // of the last packet that was good; zero for none
	BadICV          uint64    // integrity check failed: the keys differ, or the packet was changed
	Replayed        uint64    // its sequence number was used, or is too old
	Malformed       uint64    // good ICV, but no packet within
	Selector        uint64    // decrypted, but for or from other addresses or ports
}

// Dropped returns how many packets were dropped.
func (s SAStats) Dropped() uint64 { return s.BadICV + s.Replayed + s.Malformed + s.Selector }

// SetStats is what has gone over a set, indexed by AtServer and AtClient.
type SetStats struct {
	In, Out [2]SAStats
}
