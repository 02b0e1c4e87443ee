package aka

import (
	"fmt"
	"time"
)

// TimeBase says what an HSS makes sequence numbers from (TS 33.102 C.1.1).
type TimeBase uint8

const (
	// NotTimeBased counts: SEQ is one more than the last (Profile 2 of C.3.2).
	NotTimeBased TimeBase = iota
	// PartlyTimeBased follows a clock in the lower part of SEQ and counts in
	// bursts (Profile 1 of C.3.1).
	PartlyTimeBased
	// TimeBased follows a clock that each subscriber sees with an offset of their
	// own (Profile 3 of C.3.3).
	TimeBased
)

// Values of the profiles of TS 33.102 C.3.
const (
	defaultINDBits  = 5
	defaultDelta    = 1 << 28
	defaultSEQ2Bits = 24
	defaultD        = 1 << 16
	maxINDBits      = 16
)

// SQNProfile is the scheme by which an HSS makes sequence numbers. The zero value
// is Profile 2 of TS 33.102 C.3; with Base alone set it is Profile 1 or 3.
type SQNProfile struct {
	Base TimeBase
	// INDBits is the length of IND, 1 to 16; 0 means 5. It must be the USIM's.
	INDBits int
	// Delta is the largest step of SEQ that the USIMs accept; 0 means 2^28.
	Delta uint64
	// Resolution is the unit of the clock GLC; 0 means 1 s, for TimeBased 100 ms.
	Resolution time.Duration
	// SEQ2Bits is the length of the part of SEQ that follows the clock; 0 means
	// 24. PartlyTimeBased only.
	SEQ2Bits int
	// D is how far that part may run ahead of the clock in bursts before the clock
	// is taken to have wrapped; 0 means 2^16. PartlyTimeBased only.
	D uint64
}

// SQNState is what an HSS stores of a subscriber, and must have stored before the
// vector leaves. The zero value is that of a new USIM.
type SQNState struct {
	SQN SQN   // SQN_HE: the one used last
	DIF int64 // offset of SEQ from the clock, in its units, 0 before the first; TimeBased only
}

// withDefaults fills in zeros and checks the rest.
func (p SQNProfile) withDefaults() (SQNProfile, error) {
	if p.INDBits == 0 {
		p.INDBits = defaultINDBits
	}
	if p.Delta == 0 {
		p.Delta = defaultDelta
	}
	if p.Resolution == 0 {
		p.Resolution = time.Second
		if p.Base == TimeBased {
			p.Resolution = 100 * time.Millisecond
		}
	}
	if p.SEQ2Bits == 0 {
		p.SEQ2Bits = defaultSEQ2Bits
	}
	if p.D == 0 {
		p.D = defaultD
	}
	switch {
	case p.Base > TimeBased:
		return p, fmt.Errorf("aka: SQN profile has the unknown time base %d", p.Base)
	case p.INDBits < 1 || p.INDBits > maxINDBits:
		return p, &LengthError{"IND", p.INDBits, "1 to 16 bits"}
	case p.Resolution < 0:
		return p, fmt.Errorf("aka: SQN profile has the clock unit %v; it must be positive", p.Resolution)
	case p.SEQ2Bits < 1 || p.SEQ2Bits >= 48-p.INDBits:
		return p, &LengthError{"SEQ2", p.SEQ2Bits, fmt.Sprintf("1 to %d bits", 47-p.INDBits)}
	case p.Base == PartlyTimeBased && p.D >= 1<<p.SEQ2Bits:
		return p, fmt.Errorf("aka: SQN profile has D = %d; it must be less than 2^%d", p.D, p.SEQ2Bits)
	}
	return p, nil
}

// Check says what is wrong with the profile, if anything.
func (p SQNProfile) Check() error {
	_, err := p.withDefaults()
	return err
}

// Next makes the sequence number of the next vector and moves st to it: SEQ grows
// by the profile's rule, IND goes round. It fails, leaving st as it was, with
// ErrSQNExhausted rather than let SEQ wrap, with ErrSQNRange if st is not valid,
// or as Check does.
func (p SQNProfile) Next(st *SQNState, now time.Time) (SQN, error) {
	p, err := p.withDefaults()
	if err != nil {
		return 0, err
	}
	next, err := p.next(*st, now)
	if err != nil {
		return 0, err
	}
	*st = next
	return next.SQN, nil
}

func (p SQNProfile) next(st SQNState, now time.Time) (SQNState, error) {
	if st.SQN > maxSQN {
		return st, ErrSQNRange
	}
	seqHE, ind := p.split(st.SQN)
	seq := seqHE + 1
	switch p.Base {
	case PartlyTimeBased:
		seq = p.partlyTimeBased(seqHE, now)
	case TimeBased:
		glc := p.glc(now)
		if st.DIF == 0 {
			// A clock that has run for years would overtake the USIM's Delta at
			// once: a subscriber's time starts with the first vector.
			st.DIF = int64(seq) - glc
		}
		// Two vectors in one unit of the clock, or a clock that was set back,
		// still need numbers that grow.
		if t := glc + st.DIF; t > int64(seqHE) {
			seq = uint64(t)
		}
	}
	if seq > uint64(maxSQN)>>p.INDBits {
		return st, ErrSQNExhausted
	}
	ind = (ind + 1) & (1<<p.INDBits - 1)
	st.SQN = SQN(seq<<p.INDBits | ind)
	return st, nil
}

// partlyTimeBased is the general scheme of TS 33.102 C.1.1.1, in which
// SEQ = SEQ1‖SEQ2, SEQ2 follows GLC modulo p = 2^SEQ2Bits.
func (p SQNProfile) partlyTimeBased(seqHE uint64, now time.Time) uint64 {
	period := uint64(1) << p.SEQ2Bits
	glc := uint64(p.glc(now)) & (period - 1)
	seq1, seq2 := seqHE>>p.SEQ2Bits, seqHE&(period-1)
	switch {
	case seq2 < glc && glc < seq2+period-p.D+1:
		return seq1<<p.SEQ2Bits | glc
	case glc+p.D-1 < seq2:
		// GLC is far behind, so it has wrapped.
		return (seq1+1)<<p.SEQ2Bits | glc
	default:
		// A burst has brought SEQ2 ahead of GLC, perhaps over a wrap.
		return seqHE + 1
	}
}

// glc is the clock: units since 1970.
func (p SQNProfile) glc(now time.Time) int64 {
	return now.UnixNano() / int64(p.Resolution)
}

// Resynchronise takes over the SQN_MS that VerifyAUTS gave, and says whether it
// changed st. As TS 33.102 6.3.5 has it, SQN_HE stays where the number that would
// be made next is one the USIM accepts.
func (p SQNProfile) Resynchronise(st *SQNState, sqnMS SQN, now time.Time) (changed bool, err error) {
	p, err = p.withDefaults()
	if err != nil {
		return false, err
	}
	if sqnMS > maxSQN {
		return false, ErrSQNRange
	}
	seqMS, _ := p.split(sqnMS)
	if next, err := p.next(*st, now); err == nil {
		if seq, _ := p.split(next.SQN); seq > seqMS && seq-seqMS <= p.Delta {
			return false, nil
		}
	}
	st.SQN = sqnMS
	if p.Base == TimeBased {
		st.DIF = int64(seqMS) - p.glc(now)
	}
	return true, nil
}

func (p SQNProfile) split(s SQN) (seq, ind uint64) {
	return uint64(s) >> p.INDBits, uint64(s) & (1<<p.INDBits - 1)
}
