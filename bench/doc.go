// Package bench is the command weft-bench: it starts real processes, sends them load, and prints what that cost.
//
//	command.go  subcommands and their common flags
//	cost.go     CPU, memory and disk of processes under a load
//	ingest.go   that of our own
//	compare.go  that of our own and of what we compare ourselves with
//	lookup.go   how long questions take: over a data set of any size, after a restart, under load
//	recover.go  how soon a collector is ready that was killed with much in its log
//	verify.go   whether everything acknowledged is there, once, as it was sent
package bench
