package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
)

// openFile opens the file, and replaces it first when it is damaged. What looks
// damaged is looked at twice, because an error of the disk may pass for damage.
func openFile(ctx context.Context, settings Settings, observer *observe.Observer) (*Queue, error) {
	path, err := filepath.Abs(settings.Path)
	if err != nil {
		return nil, err
	}
	settings.Path = path
	old, err := finishReplacements(settings.Disk, path)
	old.report(observer)
	if err != nil {
		return nil, err
	}
	q, err := lookAndOpen(ctx, settings, observer)
	if isDamage(err) {
		observer.Log.Error("the queue's file looks damaged: it is looked at once more", "path", path, "error", err.Error())
		q, err = lookAndOpen(ctx, settings, observer)
	}
	if isDamage(err) {
		q, err = repairAndOpen(ctx, settings, observer, err)
	}
	if err != nil {
		return nil, err
	}
	if err := reportCopies(settings.Disk, path, observer); err != nil {
		observer.Log.Warn("whether there are copies of the queue's file is not known", "error", err)
	}
	return q, nil
}

// repairAndOpen mends a damaged file in place, or puts what can be read of it into
// a new one.
func repairAndOpen(ctx context.Context, settings Settings, observer *observe.Observer, why error) (*Queue, error) {
	disk, path := settings.Disk, settings.Path
	report, err := mendFound(ctx, disk, path)
	if err == nil {
		observer.Log.Error("rows of the queue's file were damaged, and were mended in place: no message is lost", "error", why.Error(),
			"messages", report.Records, "dead_letters", report.DeadLetters, "everything_is_sent_again", report.CursorsLost,
			"hint", "look at the disk; docs/runbooks/damaged-queue.md")
	} else if !errors.Is(err, errNotMended) {
		return nil, fmt.Errorf("mend a damaged file (%w): %w", why, err)
	} else if err := salvageAndTell(ctx, disk, path, observer, why); err != nil {
		return nil, err
	}
	if err := disk.Remove(path + suspectSuffix); err != nil {
		return nil, err
	}
	return openOnce(ctx, settings, observer, nil)
}

func salvageAndTell(ctx context.Context, disk sqlite.Disk, path string, observer *observe.Observer, why error) error {
	report, old, failure := salvageFile(ctx, disk, path)
	if old.kept == "" {
		return fmt.Errorf("salvage a damaged file (%w): %w", why, failure)
	}
	observer.Log.Error("the queue's file was damaged: what could be read is in a new one, and the old one is kept",
		"error", why.Error(), "salvage_error", failure, "kept", old.kept, "messages", report.Records, "dead_letters", report.DeadLetters, "lost", report.Lost,
		"everything_is_sent_again", report.CursorsLost, "unreadable_pages", report.Unreadable, "complete", report.Complete, "fault", report.Fault,
		"hint", "replace the disk when it fails; docs/runbooks/damaged-queue.md says what to do with the old file")
	old.report(observer)
	return nil
}

// lookAndOpen opens the file unless a look at it finds damage that SQLite would
// not see.
func lookAndOpen(ctx context.Context, settings Settings, observer *observe.Observer) (*Queue, error) {
	tail, err := readTail(settings.Disk, settings.Path)
	if err != nil {
		return nil, err
	}
	if tail != nil && tail.fault != nil {
		observer.Log.Error("a part of the WAL that a crash has cut off could not be looked at", "error", fmt.Errorf("%w: %w", errFault, tail.fault))
	}
	marked, err := exists(settings.Disk, settings.Path+suspectSuffix)
	if err != nil {
		return nil, err
	}
	q, err := openOnce(ctx, settings, observer, tail)
	if err != nil || !marked {
		return q, err
	}
	verification, err := q.verify(ctx)
	if err == nil && verification.Structural > 0 {
		err = damagedRowError("%s", verification.Problems[0].Detail)
	}
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, settings.Disk.Remove(settings.Path + suspectSuffix)
}

// verify is Verify for a file that is open and that nobody writes to.
func (q *Queue) verify(ctx context.Context) (Verification, error) {
	v := Verification{Path: q.settings.Path, Problems: []Problem{}}
	return v, v.run(ctx, q.db, nil)
}

// isDamage reports whether an error on opening a file says that what is in it
// makes no sense. Everything is taken for that which is not known to be
// something else: a start must not fail for ever.
func isDamage(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sqlite.ErrClosed) || IsNewer(err) || isPassing(err) {
		return false
	}
	_, ofSQLite := errors.AsType[*sqlite.Error](err)
	_, ofPragma := errors.AsType[*sqlite.PragmaError](err)
	return ofSQLite || ofPragma || errors.Is(err, errRow)
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
	return !isPassing(err) && (ofSQLite || ofFrame || errors.Is(err, errRow) || errors.Is(err, errFault))
}

// read is a look at the file while the queue runs.
func (q *Queue) read(ctx context.Context, look func(conn *sqlite.Conn) error) error {
	return q.readFailed(q.db.Read(ctx, look))
}

// readFailed ends Run when a read has met what cannot be in a whole file. The
// error may come from the disk and be gone with a restart, so nothing is moved
// now; the next start looks at everything.
func (q *Queue) readFailed(err error) error {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if ok && failure.IsCorrupt() || errors.Is(err, errRow) {
		select {
		case q.broken <- err:
		default: // the first failure is on its way already
		}
	}
	return err
}

// explain checks that positions which are in no frame are known to be gone: they
// lie in front of all frames, or in quarantine. Otherwise the file has lost them.
func (q *Queue) explain(ctx context.Context, gap span) error {
	missing := false
	err := q.read(ctx, func(conn *sqlite.Conn) error {
		front := edge.Position(0)
		if _, err := conn.One("SELECT id FROM frame ORDER BY id LIMIT 1", func(row sqlite.Row) { front = edge.Position(row.Int(0)) }); err != nil {
			return err
		}
		if front == 0 || front >= gap.end {
			return nil
		}
		var apart spans
		err := conn.Query("SELECT position, n FROM quarantine WHERE sink = -1 AND position < ?", func(row sqlite.Row) error {
			apart.add(span{edge.Position(row.Int(0)), edge.Position(row.Int(0) + row.Int(1))})
			return nil
		}, int64(gap.end))
		missing = !apart.contains(span{max(gap.first, front), gap.end})
		return err
	})
	if err == nil && missing {
		err = damagedRowError("positions %d to %d are in no frame", gap.first, gap.end-1)
	}
	return q.readFailed(err)
}
