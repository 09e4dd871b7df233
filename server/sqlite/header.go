package sqlite

import (
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"
)

// Where page 1 says which versions of the format whoever writes and whoever reads has
// to know, and the newest that there is.
const (
	headerWriteVersion = 18
	headerReadVersion  = 19
	headerVersionMax   = 2 // a WAL
)

// CheckHeader fails with an [*Error] when page 1, as SQLite would read it, says that it
// is of a format that does not exist. SQLite takes that for the file of a newer program,
// which it may only read, and the error of the first write looks like a missing right.
// A page that the disk does not give back says nothing.
func (i *Image) CheckHeader() error {
	at := place{}
	for n := range i.scan.pages[:i.scan.whole] {
		if i.scan.pages[n].number == 1 {
			at = place{wal: true, offset: i.scan.pages[n].offset}
		}
	}
	page := make([]byte, PageBytes)
	if !at.wal && i.inDatabase == 0 || !i.readAt(at, page) {
		return nil
	}
	if write, read := page[headerWriteVersion], page[headerReadVersion]; max(write, read) > headerVersionMax {
		return &Error{Statement: "read the header", Code: sqlite3.SQLITE_CORRUPT, Err: fmt.Errorf("the versions of the format are %d and %d, and the newest is %d", write, read, headerVersionMax)}
	}
	return nil
}
