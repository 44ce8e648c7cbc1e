// Package otlpreceiver is the receiver "otlp" of agent and collector: OTLP over gRPC and HTTP.
//
// It stands where the stock receiver does, and takes the same YAML. What it does otherwise:
//
//   - a signal that has no pipeline from it goes, as the bytes it came in, to a Sink, which owns a log;
//   - an item that cannot be kept is left out and reported by partial_success, and the rest is kept;
//   - every refusal that a repeat may cure says when to come again, and no other does;
//   - what is in flight is bounded in bytes, over all requests, before and after decompression.
//
// A request's journey: grpc.go or http.go reads it into a lease of the budget (budget.go), intake.go finds out who takes
// it, pipeline.go decodes it if that is a pipeline, refuse.go says why not, reply.go says what was left out.
package otlpreceiver
