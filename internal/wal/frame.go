package wal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

const headerLen = 16

var magic = [4]byte{0xe1, 'W', 'A', 'L'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum mixes the file's salt in first, so that equal bytes in two files do not check alike.
func checksum(salt uint32, data []byte) uint32 {
	return crc32.Update(salt, castagnoli, data)
}

// appendFrame adds one record, whose payload is the parts joined, to buf.
func appendFrame(buf []byte, salt uint32, parts [][]byte) []byte {
	start := len(buf)
	buf = append(buf, make([]byte, headerLen)...)
	for _, p := range parts {
		buf = append(buf, p...)
	}
	h, payload := buf[start:start+headerLen], buf[start+headerLen:]
	copy(h, magic[:])
	binary.LittleEndian.PutUint32(h[4:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(h[8:], checksum(salt, payload))
	binary.LittleEndian.PutUint32(h[12:], checksum(salt, h[:12]))
	return buf
}

// header reads a record's header; ok is false when the bytes are no header of this file.
func header(h []byte, salt uint32) (length int, payloadSum uint32, ok bool) {
	if !bytes.Equal(h[:4], magic[:]) || binary.LittleEndian.Uint32(h[12:]) != checksum(salt, h[:12]) {
		return 0, 0, false
	}
	return int(binary.LittleEndian.Uint32(h[4:])), binary.LittleEndian.Uint32(h[8:]), true
}

// Damage is a range of a file that holds no readable record, though records follow it.
type Damage struct {
	File   string // path
	Offset int64
	Length int64
}

// scanner walks the records of one file up to end. Reading past damage never fails; only the device can make it fail.
type scanner struct {
	src     io.ReaderAt
	salt    uint32
	max     int   // longest payload
	off     int64 // of the next record
	end     int64
	damaged func(offset, length int64)

	window []byte // bytes read ahead, of the file from base
	base   int64
	buf    []byte // the window's storage
}

const readAhead = 256 << 10

// fetch returns n bytes at off, fewer at the end of the file. The slice is valid until the next call.
func (s *scanner) fetch(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), max(0, s.end-off)))
	if rel := off - s.base; rel >= 0 && rel+int64(n) <= int64(len(s.window)) {
		return s.window[rel : rel+int64(n)], nil
	}
	want := int(min(int64(max(n, readAhead)), s.end-off))
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	got, err := s.src.ReadAt(s.buf[:want], off)
	if err != nil && err != io.EOF {
		return nil, err
	}
	s.base, s.window = off, s.buf[:got]
	return s.window[:min(n, got)], nil
}

// next returns the offset and payload of the next readable record; io.EOF when none follows. After io.EOF, off is
// where the last readable record ends: whatever lies beyond is a torn tail.
func (s *scanner) next() (int64, []byte, error) {
	for start := s.off; ; {
		payload, ok, err := s.at(s.off)
		if err != nil {
			return 0, nil, err
		}
		if ok {
			if s.off > start {
				s.damaged(start, s.off-start)
			}
			at := s.off
			s.off += headerLen + int64(len(payload))
			return at, payload, nil
		}
		candidate, found, err := s.search(s.off + 1)
		if err != nil {
			return 0, nil, err
		}
		if !found {
			s.off = start
			return 0, nil, io.EOF
		}
		s.off = candidate
	}
}

// at reads the record at off; ok is false when there is none that checks.
func (s *scanner) at(off int64) (payload []byte, ok bool, err error) {
	h, err := s.fetch(off, headerLen)
	if err != nil || len(h) < headerLen {
		return nil, false, err
	}
	length, sum, ok := header(h, s.salt)
	if !ok || length > s.max || off+headerLen+int64(length) > s.end {
		return nil, false, nil
	}
	all, err := s.fetch(off, headerLen+length)
	if err != nil || len(all) < headerLen+length {
		return nil, false, err
	}
	payload = all[headerLen:]
	return payload, checksum(s.salt, payload) == sum, nil
}

// search finds the next header that checks, from off on.
func (s *scanner) search(off int64) (int64, bool, error) {
	for off+headerLen <= s.end {
		chunk, err := s.fetch(off, readAhead)
		if err != nil {
			return 0, false, err
		}
		if len(chunk) < headerLen {
			return 0, false, nil
		}
		last := len(chunk) - headerLen // where a whole header can still begin
		for i := 0; i <= last; i++ {
			jump := bytes.Index(chunk[i:], magic[:])
			if i += jump; jump < 0 || i > last {
				break
			}
			if _, _, ok := header(chunk[i:i+headerLen], s.salt); ok {
				return off + int64(i), true, nil
			}
		}
		off += int64(last + 1)
	}
	return 0, false, nil
}
