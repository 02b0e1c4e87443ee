package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// reading is all counters at about one moment. The phones' are read before and after
// the services': what a service had done when it was asked lies between.
type reading struct {
	at            time.Time
	before, after load.TrafficCount
	metrics       map[string]series
	lives         map[string]int
	unread        []string // why a service's are not there, each in a sentence
}

func (b *bench) read(ctx context.Context) reading {
	r := reading{at: time.Now(), before: b.traffic.Count(), metrics: map[string]series{}, lives: map[string]int{}}
	for _, name := range services {
		_, r.lives[name] = b.core.of(name)
		m, err := b.core.ask(ctx, name)
		if err != nil {
			r.unread = append(r.unread, r.at.Format("15:04:05")+": "+err.Error())
			continue
		}
		r.metrics[name] = m
	}
	r.after = b.traffic.Count()
	return r
}

// Check is a number that is counted twice or more often, by different hands.
type Check struct {
	What string `json:"what"`
	// Phones is the one hand's count, Service the other's. Where phones are one, the
	// service's must lie between Low and High: requests under way when it was asked may
	// have been counted by it and not yet by the phones.
	Phones  float64  `json:"phones"`
	Service float64  `json:"service"`
	Low     float64  `json:"low"`
	High    float64  `json:"high"`
	Spans   int      `json:"spans"` // of time, each held against the other by itself
	Bad     []string `json:"bad,omitempty"`
}

// add holds one span of time against the other hand.
func (c *Check) add(when string, phones, service, low, high float64) {
	c.Phones, c.Service, c.Low, c.High, c.Spans = c.Phones+phones, c.Service+service, c.Low+low, c.High+high, c.Spans+1
	if (service < low || service > high) && len(c.Bad) < 10 {
		c.Bad = append(c.Bad, fmt.Sprintf("%s: counted %.0f, want %.0f to %.0f", when, service, low, high))
	}
}

// account says which counter of a service must agree with which of the phones'.
type account struct {
	what     string
	requests []string // methods
	status   string   // of their answers; "" is any but 503
	counted  func(m map[string]series) float64
	// life is the service over each of whose lives it holds, faults included; without one
	// it holds between faults alone: in a fault others repeat, ask twice, give up.
	life string
}

func (a *account) calm() bool { return a.life == "" }

func metric(service, name, label string) func(map[string]series) float64 {
	return func(m map[string]series) float64 { return m[service].sum(name, label) }
}

// answeredElse are a P-CSCF's answers but 503: the engine that refuses a request because
// of overload does so before the function sees it.
func answeredElse(m map[string]series) float64 {
	const name = "gocscf_pcscf_registers_total"
	return m[pcscf].sum(name, "") - m[pcscf].sum(name, `status="503"`)
}

// accounts are of registrations, and of the questions that the HSS is asked: UAR for
// each REGISTER, MAR for each challenge, SAR for each registration (TS 29.228 6.1), LIR
// for each request to a user (TS 24.229 5.3.2.1).
func accounts() []account {
	register := []string{"REGISTER"}
	list := []account{
		{"REGISTERs answered 200: phones, P-CSCF", register, "200", metric(pcscf, "gocscf_pcscf_registers_total", `status="200"`), pcscf},
		{"REGISTERs answered 401: phones, P-CSCF", register, "401", metric(pcscf, "gocscf_pcscf_registers_total", `status="401"`), pcscf},
		{"REGISTERs answered, but for 503: phones, P-CSCF", register, "", answeredElse, pcscf},
		{"REGISTERs answered 200: phones, S-CSCF", register, "200", metric(scscf, "gocscf_scscf_registers_total", `status="200"`), ""},
		{"REGISTERs answered 401: phones, S-CSCF", register, "401", metric(scscf, "gocscf_scscf_registers_total", `status="401"`), ""},
		{"REGISTERs answered: phones, UARs answered by the HSS", register, "", metric(hss, "gocscf_hss_answers_total", `command="UAR"`), ""},
		{"challenges: phones, MARs answered by the HSS", register, "401", metric(hss, "gocscf_hss_answers_total", `command="MAR",result="2001"`), ""},
		{"registrations: phones, SARs answered by the HSS", register, "200", metric(hss, "gocscf_hss_answers_total", `command="SAR",result="2001"`), ""},
		{"INVITEs and MESSAGEs: phones, LIRs answered by the HSS", []string{"INVITE", "MESSAGE"}, "", metric(hss, "gocscf_hss_answers_total", `command="LIR"`), ""},
	}
	return list
}

// pairs are the two ends of Cx: who asks, and the HSS; of are the requests for which that
// is done.
var pairs = []struct {
	request, answer, asks string
	of                    []string
}{
	{"UAR", "UAA", icscf, []string{"REGISTER"}},
	{"LIR", "LIA", icscf, []string{"INVITE", "MESSAGE"}},
	{"MAR", "MAA", scscf, []string{"REGISTER"}},
	{"SAR", "SAA", scscf, []string{"REGISTER"}},
}

// tally adds up what was counted of some methods, and what is without an answer.
func tally(c load.TrafficCount, methods []string, status string) (matching, open float64) {
	for _, m := range methods {
		open += float64(c.Requests[m])
		for key, n := range c.Answers {
			if method, s, _ := strings.Cut(key, " "); method == m {
				open -= float64(n)
				if status == "" && s != "503" || s == status {
					matching += float64(n)
				}
			}
		}
	}
	return matching, open
}

// bounds say between what a service's count must lie that counts each such request when
// it answers it: not less than the phones have heard before, not more than all that
// they had asked after.
func bounds(before, after load.TrafficCount, a account) (low, high float64) {
	low, _ = tally(before, a.requests, a.status)
	matching, open := tally(after, a.requests, a.status)
	return low, matching + open
}

// overload says how far refusals for overload let a service's count differ in a span of
// time. A request that is refused on its way is not counted further on: it is answered
// 503, or 500 by a proxy whose next hop says 503 (RFC 3261 16.7). One that is sent again
// while it waits, and then refused, may be let in the second time; its phone hears that
// answer late. If it was the P-CSCF that sent again, because the I-CSCF's 503 was late, then
// the phone hears the 503 alone; and if somebody on the way gave up, then a 504: what S-CSCF
// and HSS have done all the same is in their counts and not in the phone's.
func overload(from, to load.TrafficCount, a account) (less, more float64) {
	count := func(m map[string]uint64, key string) float64 { return float64(m[key]) }
	for _, method := range a.requests {
		refused := count(to.Answers, method+" 503") - count(from.Answers, method+" 503")
		if a.calm() { // it may be refused, or given up, before or after the S-CSCF and the HSS have it
			more += refused + count(to.Answers, method+" 504") - count(from.Answers, method+" 504")
			if a.status == "" {
				less += refused + count(to.Answers, method+" 500") - count(from.Answers, method+" 500")
			}
			continue
		}
		late := 0.0
		for key := range to.Late {
			if m, status, _ := strings.Cut(key, " "); m == method && (status == a.status || a.status == "" && status != "503") {
				late += count(to.Late, key) - count(from.Late, key)
			}
		}
		more += min(refused, late)
	}
	return less, more
}

// book holds the counters of the services against each other's.
type book struct {
	list  []Check
	ways  []Check
	last  reading // when the calm began
	lives map[string]*birth
	// refused are requests between faults, overloads those of them for overload.
	refused, overloads float64
	between            map[string]float64 // what else has failed between faults, by service and series
	unread             []string           // what no reading has
}

// birth is when a service's counters began.
type birth struct {
	life int
	at   load.TrafficCount
}

func (k *book) begin(now reading) {
	k.last, k.unread = now, now.unread
	k.lives, k.between = map[string]*birth{}, map[string]float64{}
	for _, name := range services {
		k.lives[name] = &birth{life: 1}
	}
	for _, a := range accounts() {
		k.list = append(k.list, Check{What: a.what})
	}
	for _, p := range pairs {
		k.ways = append(k.ways, Check{What: p.request + " over Cx: sent by the " + p.asks + ", received by the HSS"}, Check{What: p.answer + " over Cx: sent by the HSS, received by the " + p.asks})
	}
}

// calm takes a reading at the end of a time without a fault.
func (k *book) calm(now reading) {
	k.unread = append(k.unread, now.unread...)
	if same(k.last, now, services) {
		when := k.last.at.Format("15:04:05") + " to " + now.at.Format("15:04:05")
		for i, a := range accounts() {
			if !a.calm() {
				continue
			}
			low0, high0 := bounds(k.last.before, k.last.after, a)
			low1, high1 := bounds(now.before, now.after, a)
			was, _ := tally(k.last.after, a.requests, a.status)
			is, _ := tally(now.after, a.requests, a.status)
			less, more := overload(k.last.before, now.after, a)
			k.list[i].add(when, is-was, a.counted(now.metrics)-a.counted(k.last.metrics), low1-high0-less, high1-low0+more)
		}
		k.cx(when, now)
		grown := map[string]float64{}
		for _, name := range services {
			for full, v := range now.metrics[name] {
				grown[name+": "+full] = v - k.last.metrics[name][full]
			}
		}
		k.refused += refusals(grown)
		k.overloads += overloads(grown)
		for full, v := range grown {
			_, series, _ := strings.Cut(full, ": ")
			if v > 0 && ofFailures(series) {
				k.between[full] += v
			}
		}
	}
	k.last = now
}

// cx holds both ends against each other. What was under way at either reading may have
// been counted at one end only.
func (k *book) cx(when string, now reading) {
	open := func(r reading, methods []string) float64 {
		low, high := bounds(r.before, r.after, account{requests: methods})
		return high - low
	}
	count := func(service, direction, command string) float64 {
		c := metric(service, "gocscf_cx_messages_total", fmt.Sprintf(`command="%s",direction="%s"`, command, direction))
		return c(now.metrics) - c(k.last.metrics)
	}
	for i, p := range pairs {
		slack := open(k.last, p.of) + open(now, p.of)
		sent, got := count(p.asks, "out", p.request), count(hss, "in", p.request)
		k.ways[2*i].add(when, sent, got, sent-slack, sent+slack)
		sent, got = count(hss, "out", p.answer), count(p.asks, "in", p.answer)
		k.ways[2*i+1].add(when, sent, got, sent-slack, sent+slack)
	}
}

// fault notes whose counters have begun anew, and where the calm begins.
func (k *book) fault(f Fault, o *Outcome, now reading) {
	k.unread = append(k.unread, now.unread...)
	for name, life := range now.lives {
		if b := k.lives[name]; b.life != life {
			k.whole(f.Name+" ends a life of the "+name, name, k.last)
			k.lives[name] = &birth{life: life, at: o.broken}
		}
	}
	k.last = now
}

// end takes the last reading.
func (k *book) end(now reading) {
	k.unread = append(k.unread, now.unread...)
	for _, name := range services {
		k.whole("in the end", name, now)
	}
}

// whole holds the counters of a service's life, faults included, against the phones'.
// They begin at zero.
func (k *book) whole(when, service string, now reading) {
	from := k.lives[service].at
	for i, a := range accounts() {
		if a.life != service || now.metrics[service] == nil {
			continue
		}
		was, open := tally(from, a.requests, a.status)
		low, high := bounds(now.before, now.after, a)
		is, _ := tally(now.after, a.requests, a.status)
		_, more := overload(from, now.after, a)
		k.list[i].add(when, is-was, a.counted(now.metrics), low-was-open, high-was+more)
	}
}

func same(a, b reading, names []string) bool {
	for _, n := range names {
		if a.lives[n] != b.lives[n] || a.metrics[n] == nil || b.metrics[n] == nil {
			return false
		}
	}
	return true
}

func (k *book) checks() []Check { return append(slices.Clone(k.list), k.ways...) }
