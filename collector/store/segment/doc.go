// Package segment keeps one signal: batches as they came in a durable log, and segments, the sealed files that the log's
// files become. It knows when; what a batch holds and what a segment looks like it is told by a Form.
//
// A batch's way:
//
//	append   log.go       into the log file that is written, and into that file's index in memory; then acknowledged
//	seal     seal.go      a closed log file becomes a segment; the manifest is the commit point
//	merge    merge.go     neighbouring segments become one
//	retain   retain.go    old segments go; what is worth more than the bulk moves to a segment of its own before
//
// A batch is one record of a wal.Log: eight bytes of receipt time (Unix nanoseconds, little endian), then the OTLP
// protobuf unchanged. The index in memory maps 64-bit hashes of IDs (Key) to the offsets of the batches that hold
// them. It may name a batch too many (two IDs, one hash), never one too few: readers check the IDs themselves.
//
// The manifest lists the segments that count, and the last log file that they hold (manifest.go). A segment that it
// does not list was being written when a crash came: it goes. The newest sealed log files stay a while, so that what
// is known of recent requests can be filled again after a restart.
package segment
