package lab

import (
	"testing"

	"github.com/gocscf/gocscf/testbed/load"
)

// TestLoadOfPriorities: calls that ask for priority have it all the way where operator
// and profile let them, and else as far as it cannot be known.
func TestLoadOfPriorities(t *testing.T) {
	const calls = 20
	for _, tt := range []struct {
		name                string
		namespaces, profile []string
		// A BYE is always: at the P-CSCF it passes twice, as each INVITE does at P- and S-CSCF.
		vital map[string]float64
	}{
		{"all agree", []string{"wps"}, []string{"wps.0"}, map[string]float64{NameI: calls, NameP: 4 * calls, NameS: 3 * calls}},
		{"the profile has a lower one", []string{"wps"}, []string{"wps.1"}, map[string]float64{NameI: 0, NameP: 3 * calls, NameS: calls}},
		{"the operator has another", []string{"ets"}, []string{"wps.0"}, map[string]float64{NameI: 0, NameP: 2 * calls, NameS: calls}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			core, cfg := crowd(t, 2*calls, 2*calls, func(c *Configs) {
				c.P.ResourcePriority, c.HSS.Generate[0].Priorities = tt.namespaces, tt.profile
			})
			cfg.Busy, cfg.Count, cfg.Mix = 3, calls, load.Only(load.Priority)
			r, err := load.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			reconcile(t, r.Load)
			if r.Load.Succeeded != calls {
				t.Errorf("%d calls, want %d: %v", r.Load.Succeeded, calls, r.Load.Causes)
			}
			for name, want := range tt.vital {
				if got := core.admitted(t, name, "vital"); got != want {
					t.Errorf("%s: %v requests were vital, want %v", name, got, want)
				}
			}
		})
	}
}

// admitted is gocscf_overload_admitted_total of a service.
func (c *Core) admitted(t *testing.T, name, class string) float64 {
	t.Helper()
	families, err := c.metrics[name].Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "gocscf_overload_admitted_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == class {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("%s does not tell what it has let in", name)
	return 0
}
