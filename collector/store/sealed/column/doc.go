// Package column reads the columns of a Parquet file that package table has written, whatever they mean.
//
// A Reader reads single pages, through a Cursor that counts what it read. Columns are flat and optional, so that a field
// nobody fills costs nothing.
//
// A row group's pages and Bloom filters lie in one piece, so that it can be copied to another file. Behind all of them
// come the column indexes, then the offset indexes, in order of row group and column. The footer has the CRC32C of each
// row group's share of both ("weft.sums"), and before it stands its own: Parquet has checksums for pages only. Foreign
// readers do not see those twelve bytes, which no offset points at.
//
// Every page but that of an all-null chunk lies within one Block of rows, so that the columns of a block can be read side
// by side.
//
// Source: apache/parquet-format 2.12 (parquet.thrift, Encodings.md, BloomFilter.md).
package column
