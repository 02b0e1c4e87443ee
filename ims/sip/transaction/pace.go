package transaction

import "time"

// pace follows how a shard takes its inbox in batches. What lies in a stream's buffer
// has no time of arrival that anybody could ask for, but where a batch follows upon the
// one before it, its messages came while that was being worked on.
type pace struct {
	began, ended int64 // of the last batch, as Layer.Now has it
	since        int64 // end of the batch before the one in hand
	behind       time.Duration
}

// begin notes that a batch is taken.
func (p *pace) begin(now int64) {
	took, gap := p.ended-p.began, now-p.ended
	p.since, p.behind = p.ended, 0
	if gap < took/2 {
		p.behind = time.Duration(took / 2)
	}
	p.began = now
}

func (p *pace) end(now int64) { p.ended = now }

// waited is how long a message has waited until now that was read at came, and had been
// with the kernel for so long when it was, as far as that is known.
func (p *pace) waited(now, came int64, kernel time.Duration) time.Duration {
	if came >= p.since { // what was read before has waited in the inbox ever since
		kernel = max(kernel, p.behind)
	}
	return kernel + time.Duration(now-came)
}
