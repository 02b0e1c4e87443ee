package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Table is the report as Markdown.
func (r *Report) Table() string {
	var b strings.Builder
	behind := ""
	if r.IPsec == ipsecUser {
		behind = " behind IPsec"
	}
	fmt.Fprintf(&b, "%d phones%s, %g operations a second (%s), from %s.\n\n", r.Phones, behind, r.Rate, r.Mix, r.Began.Format("2006-01-02 15:04 UTC"))
	b.WriteString("| fault | it lasted | attempts | failed, by cause | phones lost (back after) | calls established, lost | everything succeeds again after | named by |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, o := range r.Outcomes {
		lost := fmt.Sprintf("%d of %d", o.PhonesLost, o.Phones)
		if o.PhonesLost > 0 {
			lost += fmt.Sprintf(" (%.1f s)", o.PhonesBack)
		}
		again := fmt.Sprintf("%.0f s", o.Recovery)
		if !o.Recovered {
			again = "not within the window"
		}
		what := o.What
		if o.Damaged > 0 {
			what += fmt.Sprintf(" (%d datagrams)", o.Damaged)
		}
		fmt.Fprintf(&b, "| %s: %s | %.1f s | %d | %s | %s | %d, %d | %s | %s |\n",
			o.Fault, what, o.Held, o.Attempts, o.causes(), lost, o.Calls, o.CallsLost, again, strings.Join(o.Named, "; "))
	}
	fmt.Fprintf(&b, "\n%d attempts in all = %d that succeeded + %d that failed; outside of the faults' windows %d of %d failed.\n",
		r.All.Attempts, r.All.Succeeded, r.All.Failed, r.Outside.Failed, r.Outside.Attempts)
	if r.All.Skipped > 0 {
		fmt.Fprintf(&b, "%d more were due when no phone could begin them: registrations, above all, when all are registered.\n", r.All.Skipped)
	}
	return b.String()
}

func (l *Losses) causes() string {
	if l.Failed == 0 {
		return "0"
	}
	parts := []string{fmt.Sprintf("%d", l.Failed)}
	keys := slices.SortedFunc(maps.Keys(l.Causes), func(a, b string) int {
		if d := int(l.Causes[b]) - int(l.Causes[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	const shown = 6
	for i, k := range keys {
		if i == shown {
			parts = append(parts, fmt.Sprintf("%d more causes", len(keys)-shown))
			break
		}
		parts = append(parts, fmt.Sprintf("%d %s", l.Causes[k], k))
	}
	return parts[0] + ": " + strings.Join(parts[1:], ", ")
}

// Faulty says what was lost that should not have been, and what was counted that does not
// add up.
func (r *Report) Faulty() (list []string) {
	wrong := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	var left []Sign // of what earlier faults have left behind
	for _, o := range r.Outcomes {
		var f Fault // nothing is forgotten where the fault is the caller's own
		if list, err := byName([]string{o.Fault}); err == nil {
			f = list[0]
		} else if !o.own {
			wrong("%v", err)
			continue
		}
		forgets := f.Forgets
		if o.PhonesLost > 0 && !forgets.Phones {
			wrong("%s: %d registered phones were lost", o.Fault, o.PhonesLost)
		} else if o.CallsLost > 0 && !forgets.Calls {
			wrong("%s: %d established calls were lost", o.Fault, o.CallsLost)
		}
		if !o.Recovered {
			wrong("%s: it does not recover", o.Fault)
		}
		felt := float64(o.Failed - o.excused)
		for _, s := range left {
			felt -= s.shown(o.Metrics)
		}
		left = append(left, f.leaves...)
		switch {
		case len(o.Named) > 0:
		case len(o.Unnamed) > 0 && (felt > 0 || !f.mild):
			wrong("%s: nothing names the cause: want %s", o.Fault, strings.Join(o.Unnamed, " or "))
		case felt > 0:
			wrong("%s: %.0f attempts failed, and it may cost none: %v", o.Fault, felt, o.Causes)
		}
	}
	if n := r.Outside.Failed - r.excused; n > 0 {
		wrong("%d attempts failed without a fault: %v", n, r.Outside.Causes)
	}
	if r.All.Attempts != r.All.Succeeded+r.All.Failed {
		wrong("%d attempts are not %d that succeeded and %d that failed", r.All.Attempts, r.All.Succeeded, r.All.Failed)
	}
	attempts, failed := r.Outside.Attempts, r.Outside.Failed
	for _, o := range r.Outcomes {
		attempts, failed = attempts+o.Attempts, failed+o.Failed
	}
	if r.Missed > 0 || attempts != r.All.Attempts || failed != r.All.Failed {
		wrong("the phones count %d attempts of which %d failed, their journal has %d of which %d failed, and %d found no room in it", r.All.Attempts, r.All.Failed, attempts, failed, r.Missed)
	}
	return list
}
