package transaction

import "sync/atomic"

// Stats are current numbers (gauges) and totals since New (counters).
type Stats struct {
	Servers   int // server transactions in the tables
	Clients   int // client transactions in the tables
	Open      int // of both, those that owe or await something, an ACK included
	Lingering int // of both, those that only absorb retransmissions
	Octets    int // of the requests that server transactions hold
	Past      int // octets that are kept for what lingers, beside the heap but for 1 MiB
	Answers   int // octets that answered transactions keep on the heap to send again
	Timers    int // running, those of Shard.After included
	Queued    int // messages that wait for their shard

	Absorbed    uint64 // retransmissions and ACKs that ended here
	Retransmits uint64 // messages sent again because a timer fired
	Timeouts    uint64 // transactions that ran into timer B, F or H, or were never answered
	Malformed   uint64 // dropped: not a message, or a bad response or ACK
	Overflow    uint64 // dropped: inbox full
	BadRequests uint64 // answered statelessly: malformed
	RateLimited uint64 // dropped: malformed, beyond Config.RejectRate
	Unavailable uint64 // answered 503
	Cut         uint64 // ended early because of Config.MaxLingering or MaxOctets
	Unprotected uint64 // dropped: by another way than their transaction goes, outside of its SAs say
}

// counters is what Stats is taken from.
type counters struct {
	servers, clients, timers, queued                        atomic.Int64
	absorbed, retransmits, timeouts, malformed, overflow    atomic.Uint64
	badRequests, rateLimited, unavailable, cut, unprotected atomic.Uint64
}

// Stats returns the numbers of this moment.
func (l *Layer) Stats() Stats {
	c := &l.count
	return Stats{
		Servers: int(c.servers.Load()), Clients: int(c.clients.Load()),
		Open: int(l.open.Load() + l.unacked.Load()), Lingering: int(l.lingering.Load()),
		Octets: int(l.octets.Load()), Past: int(l.memory.octets.Load()), Answers: int(l.answers.Load()),
		Timers: int(c.timers.Load()), Queued: int(c.queued.Load()),
		Absorbed: c.absorbed.Load(), Retransmits: c.retransmits.Load(), Timeouts: c.timeouts.Load(),
		Malformed: c.malformed.Load(), Overflow: c.overflow.Load(),
		BadRequests: c.badRequests.Load(), RateLimited: c.rateLimited.Load(),
		Unavailable: c.unavailable.Load(), Cut: c.cut.Load(), Unprotected: c.unprotected.Load(),
	}
}
