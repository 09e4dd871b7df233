package queuefile

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"combotto.io/gateway/server/sqlite"
)

// DamagedError says that a file has problems that have to be mended first.
type DamagedError struct {
	Verification Verification
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%d problems in %s, the first: %s", e.Verification.Found, e.Verification.Path, e.Verification.Problems[0].Detail)
}

// ErrRow says that a row which everything depends on is not what was written.
var ErrRow = errors.New("a row is not what was written")

// NewRowError says which row it is; the error is [ErrRow].
func NewRowError(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", ErrRow, fmt.Sprintf(format, arguments...))
}

// ErrFault says that the program is wrong.
var ErrFault = errors.New("a fault of the program, please report it")

// ErrGone says that a file is what is left of one, whatever it looks like.
var ErrGone = errors.New("the gateway was killed, and the WAL was removed or emptied since: what was committed last is missing, and the next start of the gateway goes on far above")

// IsInUse reports whether Open has refused a file because another process has it
// open.
func IsInUse(err error) bool {
	_, used := errors.AsType[*sqlite.InUseError](err)
	return used
}

// IsNewer reports whether Open has refused a file because a newer program has
// written it. Starting again is useless then.
func IsNewer(err error) bool {
	_, newer := errors.AsType[*sqlite.SchemaError](err)
	return newer
}

// IsLink reports whether Open has refused a file because its name is a symbolic
// link. Starting again is useless then, too.
func IsLink(err error) bool {
	_, link := errors.AsType[*sqlite.LinkError](err)
	return link
}

// isSpecial reports whether what should be a file is none.
func isSpecial(err error) bool {
	_, special := errors.AsType[*sqlite.SpecialError](err)
	return special
}

// IsDamage reports whether an error on opening a file says that what is in it
// makes no sense. Everything is taken for that which is not known to be
// something else: a start must not fail for ever.
func IsDamage(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sqlite.ErrClosed) || IsNewer(err) || isPassing(err) {
		return false
	}
	_, ofSQLite := errors.AsType[*sqlite.Error](err)
	_, ofPragma := errors.AsType[*sqlite.PragmaError](err)
	return ofSQLite || ofPragma || errors.Is(err, ErrRow)
}

// isPassing reports whether an error may be gone with the next try, or is nothing
// that a new file would mend: no room, no right, no answer of the disk.
func isPassing(err error) bool {
	if failure, ok := errors.AsType[*sqlite.Error](err); ok {
		return !failure.IsContent()
	}
	_, ofSystem := errors.AsType[syscall.Errno](err)
	_, ofDisk := errors.AsType[*sqlite.UnreadableError](err)
	_, ofWAL := errors.AsType[*sqlite.WALUnreadableError](err)
	_, ofRoom := errors.AsType[*sqlite.RoomError](err)
	return ofSystem || ofDisk || ofWAL || ofRoom
}

// isHopeless reports whether a salvage failed for a reason that lies in the file, or
// in the program: the next one would fail, too.
func isHopeless(err error) bool {
	_, ofSQLite := errors.AsType[*sqlite.Error](err)
	_, ofFrame := errors.AsType[*DamageError](err)
	return !isPassing(err) && (ofSQLite || ofFrame || errors.Is(err, ErrRow) || errors.Is(err, ErrFault))
}
