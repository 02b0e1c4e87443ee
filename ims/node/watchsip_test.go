package node

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// Each metric shows its own number.
func TestWatchSIP(t *testing.T) {
	reg := prometheus.NewRegistry()
	Deps{Metrics: reg}.WatchSIP(func() proxy.Stats {
		return proxy.Stats{Transaction: transaction.Stats{Open: 1, Lingering: 2, Octets: 3, Past: 4, Answers: 5, Cut: 6}}
	})
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"gocscf_sip_transactions open": 1, "gocscf_sip_transactions lingering": 2, "gocscf_sip_request_octets": 3,
		"gocscf_sip_lingering_octets": 4, "gocscf_sip_response_octets": 5, "gocscf_sip_transactions_cut_total": 6,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}
