// Package e2e holds tests that run the whole of Weft as a user would: bin/weft up, real processes, real requests; and one
// that kills agent and collector, alone, again and again. They need make build to have run, and use free ports of the
// loopback interface only.
package e2e
