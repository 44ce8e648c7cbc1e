// Package wal is an append-only log of records on disk: framed, checksummed, grouped into few writes, replayed after a
// crash. Segments, the agent's queue, the outbox and silences all keep their promise through it.
//
// A log is a folder of files named "<sequence>-<salt>.log", both in hex. The salt is in the name, not in the file, so
// that no damaged byte can make a whole file unreadable; it is mixed into every checksum, so that bytes of another
// file, or a payload that looks like a record, are never taken for one. Each record is
//
//	magic    4 bytes  "\xe1WAL"
//	length   4 bytes  of the payload, little endian
//	payload  4 bytes  CRC32C of salt and payload
//	header   4 bytes  CRC32C of salt and the 12 bytes before
//	…                 the payload
//
// What is acknowledged is in the file (and, with Power, on the disk). A tail that ends within a record is what a crash
// leaves behind: Open cuts it off. Anything else that does not check is damage: it is stepped over, counted, left
// where it is, and the records around it stay readable.
package wal
