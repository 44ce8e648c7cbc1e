// Package segment is the durable log of one signal: batches as they came, found again by the IDs in them.
//
// A batch is one record of a wal.Log: eight bytes of receipt time (Unix nanoseconds, little endian), then the OTLP
// protobuf unchanged. Beside each log file that is no longer written lies its index ("….idx", see indexfile.go);
// the index of the file being written is in memory and rebuilt from the file after a crash.
//
// The index maps 64-bit hashes of IDs (Key) to the offsets of the batches that hold them. It may name a batch too
// many (two IDs, one hash), never one too few: readers check the IDs themselves.
//
// Sealing into Parquet will take the place of the .idx step: a part has one index behind the index interface, and
// Run seals parts in order.
package segment
