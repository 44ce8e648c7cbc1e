// Package collector is the central OpenTelemetry Collector distribution: it stores what agents send, ties it together
// by request, judges endpoints by it, and answers for all of it.
//
// A span's journey:
//
//  1. An agent sends a batch over OTLP: the receiver "otlp" (internal/distro/otlpreceiver) takes it as bytes, up to 64 MiB,
//     within a budget of bytes in flight.
//  2. The extension "intake" (component/intake) walks the bytes once: what cannot be kept is left out and reported, the rest
//     gives its keys, by which it will be found, and its facts, by which it will be correlated.
//  3. store/tracestore appends the batch to the write-ahead log and enters its keys in the index in memory: from now on a
//     query finds it. Only then does the agent get its acknowledgement, and what is acknowledged survives kill -9.
//  4. The intake hands the facts to correlate. Store first, correlate then: what a store refuses is sent again.
//  5. correlate drops (trace, span) IDs that it saw within the last minute, joins the span to its exchange, and counts
//     it into RED metrics and the service graph, which every two seconds are written to store/metricstore.
//  6. In the background store/segment makes a sealed Parquet file (store/sealed) of each log file that is full, merges such
//     segments, drops the old ones, and keeps what is worth more than the bulk.
//  7. Someone asks GET /api/requests/{id}: component/queryextension asks the stores and the correlator through
//     query, and serves the console and Prometheus' own API on the same port.
//
// A log record goes the same way. A data point is decoded and goes through a pipeline to the connector "store"; it ends
// there, for it belongs to no single request. So does a span or a record for which the YAML has a pipeline.
//
// Samples do not come this way. They are the proxies' own counts, on a lane of their own (component/healthextension):
// reports in, health.Engine ticks, verdicts out to control, and to alerts.
//
// Stores, correlator and ops port belong to the process, not to the pipelines: a reload exchanges pipelines around
// them. components.go lists every part in one place.
package collector
