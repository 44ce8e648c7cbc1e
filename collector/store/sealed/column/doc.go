// Package column writes and reads the columns of a Parquet file, whatever they mean.
//
// A Table holds rows in memory, column by column; a Writer puts it into a file as one row group, in any order of its
// rows; a Reader reads single pages. Columns are flat and optional, so that a field nobody fills costs nothing.
//
// A row group lies in one piece: the pages column by column, the Bloom filters, then all column indexes and all offset
// indexes, each of the two followed by its CRC32C. The footer has its CRC32C before it. Foreign readers do not see these
// twelve bytes, which no offset points at; ours need them because Parquet has checksums for pages only.
//
// Every page but that of an all-null chunk lies within one Block of rows, so that the columns of a block can be read side
// by side.
//
// Source: apache/parquet-format 2.12 (parquet.thrift, Encodings.md, BloomFilter.md).
package column
