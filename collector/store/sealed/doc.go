// Package sealed is one immutable file of spans, or of log records, with its index.
//
// The rows are a Parquet file that any engine reads (FORMAT.md), sorted so that a request is one run of them. The index
// beside it says at which row the run of a trace or of a request ID begins. WriteSpans and WriteLogs make both from the
// batches of a closed log file, under temporary names; Publish makes them visible, the rows last: a file is there whole or
// not at all.
//
// A damaged page costs the rows in it: they are counted, the others are read. A damaged index is made again from the rows.
package sealed
