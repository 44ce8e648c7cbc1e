package control

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collect registers what the parts count and what control shows of their state.
func (c *Control) collect(r *prometheus.Registry) {
	c.authority.Collect(r)
	c.leases.Collect(r)
	c.xds.Collect(r)
	for _, l := range c.lanes {
		l.Collect(r)
	}
	gauge := func(name, help string, read func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
	}
	gauge("weft_identity_expires_seconds", "Seconds until the own certificate ends.",
		func() float64 { return time.Until(c.source.NotAfter()).Seconds() })
	gauge("weft_control_verdict_term", "Lease term of the verdicts in force.",
		func() float64 { return float64(c.ledger.At(time.Now()).Term) })
	gauge("weft_control_verdict_version", "Version of the verdicts in force.",
		func() float64 { return float64(c.ledger.At(time.Now()).Version) })
	r.MustRegister(told{c.publisher, prometheus.NewDesc("weft_control_endpoints",
		"Endpoints as proxies were told, by where the weight came from.", []string{"service", "state", "source"}, nil)})
}

// told counts endpoints when it is asked.
type told struct {
	publisher *publisher
	endpoints *prometheus.Desc
}

func (t told) Describe(out chan<- *prometheus.Desc) { out <- t.endpoints }

func (t told) Collect(out chan<- prometheus.Metric) {
	count := map[[3]string]int{}
	for _, e := range t.publisher.current() {
		count[[3]string{e.Key.Service, e.State.String(), e.Source}]++
	}
	for labels, n := range count {
		out <- prometheus.MustNewConstMetric(t.endpoints, prometheus.GaugeValue, float64(n), labels[:]...)
	}
}
