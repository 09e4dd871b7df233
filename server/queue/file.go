package queue

import (
	"context"
	"errors"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// read is a look at the file while the queue runs.
func (q *Queue) read(ctx context.Context, look func(conn *sqlite.Conn) error) error {
	return q.readFailed(q.db.Read(ctx, look))
}

// readFailed ends Run when a read has met what cannot be in a whole file. The
// error may come from the disk and be gone with a restart, so nothing is moved
// now; the next start looks at everything.
func (q *Queue) readFailed(err error) error {
	if isCorrupt(err) {
		q.breakWith(err)
	}
	return err
}

// breakWith ends Run.
func (q *Queue) breakWith(err error) {
	select {
	case q.broken <- err:
	default: // the first failure is on its way already
	}
}

// isCorrupt reports whether an error says that something in the file makes no sense.
func isCorrupt(err error) bool {
	failure, ok := errors.AsType[*sqlite.Error](err)
	return ok && failure.IsCorrupt() || errors.Is(err, queuefile.ErrRow)
}

// write runs a transaction outside the committer. With validateOnly everything
// is tried and nothing is kept.
func (q *Queue) write(ctx context.Context, validateOnly bool, fn func(conn *sqlite.Conn) error) error {
	err := q.db.Write(ctx, func(conn *sqlite.Conn) error {
		if err := fn(conn); err != nil {
			return err
		}
		if validateOnly {
			return errValidated
		}
		return nil
	})
	if err == nil || errors.Is(err, errValidated) {
		return nil
	}
	return q.writeFailed(err)
}

// errValidated ends a transaction that was only to be tried.
var errValidated = errors.New("validated only")

// writeFailed turns the error of a write outside the committer into one for its
// caller, and ends Run when nothing may be believed any more.
func (q *Queue) writeFailed(err error) error {
	if _, ok := errors.AsType[*sqlite.Error](err); ok {
		if q.db.NoRoom(err) != nil {
			full := edge.NewFull()
			full.Err = err
			return full
		}
		q.breakWith(err)
	}
	return err
}
