// Package correlate reconstructs exchanges from spans and logs, and derives from the same spans the RED metrics and the
// service graph that Grafana reads.
//
// It is pure: the caller passes the time, nothing here has a clock, a goroutine or I/O. What is remembered of an
// exchange merges by union, minimum and maximum only, so signals may come in any order, late, and twice: the exchange
// comes out the same (see docs/decisions/0030).
package correlate
