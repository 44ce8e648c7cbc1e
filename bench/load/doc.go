// Package load sends OTLP over gRPC at a steady rate, for as little CPU as it can, since what it measures runs on the same
// cores: batches are copied together from prebuilt pieces in which only what differs is filled in.
//
// Everything about trace number n follows from (seed, n), and its times from the moment its batch was made. So the
// sender's own list (Ledger) holds forty bytes a batch, and any acknowledged span or log record can be made again from
// it and compared with what a store shows.
//
// # Shape
//
// A trace has 8 spans of 4 services out of 10, in one of 4 kinds; a span has 10 attributes and takes some 480 bytes, its
// share of the resource included. There is one log record a span, some 240 bytes with 4 attributes. The resource has 7
// attributes; each service has 3 instances. Batches are laid out as an agent joins them (whole traces, grouped by
// resource) or, with Config.Scattered, as 8 applications send them (each batch has one span of many traces).
//
// # What is random
//
// Bytes per stored item depend on this. Uniform and independent unless it says otherwise; all else is one of the few
// texts in shape.go.
//
//	per trace   trace ID 128 bits; request ID the trace ID again, or a UUID of 122 bits (Config.UUID); kind 2 bits; item in
//	            url.path 13.3 bits (10,000); user agent 3 bits; instance of each of 4 services 1.6 bits; start: the batch's
//	            moment less the duration less 27 bits of ns; duration log-normal (median 20 ms, σ 0.8; some 24 bits of ns);
//	            2 % fail, at one of 8 spans, and every span above it fails too: 1 % of spans
//	per span    span ID 64 bits; network.peer.address 4 bits; start and duration within the parent's, uniform, some 23 bits
//	            of ns each; the parent's ID is that of another span of the batch or trace
//	per record  time within its span's, some 23 bits; observed 14 bits of ns later; one of 4 texts by 8 bits; in the text
//	            16.5 + 13.1 + 6.5 bits of numbers; thread 6.5 bits; the item, request and IDs of its trace and span
//
// So no coder can spend less than some 16 bytes a span (span ID 8, times 5.8, its share of the trace ID 2; 2 more with
// UUIDs), nor less than some 19 a log record on its own (span ID 8, times 4.6, numbers 5.3, its share of the trace ID).
package load
