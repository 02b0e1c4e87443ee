package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/gocscf/gocscf/ims/trace"
)

var update = flag.Bool("update", false, "write tools/floor/messages.json from what the core sends now")

// floorFile has what tools/floor moves.
const floorFile = "../../tools/floor/messages.json"

// hop is a message on its way from one process to another. It is sent because of an
// earlier one: After is that one's place in the list, -1 for what begins.
type hop struct {
	What   string `json:"what"`
	From   string `json:"from"`
	To     string `json:"to"`
	Over   string `json:"over"`
	Octets int    `json:"octets"`
	After  int    `json:"after"`
}

// TestFloor holds the messages that tools/floor moves against those of the core: the
// same, in the same order for each receiver, over the same transports, and as long.
func TestFloor(t *testing.T) {
	n := loopback()
	n.stream = &trace.Stream{}
	c := startCore(t, n)
	p := pair{newPhone(t, n, c.gm), newPhone(t, n, c.gm)}
	users := c.newUsers(t, 2)
	if err := p.to.register(users[1]); err != nil {
		t.Fatal(err)
	}
	got := map[string][]hop{}
	for _, what := range []struct {
		name string
		do   func() error
	}{
		{"registration", func() error { return p.from.register(users[0]) }},
		{"reregistration", func() error { return p.from.register(users[0]) }},
		{"call", func() error { return p.from.call(p.to) }},
		{"message", func() error { return p.from.message(p.to) }},
	} {
		w := watch(n.stream)
		if err := what.do(); err != nil {
			t.Fatal(err)
		}
		got[what.name] = w.hops(t)
	}
	if *update {
		writeHops(t, got)
	}
	b, err := os.ReadFile(floorFile)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]hop
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if len(got[name]) != len(want[name]) {
			t.Errorf("%s: the core sends %d messages, the floor %d; -args -update writes what it sends", name, len(got[name]), len(want[name]))
			continue
		}
		// Two processes' messages may cross; each receiver's do not.
		for _, to := range []string{pcscfName, icscfName, scscfName, hssName, phonesName} {
			core, floor := toward(got[name], to), toward(want[name], to)
			for i := range floor {
				a, b := core[i], floor[i]
				if a.What != b.What || a.From != b.From || a.Over != b.Over || max(a.Octets-b.Octets, b.Octets-a.Octets) > 16 {
					t.Errorf("%s: %s gets %v from the core, the floor moves %v", name, to, a, b)
				}
			}
		}
	}
	if len(want) != len(got) {
		t.Errorf("the floor has %d procedures, want %d", len(want), len(got))
	}
}

func toward(hops []hop, to string) (list []hop) {
	for _, h := range hops {
		if h.To == to {
			list = append(list, h)
		}
	}
	// Responses of different hops to one request may change places.
	slices.SortStableFunc(list, func(a, b hop) int { return bytes.Compare([]byte(a.What+a.From), []byte(b.What+b.From)) })
	return list
}
