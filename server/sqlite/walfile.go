package sqlite

import (
	"encoding/binary"
	"io"
)

// walPage is a frame of a WAL.
type walPage struct {
	number uint32 // of the page
	commit bool   // it ends a transaction
	holds  bool   // the checksum does; otherwise rows in it may still be whole
	offset int64  // of the page's bytes in the file
}

// walScan is what lies in a WAL file. SQLite reads a WAL up to the first
// checksum that does not hold, and takes what lies behind it for a transaction
// that a crash cut off. That is also what damage looks like. But every
// transaction is synced before the next one is written: when another transaction
// follows the one that does not hold, the bytes were on disk and have changed.
//
// The checksum of a frame continues that of the frame before. Since both are
// stored, a frame behind damage can be verified from what its predecessor says.
type walScan struct {
	pages   []walPage // in order, those that do not hold included
	whole   int       // as many SQLite reads
	damaged bool
}

// scanWAL reads a WAL of a size.
func scanWAL(wal io.ReaderAt, size int64) (scan walScan, err error) {
	header := make([]byte, walHeaderBytes)
	if size < walHeaderBytes+walFrameBytes {
		return scan, nil
	}
	if _, err := wal.ReadAt(header, 0); err != nil {
		return scan, err
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if header[3]&1 != 0 {
		order = binary.BigEndian
	}
	sum := walSum{order: order}
	sum.add(header[:24])
	intact := sum.equals(header[24:32]) && binary.BigEndian.Uint32(header)&^1 == walMagic
	salt := [8]byte(header[16:24])
	if !intact { // the frames say which generation they belong to
		if _, err := wal.ReadAt(salt[:], walHeaderBytes+8); err != nil {
			return scan, err
		}
	}
	chain, ended := intact, false // the chain of SQLite holds up to here; a transaction ended behind its end
	frame, last := make([]byte, walFrameBytes), 0
	for offset := int64(walHeaderBytes); offset+walFrameBytes <= size; offset += walFrameBytes {
		if _, err := wal.ReadAt(frame, offset); err != nil {
			return scan, err
		}
		sum.add(frame[:8])
		sum.add(frame[walFrameHeader:])
		page := walPage{number: binary.BigEndian.Uint32(frame), commit: binary.BigEndian.Uint32(frame[4:]) > 0, offset: offset + walFrameHeader}
		ours := [8]byte(frame[8:16]) == salt
		page.holds = ours && sum.equals(frame[16:24]) && page.number > 0
		sum.set(frame[16:24])
		scan.pages = append(scan.pages, page)
		if ours {
			last = len(scan.pages) // what comes behind is of an earlier round through the file
		}
		if chain = chain && page.holds; chain && page.commit {
			scan.whole = len(scan.pages)
		}
		if !chain && ours {
			scan.damaged = scan.damaged || ended && page.holds
			ended = ended || page.commit
		}
	}
	scan.pages = scan.pages[:last]
	return scan, nil
}

// walSum is the checksum of a WAL.
type walSum struct {
	order binary.ByteOrder
	a, b  uint32
}

func (s *walSum) add(bytes []byte) {
	for ; len(bytes) >= 8; bytes = bytes[8:] {
		s.a += s.order.Uint32(bytes) + s.b
		s.b += s.order.Uint32(bytes[4:]) + s.a
	}
}

func (s *walSum) equals(stored []byte) bool {
	return s.a == binary.BigEndian.Uint32(stored) && s.b == binary.BigEndian.Uint32(stored[4:])
}

func (s *walSum) set(stored []byte) {
	s.a, s.b = binary.BigEndian.Uint32(stored), binary.BigEndian.Uint32(stored[4:])
}
