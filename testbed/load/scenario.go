package load

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Scenario is what one or two phones do.
type Scenario uint8

// The scenarios, as the report names them.
const (
	Register   Scenario = iota // REGISTER, 401, REGISTER, 200 by a phone that is not registered
	Reregister                 // the same by one that is
	Deregister                 // the same with Expires 0
	Call                       // INVITE, 180, 200, ACK, BYE, 200
	Priority                   // the same with a Resource-Priority, see Config.Priority
	Cancelled                  // INVITE, 180, CANCEL, 200, 487, ACK: the caller gives up
	Rejected                   // INVITE, 486, ACK: the called party is busy
	Unanswered                 // INVITE, 180, and after the ring time 480, ACK
	Message                    // MESSAGE, 200
	Subscribe                  // SUBSCRIBE to the registration's state, 200, NOTIFY, 200; from the second on a refresh
	Emergency                  // INVITE to urn:service:sos: 380 of a network that takes none, or an answer, ACK, BYE, 200
	Recover                    // a registration by a phone that the core has forgotten, see Config.Recover
	scenarios
)

var scenarioNames = [scenarios]string{"register", "reregister", "deregister", "call", "priority", "cancelled", "rejected", "unanswered", "message", "subscribe", "emergency", "recover"}

func (s Scenario) String() string { return scenarioNames[s] }

// two reports whether the scenario has a called party.
func (s Scenario) two() bool { return s >= Call && s <= Message }

// answered reports whether the called party takes the call.
func (s Scenario) answered() bool { return s == Call || s == Priority }

// registers reports whether the scenario consists of REGISTERs.
func (s Scenario) registers() bool { return s <= Deregister || s == Recover }

// Mix gives each scenario a weight.
type Mix [scenarios]float64

// ParseMix reads "call=4,message=3,reregister=3"; a scenario alone has weight 1.
func ParseMix(s string) (Mix, error) {
	var m Mix
	for part := range strings.SplitSeq(s, ",") {
		name, weight, weighted := strings.Cut(strings.TrimSpace(part), "=")
		w := 1.0
		if weighted {
			var err error
			if w, err = strconv.ParseFloat(weight, 64); err != nil || !(w >= 0 && w < 1e9) {
				return Mix{}, fmt.Errorf("the weight of %s is %q: want a number", name, weight)
			}
		}
		found := false
		for i := range Recover {
			if i.String() == name {
				m[i], found = w, true
			}
		}
		if !found {
			return Mix{}, fmt.Errorf("%q is no scenario: want some of %s", name, strings.Join(scenarioNames[:Recover], ", "))
		}
	}
	if m.sum() == 0 {
		return Mix{}, fmt.Errorf("%q has no scenario with a weight", s)
	}
	return m, nil
}

// Only is the mix of one scenario.
func Only(s Scenario) Mix {
	var m Mix
	m[s] = 1
	return m
}

func (m Mix) sum() (sum float64) {
	for _, w := range m {
		sum += w
	}
	return sum
}

func (m Mix) pick(r *rand.Rand) Scenario {
	x := r.Float64() * m.sum()
	last := Scenario(0)
	for i, w := range m {
		if w == 0 {
			continue
		}
		if x -= w; x < 0 {
			return Scenario(i)
		}
		last = Scenario(i)
	}
	return last
}

func (m Mix) String() string {
	var parts []string
	for i, w := range m {
		if w > 0 {
			parts = append(parts, Scenario(i).String()+"="+strconv.FormatFloat(w, 'g', -1, 64))
		}
	}
	return strings.Join(parts, ",")
}
