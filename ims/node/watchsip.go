package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// WatchSIP shows how many transactions a function's SIP engine holds, as
// gocscf_sip_transactions{state}: open ones owe or await something, an ACK included,
// lingering ones only absorb retransmissions; and what memory they take, as
// gocscf_sip_request_octets, gocscf_sip_lingering_octets and gocscf_sip_response_octets; and
// how many were cut for want of room, as gocscf_sip_transactions_cut_total. stats is called
// at each scrape.
func (d Deps) WatchSIP(stats func() proxy.Stats) {
	if d.Metrics == nil {
		return
	}
	gauge := func(state string, value func(proxy.Stats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gocscf_sip_transactions", Help: "SIP transactions held, client and server, by state.", ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 { return float64(value(stats())) })
	}
	d.Metrics.MustRegister(
		gauge("open", func(s proxy.Stats) int { return s.Transaction.Open }),
		gauge("lingering", func(s proxy.Stats) int { return s.Transaction.Lingering }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gocscf_sip_request_octets", Help: "Octets of the requests that server transactions hold, as they came.",
		}, func() float64 { return float64(stats().Transaction.Octets) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gocscf_sip_lingering_octets", Help: "Octets kept for transactions that only absorb retransmissions; all but the first MiB stand beside Go's heap, where GOMEMLIMIT does not count them.",
		}, func() float64 { return float64(stats().Transaction.Past) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gocscf_sip_response_octets", Help: "Octets of final responses, and ACKs, kept on the heap to be sent again: until an ACK comes, or for want of room where transactions linger.",
		}, func() float64 { return float64(stats().Transaction.Answers) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gocscf_sip_transactions_cut_total", Help: "Answered SIP transactions that ended early for want of room: what is repeated of them is taken for new.",
		}, func() float64 { return float64(stats().Transaction.Cut) }),
	)
}
