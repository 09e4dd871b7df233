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
	sum := walSum{order: walOrder(header)}
	sum.add(header[:walSumAt])
	scan.headless = !isWAL(header, sum)
	salt := [8]byte(header[walSaltsAt:walSumAt])
	frame := make([]byte, walFrameBytes)
	content := bufio.NewReaderSize(io.NewSectionReader(wal, walHeaderBytes, size-walHeaderBytes), walBufferBytes)
	if scan.headless { // the frames say which generation they belong to
		first, err := content.Peek(walFrameHeader)
		if err != nil {
			return scan, err
		}
		salt = [8]byte(first[frameSaltsAt:])
	}
	stored := walSum{order: sum.order} // what the frame before says; sum is what its content says
	stored.set(header[walSumAt:])
	chain, commit, last := !scan.headless, true, 0 // the chain of SQLite holds up to here; a transaction may begin
	for offset := int64(walHeaderBytes); offset+walFrameBytes <= size; offset += walFrameBytes {
		if _, err := io.ReadFull(content, frame); err != nil {
			return scan, err
		}
		ours := [8]byte(frame[frameSaltsAt:]) == salt
		page := walPage{number: binary.BigEndian.Uint32(frame), commit: isCommit(frame), offset: offset + walFrameHeader}
		page.holds = continues(&sum, stored, frame) && ours
		stored.set(frame[frameSumAt:])
		scan.pages = append(scan.pages, page)
		if ours {
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
	return scan, nil
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
