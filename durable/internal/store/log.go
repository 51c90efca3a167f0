package store

import (
	"encoding/binary"
	"io"
	"os"
)

// scanLog reads a write-ahead log as SQLite does at an open, and returns how
// many frames of the log SQLite drops, because they or frames before them are
// damaged, and how many transactions those frames complete. It must be called
// while nothing in this process has the file open.
//
// The log begins with a header of 32 bytes: the magic number, version, page
// size, a counter, two salts and two checksums. Each frame has a header of 24
// bytes - page number, size of the database after a commit or 0, the salts, and
// the checksums over all before it - and a page. Frames with other salts are
// the rest of an earlier log; one of the two salts is enough, as a bit of the
// other one may have flipped.
func scanLog(path string) (frames, commits int64) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	var head [32]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return 0, 0
	}
	magic := binary.BigEndian.Uint32(head[0:])
	pageSize := int(binary.BigEndian.Uint32(head[8:]))
	if pageSize < 512 || pageSize > 65536 || pageSize&(pageSize-1) != 0 {
		pageSize = 4096
	}
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	s0, s1 := logSum(order, head[:24], 0, 0)
	good := magic&^1 == 0x377f0682 && s0 == binary.BigEndian.Uint32(head[24:]) && s1 == binary.BigEndian.Uint32(head[28:])
	frame := make([]byte, 24+pageSize)
	for {
		if _, err := io.ReadFull(f, frame); err != nil {
			return frames, commits
		}
		ours := string(frame[8:12]) == string(head[16:20]) || string(frame[12:16]) == string(head[20:24])
		if good {
			a, b := logSum(order, frame[:8], s0, s1)
			a, b = logSum(order, frame[24:], a, b)
			good = string(frame[8:16]) == string(head[16:24]) &&
				a == binary.BigEndian.Uint32(frame[16:]) && b == binary.BigEndian.Uint32(frame[20:])
			if good {
				s0, s1 = a, b
				continue
			}
			if !ours {
				return 0, 0
			}
		}
		if ours {
			frames++
			if binary.BigEndian.Uint32(frame[4:]) != 0 {
				commits++
			}
		}
	}
}

// logSum is the checksum of the log, from that of what came before.
func logSum(order binary.ByteOrder, b []byte, s0, s1 uint32) (uint32, uint32) {
	for i := 0; i+8 <= len(b); i += 8 {
		s0 += order.Uint32(b[i:]) + s1
		s1 += order.Uint32(b[i+4:]) + s0
	}
	return s0, s1
}
