package chaos

import (
	"slices"
	"strconv"
	"strings"
)

// uncounted are the causes with which a function tells of what another one has refused,
// and has counted, or of what it does not refuse at all.
var uncounted = []string{"home_overloaded", "scscf_overloaded", "icscf_overloaded", "as_skipped", "contact_not_granted"}

// refreshed is the cause of a subscription that is refreshed and not known any more. It
// counts when that is noticed; the failure is laid to the fault that ended the dialog.
const refreshed = "not_in_dialog"

// refusals adds up the requests that services have refused, each once, of what metrics
// have grown by; the keys are a service and a series. But causes are left out. The
// engine counts what it answers without a transaction, and of that once more what it
// refuses for overload; what Cx refuses is refused by the function, as hss_slow.
func refusals(grown map[string]float64, but ...string) (n float64) {
	over, rejected := map[string]float64{}, map[string]float64{}
	for key, v := range grown {
		service, full, _ := strings.Cut(key, ": ")
		base, label, _ := strings.Cut(full, "{")
		cause := strings.TrimSuffix(strings.TrimPrefix(label, `cause="`), `"}`)
		switch {
		case base == "gocscf_overload_refused_total":
			over[service] += v
		case base == "gocscf_sip_rejected_total":
			rejected[service] += v
		case base == "gocscf_"+service+"_refused_total" && !slices.Contains(uncounted, cause) && !slices.Contains(but, cause):
			n += v
		}
	}
	for _, name := range services {
		n += max(over[name], rejected[name])
	}
	return n
}

// silences are the causes with which a function gives up who has not answered it.
var silences = []string{"home_silent", "next_hop_silent", "scscf_silent"}

// twice is how many requests may have been refused twice because a service has stalled: by
// who has given it up as silent, and by itself when it reads them at last. Nobody hears
// the latter.
func twice(grown map[string]float64, stalled string) float64 {
	own, others := map[string]float64{}, 0.0
	for key, v := range grown {
		service, full, _ := strings.Cut(key, ": ")
		_, label, _ := strings.Cut(full, "{")
		if service == stalled {
			own[key] = v
		} else if cause := strings.TrimSuffix(strings.TrimPrefix(label, `cause="`), `"}`); slices.Contains(silences, cause) {
			others += v
		}
	}
	return min(refusals(own), others)
}

// overloads are those that were refused because somebody had too much to do, this
// service or the HSS.
func overloads(grown map[string]float64) (n float64) {
	for key, v := range grown {
		_, full, _ := strings.Cut(key, ": ")
		if base, label, _ := strings.Cut(full, "{"); base == "gocscf_overload_refused_total" || label == `cause="hss_slow"}` {
			n += v
		}
	}
	return n
}

// status is the one with which an attempt has failed, 0 if it had no answer.
func status(cause string) int {
	n, err := strconv.Atoi(cause[strings.LastIndexByte(cause, ' ')+1:])
	if err != nil {
		return 0
	}
	return n
}

// answered are the failures by a status, silent those without one.
func (l *Losses) answered() (answered, silent uint64) {
	for cause, n := range l.Causes {
		if status(cause) > 0 {
			answered += n
		} else {
			silent += n
		}
	}
	return answered, silent
}

// unavailable are the failures that were answered 503.
func (l *Losses) unavailable() (n uint64) {
	for cause, k := range l.Causes {
		if status(cause) == 503 {
			n += k
		}
	}
	return n
}

// Unanswered reports whether all that failed had no answer: it may be the machine that
// was too slow. Who answers with a failure has had the time.
func (l *Losses) Unanswered() bool {
	answered, _ := l.answered()
	return answered == 0
}

// What services and attempts may differ in. Who was killed has counts that nobody has
// read, and what waited for its answer ends in one that nobody counts. Where nobody was,
// a request that was sent again may be refused again.
const (
	differFew   = 5
	differShare = 0.01
	againShare  = 0.05
)

// refused compares the attempts of a fault's window that were refused with the requests
// that services have refused meanwhile, each once. Lost subscriptions are left out of
// both. short is by how many more attempts were refused than may be, over by how many
// fewer: where a service has begun anew that is not asked.
func (o *Outcome) refused(f *Fault) (attempts, counted, short, over float64) {
	answered, silent := o.answered()
	attempts = float64(answered - o.Subscriptions)
	counted = refusals(o.Metrics, append([]string{refreshed}, f.besides...)...)
	late := float64(o.Late) // they were refused when this was no longer counted
	if f.ends != "" {
		return attempts, counted, max(0, attempts-counted-late-max(differFew, differShare*attempts)), 0
	}
	over = counted - attempts - float64(silent) - max(differFew, againShare*attempts)
	if f.stalls != "" {
		over -= twice(o.Metrics, f.stalls)
	}
	return attempts, counted, max(0, attempts-counted-late), max(0, over)
}
