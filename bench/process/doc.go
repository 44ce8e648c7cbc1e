// Package process runs the programs that are measured, each with its own data folder and ports, and reads what they cost
// from /proc.
//
//	process.go  start, wait until ready, kill, stop
//	usage.go    CPU, memory and disk of a process
//	weft.go     our collector and agent, alone
//	peers.go    what we compare ourselves with
package process
