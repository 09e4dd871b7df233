package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Error is a failure that SQLite reported.
type Error struct {
	Statement string // what was run
	Code      int    // SQLite's extended result code
	Err       error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Statement, e.Err) }

// Unwrap returns the driver's error.
func (e *Error) Unwrap() error { return e.Err }

// IsFull reports whether err says that there is no room on the disk. [DB.NoRoom]
// knows more failed writes after which the database can be used as before.
func IsFull(err error) bool {
	failure, ok := errors.AsType[*Error](err)
	return ok && failure.Code&0xFF == sqlite3.SQLITE_FULL
}

// IsCorrupt reports whether SQLite has found something in a file that does not
// belong there. On a running database that may be the disk's answer to one read.
func (e *Error) IsCorrupt() bool {
	code := e.Code & 0xFF
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// IsContent reports whether the content of the file may be the reason, rather
// than rights, locks, memory, room, or a disk that fails.
func (e *Error) IsContent() bool {
	switch e.Code & 0xFF {
	case sqlite3.SQLITE_PERM, sqlite3.SQLITE_ABORT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
		sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_AUTH:
		return false
	}
	return true
}

// SchemaError says that a newer program has written the file. Starting again
// does not help; the newer program does. Whoever only looks at a file meets it for
// an older one, too, which a start would bring up to date.
type SchemaError struct {
	Path    string
	Version int // of the file
	Known   int // the newest that this program knows
}

func (e *SchemaError) Error() string {
	if e.Version < e.Known {
		return fmt.Sprintf("%s has schema version %d, this program looks at version %d: start the gateway on it once, which brings it up to date", e.Path, e.Version, e.Known)
	}
	return fmt.Sprintf("%s has schema version %d, this program knows up to %d: use the newer program, or restore a backup", e.Path, e.Version, e.Known)
}

// wrap gives a driver's error its statement and its code.
func wrap(statement string, err error) error {
	if err == nil {
		return nil
	}
	failure := &Error{Statement: statement, Err: err}
	if reported, ok := errors.AsType[*sqlite.Error](err); ok {
		failure.Code = reported.Code()
	}
	return failure
}
