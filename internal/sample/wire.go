package sample

import (
	"slices"
	"time"

	"weft/internal/wire"
)

// ToWire encodes a report for the lane.
func (r Report) ToWire() *wire.SampleReport {
	out := &wire.SampleReport{
		Reporter: r.Reporter, Epoch: r.Epoch, Sequence: r.Sequence, AgeMs: uint32(r.Age.Milliseconds()),
		Endpoints: make([]*wire.EndpointSample, 0, len(r.Samples)),
	}
	for _, s := range r.Samples {
		out.Endpoints = append(out.Endpoints, &wire.EndpointSample{
			Service: s.Endpoint.Service, Instance: s.Endpoint.Instance, Address: s.Address, Version: s.Version,
			Witness: s.Witness, FirstAttempts: s.FirstAttempts.toWire(), Retries: s.Retries.toWire(),
			Latency: s.Latency.toWire(), FailedRequestIds: s.FailedIDs, LocallyOpen: s.LocallyOpen,
		})
	}
	return out
}

// ReportFromWire decodes a report of the lane; missing parts are zero.
func ReportFromWire(in *wire.SampleReport) Report {
	r := Report{
		Reporter: in.GetReporter(), Epoch: in.GetEpoch(), Sequence: in.GetSequence(),
		Age: time.Duration(in.GetAgeMs()) * time.Millisecond, Samples: make([]Sample, 0, len(in.GetEndpoints())),
	}
	for _, e := range in.GetEndpoints() {
		r.Samples = append(r.Samples, Sample{
			Endpoint: Key{e.GetService(), e.GetInstance()}, Address: e.GetAddress(), Version: e.GetVersion(),
			Witness: e.GetWitness(), FirstAttempts: countsFromWire(e.GetFirstAttempts()), Retries: countsFromWire(e.GetRetries()),
			Latency: sketchFromWire(e.GetLatency()), FailedIDs: e.GetFailedRequestIds(), LocallyOpen: e.GetLocallyOpen(),
		})
	}
	return r
}

func (c Counts) toWire() *wire.Counts {
	return &wire.Counts{
		Ok: c[OK], Errors: c[Error], Timeouts: c[Timeout], ConnectFailures: c[ConnectFailure],
		Load: c[Load], Aborted: c[Aborted], Downstream: c[Downstream],
	}
}

func countsFromWire(in *wire.Counts) Counts {
	return Counts{
		OK: in.GetOk(), Error: in.GetErrors(), Timeout: in.GetTimeouts(), ConnectFailure: in.GetConnectFailures(),
		Load: in.GetLoad(), Aborted: in.GetAborted(), Downstream: in.GetDownstream(),
	}
}

func (s Sketch) toWire() *wire.Sketch {
	out := &wire.Sketch{Index: make([]int32, 0, len(s)), Count: make([]uint64, 0, len(s))}
	for i := range s {
		out.Index = append(out.Index, i)
	}
	slices.Sort(out.Index)
	for _, i := range out.Index {
		out.Count = append(out.Count, s[i])
	}
	return out
}

// sketchFromWire keeps the pairs that are whole: lists of unequal length come from a broken peer.
func sketchFromWire(in *wire.Sketch) Sketch {
	n := min(len(in.GetIndex()), len(in.GetCount()))
	s := make(Sketch, n)
	for k := range n {
		s[in.Index[k]] += in.Count[k]
	}
	return s
}

// ToWire encodes a verdict for control.
func (v Verdict) ToWire() *wire.Verdict {
	e := v.Evidence
	return &wire.Verdict{
		Service: v.Endpoint.Service, Instance: v.Endpoint.Instance, Address: v.Address, State: wire.State(v.State),
		Weight: uint32(max(0, v.Weight)), Version: v.Version, Enforced: v.Enforced, Reason: v.Reason,
		SinceUnixNano: uint64(v.Since.UnixNano()),
		Evidence: &wire.Evidence{
			Attempts: e.Attempts, Failures: e.Failures, BaselineErrorRatio: e.BaselineErrorRatio, ErrorRatio: e.ErrorRatio,
			P99Seconds: e.P99.Seconds(), RestP99Seconds: e.RestP99.Seconds(), WindowMs: uint32(e.Window.Milliseconds()),
			Reporters: e.Reporters, Witnesses: e.Witnesses, RequestIds: e.RequestIDs, Test: e.Test,
		},
	}
}

// VerdictFromWire decodes a verdict; an unknown state is Healthy, a weight above 100 is 100.
func VerdictFromWire(in *wire.Verdict) Verdict {
	e := in.GetEvidence()
	state := State(in.GetState())
	if state > Probing {
		state = Healthy
	}
	return Verdict{
		Endpoint: Key{in.GetService(), in.GetInstance()}, Address: in.GetAddress(), State: state,
		Weight: int(min(in.GetWeight(), 100)), Version: in.GetVersion(), Enforced: in.GetEnforced(), Reason: in.GetReason(),
		Since: time.Unix(0, int64(in.GetSinceUnixNano())),
		Evidence: Evidence{
			Attempts: e.GetAttempts(), Failures: e.GetFailures(), ErrorRatio: e.GetErrorRatio(), BaselineErrorRatio: e.GetBaselineErrorRatio(),
			P99: seconds(e.GetP99Seconds()), RestP99: seconds(e.GetRestP99Seconds()), Window: time.Duration(e.GetWindowMs()) * time.Millisecond,
			Reporters: e.GetReporters(), Witnesses: e.GetWitnesses(), RequestIDs: e.GetRequestIds(), Test: e.GetTest(),
		},
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
