package pcscf

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
)

type securityMetrics struct {
	failures *prometheus.CounterVec
	clear    *prometheus.CounterVec
	drops    *prometheus.CounterVec
	esp      [esp.Reasons]prometheus.Counter // of drops, for packets that come fast
}

func (c *security) measure(reg *prometheus.Registry) {
	m := &c.metric
	m.failures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocscf_pcscf_sec_agree_failures_total", Help: "Security agreements that came to nothing, by cause.",
	}, []string{"cause"})
	m.clear = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocscf_pcscf_clear_messages_total", Help: "Messages in clear that were not taken: dropped at a protected port, or refused at the open one.",
	}, []string{"reason"})
	m.drops = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocscf_pcscf_esp_drops_total", Help: "ESP packets that were dropped, by reason.",
	}, []string{"reason"})
	for r := range m.esp {
		m.esp[r] = m.drops.WithLabelValues(esp.Reason(r).String())
	}
	if reg != nil {
		reg.MustRegister(setCollector{c}, m.failures, m.clear, m.drops)
	}
}

// setCollector counts the sets when somebody asks.
type setCollector struct{ c *security }

var setsDesc = prometheus.NewDesc("gocscf_pcscf_sa_sets", "SA sets of phones, by state.", []string{"state"}, nil)

func (setCollector) Describe(ch chan<- *prometheus.Desc) { ch <- setsDesc }

func (k setCollector) Collect(ch chan<- prometheus.Metric) {
	n := map[ipsec.State]int{}
	k.c.mu.RLock()
	for p := range k.c.phones.all {
		for _, s := range p.life.Sets() {
			st, _ := p.life.Status(s.ID)
			n[st]++
		}
	}
	k.c.mu.RUnlock()
	for _, st := range [...]ipsec.State{ipsec.Temporary, ipsec.Unused, ipsec.InUse, ipsec.Old, ipsec.Leaving} {
		ch <- prometheus.MustNewConstMetric(setsDesc, prometheus.GaugeValue, float64(n[st]), st.String())
	}
}

// countKernel adds what the kernel has dropped since the last time. It counts for
// the whole network namespace.
func (c *security) countKernel() {
	if c == nil || c.stack.kernel == nil {
		return
	}
	now, err := c.stack.kernel.Drops()
	if err != nil {
		return // the file is not there in every container
	}
	last := c.stack.seen
	c.stack.seen = now
	for _, d := range [...]struct {
		reason    string
		now, last uint64
	}{
		{"in clear", now.Clear, last.Clear}, {esp.UnknownSPI.String(), now.UnknownSPI, last.UnknownSPI},
		{esp.BadICV.String(), now.BadICV, last.BadICV}, {esp.Replayed.String(), now.Replayed, last.Replayed},
		{"expired", now.Expired, last.Expired}, {esp.Malformed.String(), now.Malformed, last.Malformed},
		{"would leave in clear", now.OutBlocked, last.OutBlocked}, {"no association", now.OutNoState, last.OutNoState},
	} {
		if d.now > d.last {
			c.metric.drops.WithLabelValues(d.reason).Add(float64(d.now - d.last))
		}
	}
}
