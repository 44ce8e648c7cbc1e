package correlate

import (
	"weft/collector/correlate"
	"weft/collector/store/metricstore"
)

// convert makes the metric store's series of the correlator's: neither package knows the other.
func convert(in []correlate.Series) []metricstore.Series {
	out := make([]metricstore.Series, len(in))
	for i, s := range in {
		out[i] = metricstore.Series{Name: s.Name, Labels: labels(s.Labels), Value: s.Value, Time: s.Time}
		for _, e := range s.Exemplars {
			out[i].Exemplars = append(out[i].Exemplars, metricstore.Exemplar{Labels: labels(e.Labels), Value: e.Value, Time: e.Time})
		}
	}
	return out
}

func labels[L ~struct{ Name, Value string }](in []L) []metricstore.Label {
	out := make([]metricstore.Label, len(in))
	for i, l := range in {
		out[i] = metricstore.Label(l)
	}
	return out
}
