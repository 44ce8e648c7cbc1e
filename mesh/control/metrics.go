package control

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weft/internal/identity"
)

// metrics are control's own, on the ops port.
type metrics struct {
	issued    *prometheus.CounterVec
	refused   *prometheus.CounterVec
	updates   *prometheus.CounterVec
	laneUp    *prometheus.GaugeVec
	endpoints *prometheus.GaugeVec
	pushes    prometheus.Counter
	nacks     prometheus.Counter
	term      prometheus.Gauge
	version   prometheus.Gauge
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weft_control_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weft_control_" + name, Help: help}, labels)
	}
	return &metrics{
		issued:    counter("identities_issued_total", "Certificates signed, by the proof that was given.", "proof"),
		refused:   counter("refused_total", "Calls refused, by what was asked for.", "what"),
		updates:   counter("verdict_updates_total", "Updates from collectors, by what became of them.", "result"),
		laneUp:    gauge("lane_up", "1 while the collector at this lane sends verdicts.", "collector"),
		endpoints: gauge("endpoints", "Endpoints as proxies were told, by where the weight came from.", "service", "state", "source"),
		pushes:    counter("xds_responses_total", "EDS responses sent.").WithLabelValues(),
		nacks:     counter("xds_nacks_total", "EDS responses that a proxy refused.").WithLabelValues(),
		term:      gauge("verdict_term", "Lease term of the verdicts in force.").WithLabelValues(),
		version:   gauge("verdict_version", "Version of the verdicts in force.").WithLabelValues(),
	}
}

func (m *metrics) register(r *prometheus.Registry, t *tracker, source *identity.Source) {
	r.MustRegister(m.issued, m.refused, m.updates, m.laneUp, m.endpoints, m.pushes, m.nacks, m.term, m.version)
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_control_proxies", Help: "Proxies with an ADS stream.",
	}, func() float64 { return float64(len(t.proxies())) }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_identity_expires_seconds", Help: "Seconds until the own certificate ends.",
	}, func() float64 { return time.Until(source.NotAfter()).Seconds() }))
}

func (m *metrics) show(all []steered, verdicts view) {
	m.endpoints.Reset()
	for _, e := range all {
		m.endpoints.WithLabelValues(e.Key.Service, e.State.String(), e.Source).Inc()
	}
	m.term.Set(float64(verdicts.Term))
	m.version.Set(float64(verdicts.Version))
}
