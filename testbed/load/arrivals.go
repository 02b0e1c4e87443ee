package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Rate is how many operations a second are offered: From at the beginning, changing
// evenly to To at the end of Over; from then on To.
type Rate struct {
	From, To float64
	Over     time.Duration
}

// ParseRate reads "200" or "100..400".
func ParseRate(s string) (Rate, error) {
	from, to, ramp := strings.Cut(s, "..")
	if !ramp {
		to = from
	}
	a, errA := strconv.ParseFloat(from, 64)
	b, errB := strconv.ParseFloat(to, 64)
	if errA != nil || errB != nil || !(a >= 0 && b >= 0) || math.IsInf(a+b, 0) {
		return Rate{}, fmt.Errorf("%q is no rate: want operations a second, as 200 or 100..400", s)
	}
	return Rate{From: a, To: b}, nil
}

// at is the rate after t.
func (r Rate) at(t time.Duration) float64 {
	if r.Over <= 0 || t >= r.Over {
		return r.To
	}
	return r.From + (r.To-r.From)*float64(t)/float64(r.Over)
}

// when is the time by which area operations are due on average: the inverse of the
// integral of at. It is negative if that never comes.
func (r Rate) when(area float64) time.Duration {
	seconds := func(s float64) time.Duration {
		if s < 0 || s > 1e9 || math.IsNaN(s) {
			return -1
		}
		return time.Duration(s * float64(time.Second))
	}
	over := r.Over.Seconds()
	if ramp := (r.From + r.To) / 2 * over; area <= ramp && over > 0 {
		// From·t + slope·t²/2 = area
		slope := (r.To - r.From) / over
		if slope == 0 {
			return seconds(area / r.From)
		}
		return seconds((math.Sqrt(r.From*r.From+2*slope*area) - r.From) / slope)
	} else if over > 0 {
		area -= ramp
	}
	if r.To == 0 {
		return -1
	}
	return seconds(max(over, 0) + area/r.To)
}

// poisson gives the times at which operations are due: a Poisson process of that rate.
type poisson struct {
	rate Rate
	rand *rand.Rand
	area float64
}

func newPoisson(r Rate, seed uint64) *poisson {
	return &poisson{rate: r, rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
}

// next is the next time, since the beginning; negative if there is none any more.
func (p *poisson) next() time.Duration {
	p.area += p.rand.ExpFloat64()
	return p.rate.when(p.area)
}
