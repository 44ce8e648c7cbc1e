// Package bench is the command weft-bench: it starts real processes, sends them load, and prints what that cost.
//
//	command.go  subcommands and their common flags
//	ingest.go   CPU, memory and disk per span and log record
//	lookup.go   how long a question takes
//	verify.go   whether everything acknowledged is there, once
//	large.go    a large data set: ready after a restart, questions under load
//	profile.go  where the CPU goes
package bench
