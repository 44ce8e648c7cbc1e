// Package wire holds the protobuf contracts between the parts of Weft: the only words that the two ends of a
// conversation share.
//
//	samples.proto   proxy → agent → collector: what a reporter saw of each endpoint
//	health.proto    collector ⇄ control: verdicts down, membership and acknowledgements up
//	identity.proto  any role → control: a certificate for a key
//	registry.proto  sidecar → control: a leased endpoint
package wire

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative samples.proto health.proto identity.proto registry.proto
