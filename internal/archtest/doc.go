// Package archtest holds the tests of the architecture: who may import whom, what the binaries link, and how large things
// may grow. docs/architecture.md says why.
package archtest
