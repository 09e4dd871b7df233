package sqlite

import (
	"bufio"
	"encoding/binary"
	"io"
)

// walPage is a frame of a WAL.
type walPage struct {
	number uint32 // of the page
	commit bool   // it ends a transaction
	holds  bool   // the checksum does; otherwise rows in it may still be whole
	lost   bool   // the disk did not give it back
	offset int64  // of the page's bytes in the file
}

// walScan is what lies in a WAL file. SQLite reads a WAL up to the first
// checksum that does not hold, and takes what lies behind it for a transaction
// that a crash cut off. That is also what damage looks like. But every
// transaction is synced before the next one is written: when another transaction
// follows the one that does not hold, the bytes were on disk and have changed.
//
// The checksum of a frame continues that of the frame before. Since both are
// stored, a frame behind damage can be verified from what its predecessor says, or,
// where it is that which has changed, from what its predecessor's content says. So
// it shows that one transaction really follows another: what a full disk has cut
// off earlier, and shorter transactions were written over since, continues nothing.
type walScan struct {
	pages     []walPage // in order, those that do not hold included
	whole     int       // as many SQLite reads
	committed int       // as many, up to the last commit that holds, damage before it or not
	damaged   bool
	headless  bool // the header does not hold: SQLite reads nothing
	newest    bool // it is of the newest round through the file, which begins where the file does
	lost      int  // frames that the disk did not give back, and the header
}

// frameReader reads a WAL in one go, and frame by frame once the disk has not given
// something back.
type frameReader struct {
	wal    io.ReaderAt
	buffer *bufio.Reader // nil after that
}

func (r *frameReader) read(frame []byte, offset int64) bool {
	if r.buffer != nil {
		if _, err := io.ReadFull(r.buffer, frame); err == nil {
			return true
		}
		r.buffer = nil
	}
	_, err := r.wal.ReadAt(frame, offset)
	return err == nil
}

// scanWAL reads a WAL of a size. What the disk does not give back, nobody knows
// anything of: not which page it is, nor whether it commits.
//
// Where the header does not hold, the first frame says which round the frames are of,
// or, when carve is set, the first that follows the one before it: then that may be
// damaged, too. A round begins where the file does, so that is the newest one left.
func scanWAL(wal io.ReaderAt, size int64, carve bool) (scan walScan) {
	header := make([]byte, walHeaderBytes)
	if size < walHeaderBytes+walFrameBytes {
		return scan
	}
	if _, err := wal.ReadAt(header, 0); err != nil {
		clear(header)
		scan.lost++
	}
	sum := walSum{order: walOrder(header)}
	sum.add(header[:walSumAt])
	scan.headless = !isWAL(header, sum)
	salt, salted := [8]byte(header[walSaltsAt:walSumAt]), !scan.headless
	if scan.headless && carve {
		salt, sum.order, salted = findRound(wal, size)
	}
	known := salted // by more than the frame that comes first
	frame := make([]byte, walFrameBytes)
	content := &frameReader{wal: wal, buffer: bufio.NewReaderSize(io.NewSectionReader(wal, walHeaderBytes, size-walHeaderBytes), walBufferBytes)}
	stored := walSum{order: sum.order} // what the frame before says; sum is what its content says
	stored.set(header[walSumAt:])
	live := true                                   // the frame before is of this round, or may be
	chain, commit, last := !scan.headless, true, 0 // the chain of SQLite holds up to here; a transaction may begin
	for offset := int64(walHeaderBytes); offset+walFrameBytes <= size; offset += walFrameBytes {
		if !content.read(frame, offset) {
			scan.pages = append(scan.pages, walPage{lost: true, offset: offset + walFrameHeader})
			if live { // behind the end of this round nothing is missed
				last = len(scan.pages)
			}
			chain, sum, stored = false, walSum{order: sum.order}, walSum{order: sum.order}
			continue
		}
		if !salted { // the frames say which generation they belong to
			salt, salted = [8]byte(frame[frameSaltsAt:]), true
		}
		ours := [8]byte(frame[frameSaltsAt:]) == salt
		if offset == walHeaderBytes {
			scan.newest = known && ours
		}
		page := walPage{number: binary.BigEndian.Uint32(frame), commit: isCommit(frame), offset: offset + walFrameHeader}
		page.holds = continues(&sum, stored, frame) && ours
		stored.set(frame[frameSumAt:])
		scan.pages = append(scan.pages, page)
		if live = ours; ours {
			last = len(scan.pages) // what comes behind is of an earlier round through the file
		}
		if page.holds && page.commit {
			scan.committed = len(scan.pages)
		}
		chain = chain && page.holds
		if chain && page.commit {
			scan.whole = len(scan.pages)
		}
		scan.damaged = scan.damaged || !chain && commit && page.holds
		commit = ours && page.commit
	}
	scan.pages = scan.pages[:last]
	for i := range scan.pages {
		if scan.pages[i].lost {
			scan.lost++
		}
	}
	return scan
}

// findRound looks for the first frame that continues the one before it, whatever lies
// in front of them, and returns the salts of its round and how that is summed up.
func findRound(wal io.ReaderAt, size int64) (salt [8]byte, order binary.ByteOrder, found bool) {
	content := &frameReader{wal: wal, buffer: bufio.NewReaderSize(io.NewSectionReader(wal, walHeaderBytes, size-walHeaderBytes), walBufferBytes)}
	frame, before := make([]byte, walFrameBytes), make([]byte, walFrameHeader)
	for offset := int64(walHeaderBytes); offset+walFrameBytes <= size; offset += walFrameBytes {
		read := content.read(frame, offset)
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			sum := walSum{order: order}
			sum.set(before[frameSumAt:])
			if salt = [8]byte(frame[frameSaltsAt:]); read && salt == [8]byte(before[frameSaltsAt:]) && sum.continues(frame) {
				return salt, order, true
			}
		}
		if clear(before); read {
			copy(before, frame)
		}
	}
	return salt, binary.LittleEndian, false
}

// continues adds a frame to the sum of the one before it, by what that contains or
// by what it says, and reports whether the frame holds.
func continues(sum *walSum, stored walSum, frame []byte) bool {
	said := *sum != stored
	if sum.continues(frame) {
		return true
	}
	if said {
		*sum = stored
		return sum.continues(frame)
	}
	return false
}
