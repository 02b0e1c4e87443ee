package transaction

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestMachines replays the transcripts in testdata. A case names a machine, its
// transport and leg, then one event a line; the output shows after each event
// the state and what the machine asks for. A timer is fired by its letter, and
// only when it is running, so a transcript also shows which timers run where.
func TestMachines(t *testing.T) {
	for _, name := range []string{"invite-client", "non-invite-client", "invite-server", "non-invite-server"} {
		t.Run(name, func(t *testing.T) {
			datadriven.RunTest(t, "testdata/"+name+".txt", func(t *testing.T, d *datadriven.TestData) string {
				r := replay{t: DefaultTimers()}
				for k, n := range kindNames {
					if n == name {
						r.m.kind = kind(k)
					}
				}
				for _, arg := range d.CmdArgs {
					switch arg.Key {
					case "tcp":
						r.m.reliable = true
					case "late":
						r.m.late = lateTrying
					case "gm":
						r.t = GmTimers()
					default:
						d.Fatalf(t, "unknown argument %s", arg.Key)
					}
				}
				var out strings.Builder
				for line := range strings.Lines(d.Input) {
					fmt.Fprintln(&out, r.event(strings.TrimSpace(line)))
				}
				return out.String()
			})
		})
	}
}

type replay struct {
	m               machine
	t               Timers
	retransmit, end timerName // running
}

var eventNames = map[string]event{
	"start": evStart, "transport-error": evTransportError, "cancel": evCancel,
	"100": evTrying, "180": evProvisional, "183": evProvisional, "200": evSuccess,
	"302": evFailure, "486": evFailure, "487": evFailure, "603": evFailure,
	"request": evRequest, "ack": evAck, "abandon": evAbandon,
}

func (r *replay) event(name string) string {
	ev, ok := eventNames[name]
	if letter, isTimer := strings.CutPrefix(name, "timer "); isTimer {
		switch {
		case letter == r.retransmit.String() && r.retransmit != timerNone:
			ev, ok = evRetransmit, true
			r.retransmit = timerNone
		case letter == r.end.String() && r.end != timerNone:
			ev, ok = evEnd, true
			r.end = timerNone
		default:
			return fmt.Sprintf("%-16s %-11s (not running)", name, r.m.state)
		}
	}
	if !ok {
		return name + ": no such event"
	}
	a := r.m.step(ev, &r.t)
	// The driver's order: stop before set.
	if a.do&doStopRetransmit != 0 {
		r.retransmit = timerNone
	}
	if a.do&doStopEnd != 0 {
		r.end = timerNone
	}
	if a.do&doSetRetransmit != 0 {
		r.retransmit = a.retransmitName
	}
	if a.do&doSetEnd != 0 {
		r.end = a.endName
	}
	return fmt.Sprintf("%-16s %-11s %v", name, r.m.state, a)
}

// TestMachinesTerminate walks every machine through random events: whatever
// comes, a state that is neither initial nor terminated has a timer running or
// waits for its TU, and Terminated is left by nothing.
func TestMachinesTerminate(t *testing.T) {
	tm := DefaultTimers()
	for k := range kindNames {
		for _, reliable := range []bool{false, true} {
			seen := map[replay]bool{}
			var walk func(r replay)
			walk = func(r replay) {
				r.m.interval = 0 // grows without end on Timer A
				if seen[r] {
					return
				}
				seen[r] = true
				waits := r.m.state == proceeding && (r.m.kind == inviteClient || r.m.kind == inviteServer)
				if r.m.state != terminated && r.end == timerNone && !waits {
					t.Errorf("%v in %v: no timer ends it", r.m.kind, r.m.state)
				}
				if r.m.state == terminated && (r.end != timerNone || r.retransmit != timerNone) {
					t.Errorf("%v: timers outlive the transaction", r.m.kind)
				}
				if r.m.late > 0 && r.m.state != terminated && r.retransmit != timer100 {
					t.Errorf("%v in %v: nothing brings its 100", r.m.kind, r.m.state)
				}
				for ev := range evAbandon + 1 {
					if ev == evStart || ev == evRetransmit && r.retransmit == timerNone || ev == evEnd && r.end == timerNone {
						continue
					}
					n := r
					if n.m.interval == 0 {
						n.m.interval = tm.T1
					}
					var name string
					switch ev {
					case evRetransmit:
						name = "timer " + r.retransmit.String()
					case evEnd:
						name = "timer " + r.end.String()
					default:
						for s, e := range eventNames {
							if e == ev {
								name = s
							}
						}
					}
					n.event(name)
					if r.m.state == terminated && n.m.state != terminated {
						t.Errorf("%v leaves Terminated by %s", r.m.kind, name)
					}
					walk(n)
				}
			}
			for _, late := range []time.Duration{0, lateTrying} {
				if late > 0 && kind(k) != inviteServer {
					continue
				}
				r := replay{m: machine{kind: kind(k), reliable: reliable, late: late}, t: tm}
				r.event("start")
				walk(r)
			}
			if len(seen) < 3 {
				t.Errorf("%v: only %d situations reached", kind(k), len(seen))
			}
		}
	}
}
