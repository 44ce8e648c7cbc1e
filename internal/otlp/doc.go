// Package otlp reads OTLP protobuf where it lies: it walks the bytes of a batch and shows each span or log record in
// them, without decoding, copying or allocating.
//
// What a walk shows are views: text and bytes point into the batch, and slices are used again for the next item. They
// are valid during the callback. Whoever keeps something clones it.
//
// A walk understands exactly what the full decoder (go.opentelemetry.io/collector/pdata) understands; a fuzz test holds
// the two against each other. Where the decoder refuses a whole batch because one ID has the wrong length, or recurses
// without a bound, the walk says so of that one item (Fault), and goes on.
//
// Source: opentelemetry-proto 1.9 (trace.proto, logs.proto, common.proto, resource.proto), protobuf encoding guide.
package otlp
