package transaction

import "time"

// Timers are the base values of RFC 3261 table 4 for one leg. All other timers
// (A, B, D to M) follow from them.
type Timers struct {
	T1 time.Duration // round-trip estimate
	T2 time.Duration // longest retransmission interval
	T4 time.Duration // longest time a message stays in the network

	// B and F are how long a client transaction waits for its first and for its
	// final response. 0 means 64·T1.
	B, F time.Duration

	// TimerC is how long a proxy waits for the final response to an INVITE
	// after the last provisional (RFC 3261 §16.6 item 11: more than 3 min). The
	// machines do not use it; it is here because it belongs to the leg.
	TimerC time.Duration
}

// minTimerD is the floor of Timer D on unreliable transports (RFC 3261 §17.1.1.2).
const minTimerD = 32 * time.Second

// DefaultTimers are the values of RFC 3261, used between core nodes.
func DefaultTimers() Timers {
	return Timers{T1: 500 * time.Millisecond, T2: 4 * time.Second, T4: 5 * time.Second, TimerC: 181 * time.Second}
}

// GmTimers are the values between UE and P-CSCF (TS 24.229 table 7.7.1).
func GmTimers() Timers {
	return Timers{T1: 2 * time.Second, T2: 16 * time.Second, T4: 17 * time.Second, TimerC: 181 * time.Second}
}

// orDefault fills what is not set from DefaultTimers.
func (t Timers) orDefault() Timers {
	d := DefaultTimers()
	if t.T1 <= 0 {
		t.T1 = d.T1
	}
	if t.T2 <= 0 {
		t.T2 = d.T2
	}
	if t.T4 <= 0 {
		t.T4 = d.T4
	}
	if t.TimerC <= 0 {
		t.TimerC = d.TimerC
	}
	return t
}

func (t *Timers) timeout() time.Duration { return 64 * t.T1 } // H, J, L, M

func (t *Timers) b() time.Duration {
	if t.B > 0 {
		return t.B
	}
	return t.timeout()
}

func (t *Timers) f() time.Duration {
	if t.F > 0 {
		return t.F
	}
	return t.timeout()
}

func (t *Timers) d() time.Duration { return max(t.timeout(), minTimerD) }

// trying is how long a client's Timer E takes to be reset to T2: until then a
// non-INVITE request gets no 100, then it must get one (RFC 4320 §4.1). 3.5 s
// with the default values, 14 s on Gm.
func (t *Timers) trying() time.Duration {
	var sum time.Duration
	for e := t.T1; e < t.T2; e *= 2 {
		sum += e
	}
	return max(sum, t.T1)
}
