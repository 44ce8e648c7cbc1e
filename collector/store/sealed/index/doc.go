// Package index finds the rows that an ID leads to, in a file beside the rows.
//
// An ID is known by the 64-bit hash of it (Key). The file is, all numbers little endian:
//
//	header  64 bytes: magic "WEFTIDX2", entries, Bloom blocks, size of the summary, size of the file with the rows,
//	        CRC32C of that file's footer with 4 zero bytes, 4 zero bytes, CRC32C of the 60 bytes before
//	summary what its owner wants to know first (JSON), then its CRC32C
//	bloom   from the next multiple of 64: blocks of 64 bytes: a Bloom filter of 480 bits for the keys that hash to the
//	        block, then the CRC32C of it (blocked filter: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom
//	        Filters", 2007)
//	pages   from the next multiple of 4096: pages of 4096 bytes: 511 entries of 8 bytes (the key's upper 32 bits, row) in
//	        order, the rest of the last page all ones; 4 zero bytes; the CRC32C of the page
//
// A look-up reads one block, which lies in one 4 KiB page of the disk, and if the filter says "maybe" one or two pages
// of entries, found by interpolation. Nothing is mapped into memory: a bad disk is an error, not a signal.
//
// 32 bits of the key are enough, since the filter asks the other 32: see Cost in the tests, and FORMAT.md for the
// arithmetic.
package index
