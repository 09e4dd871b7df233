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

// SchemaError says that a newer program has written the file. Starting again
// does not help; the newer program does.
type SchemaError struct {
	Path    string
	Version int // of the file
	Known   int // the newest that this program knows
}

func (e *SchemaError) Error() string {
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
