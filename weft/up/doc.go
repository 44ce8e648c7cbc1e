// Package up runs the whole of Weft on one machine: every role, the demo shop with its backing services, and light
// traffic, as child processes that never outlive it.
//
//	plan/       which parts there are, with their addresses and files
//	process.go  one child process, from start to reaping
//	up.go       start in order, wait until ready, supervise, stop
//	server.go   the Unix socket that weft status, weft demo and weft stop talk to
//	client.go   the other end of it
package up
