package aka

// SQNVerdict is what a USIM thinks of a sequence number.
type SQNVerdict uint8

const (
	// SQNAccepted is a fresh one.
	SQNAccepted SQNVerdict = iota
	// SQNNotFresh is one that was used, or is older than the last with its IND.
	SQNNotFresh
	// SQNTooFarAhead is a step of more than Δ.
	SQNTooFarAhead
	// SQNTooOld is one behind the highest by L or more.
	SQNTooOld
)

func (v SQNVerdict) String() string {
	switch v {
	case SQNAccepted:
		return "accepted"
	case SQNNotFresh:
		return "not fresh: used before, or older than the last with the same IND"
	case SQNTooFarAhead:
		return "too far ahead: the step is more than delta"
	case SQNTooOld:
		return "too old: behind the highest by the limit L or more"
	}
	return "unknown"
}

// SQNArrayOptions say how a USIM verifies. Zeros are the values of TS 33.102 C.3.
type SQNArrayOptions struct {
	INDBits int    // length of IND, 1 to 16; 0 means 5, an array of 32
	Delta   uint64 // largest accepted step of SEQ; 0 means 2^28
	Limit   uint64 // L: how old a SEQ may be; 0 means no limit
}

// SQNArray is a USIM's memory of accepted sequence numbers: the highest SEQ for
// each IND, so that vectors used out of order are still accepted (TS 33.102 C.2).
type SQNArray struct {
	opt SQNArrayOptions
	seq []uint64 // SEQ_MS(i)
	max int      // the index of SEQ_MS, the highest
}

// NewSQNArray makes the memory of a USIM whose SQN_MS is start: of a new one with
// start 0. It fails with a *LengthError for INDBits, or ErrSQNRange.
func NewSQNArray(start SQN, opt SQNArrayOptions) (*SQNArray, error) {
	if opt.INDBits == 0 {
		opt.INDBits = defaultINDBits
	}
	if opt.INDBits < 1 || opt.INDBits > maxINDBits {
		return nil, &LengthError{"IND", opt.INDBits, "1 to 16 bits"}
	}
	if opt.Delta == 0 {
		opt.Delta = defaultDelta
	}
	if start > maxSQN {
		return nil, ErrSQNRange
	}
	a := &SQNArray{opt: opt, seq: make([]uint64, 1<<opt.INDBits)}
	for i := range a.seq {
		a.seq[i] = uint64(start) >> opt.INDBits
	}
	a.max = int(uint64(start) & (1<<opt.INDBits - 1))
	return a, nil
}

// Accept says whether sqn is fresh, and remembers it if it is (TS 33.102 C.2.1 to
// C.2.3: Δ and L come before freshness).
func (a *SQNArray) Accept(sqn SQN) SQNVerdict {
	if sqn > maxSQN {
		return SQNTooFarAhead
	}
	seq := uint64(sqn) >> a.opt.INDBits
	i := int(uint64(sqn) & (1<<a.opt.INDBits - 1))
	seqMS := a.seq[a.max]
	switch {
	case seq > seqMS && seq-seqMS > a.opt.Delta:
		return SQNTooFarAhead
	case a.opt.Limit != 0 && seq < seqMS && seqMS-seq >= a.opt.Limit:
		return SQNTooOld
	case seq <= a.seq[i]:
		return SQNNotFresh
	}
	a.seq[i] = seq
	if seq > seqMS {
		a.max = i
	}
	return SQNAccepted
}

// SQNMS is the highest accepted sequence number, which AUTS carries.
func (a *SQNArray) SQNMS() SQN {
	return SQN(a.seq[a.max]<<a.opt.INDBits | uint64(a.max))
}
