// Package up runs the whole of Weft on one machine: every role, the demo shop with its backing services, and light
// traffic, as child processes that never outlive it.
//
//	options.go  what the person asked for
//	plan.go     which parts there are, with their addresses and files
//	demo.go     the demo shop's parts
//	backing.go  the database, the cache and the queue
//	process.go  one child process, from start to reaping
//	up.go       start in order, wait until ready, supervise, stop
//	server.go   the Unix socket that weft status, weft demo and weft stop talk to
//	client.go   the other end of it
package up
