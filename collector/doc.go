// Package collector is the central OpenTelemetry Collector distribution: it stores what agents send, ties it together
// by request, judges endpoints by it, and answers for all of it.
//
// A span's journey:
//
//  1. An agent sends a batch over OTLP: the receiver "otlp" (collector.yaml) takes it, up to 64 MiB.
//  2. pushback stands first, so that whatever refuses the batch from here on also says when to send it again.
//  3. memory_limiter refuses before the process suffers.
//  4. The connector "store" (component/storeconnector) appends the batch to the write-ahead log of store/tracestore and
//     enters it in the index in memory: from now on a query finds it. Only then does the agent get its
//     acknowledgement, and what is acknowledged survives kill -9.
//  5. The connector hands the batch on to the exporter "correlate" (component/correlate). Store first, correlate then:
//     side by side, a batch that one refuses would be counted by the other on each retry.
//  6. correlate drops (trace, span) IDs that it saw within the last minute, joins the span to its exchange, and counts
//     it into RED metrics and the service graph, which every two seconds are written to store/metricstore.
//  7. Someone asks GET /api/requests/{id}: component/queryextension asks the stores and the correlator through
//     query, and serves the console and Prometheus' own API on the same port.
//  8. In the background store/segment seals the log, and in time deletes it.
//
// A log record goes the same way. A data point ends at step 4: it belongs to no single request.
//
// Samples do not come this way. They are the proxies' own counts, on a lane of their own (component/healthextension):
// reports in, health.Engine ticks, verdicts out to control, and to alerts.
//
// Stores, correlator and ops port belong to the process, not to the pipelines: a reload exchanges pipelines around
// them. components.go lists every part in one place.
package collector
