// Package plan lays out what weft up runs: every part with its program, addresses, files and how to tell it is ready.
//
//	options.go  what the person asked for
//	plan.go     Weft's own parts
//	demo.go     the demo shop's
//	backing.go  the database, the cache and the queue
//	ready.go    how to tell that a part is ready
package plan
