// Package check holds what a collector shows against the sender's own list: every item that was acknowledged is there,
// once, and as it was sent.
//
//	api.go       questions to /api/requests/{id}, and how long they take
//	expected.go  what was acknowledged, made again
//	check.go     the comparison
package check
