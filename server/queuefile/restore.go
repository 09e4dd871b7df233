package queuefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// Restored is what a backup has brought back.
type Restored struct {
	Verification
	Kept  string      `json:"kept"`            // what the file that was there is called now; empty when there was none
	Moved []MovedFile `json:"moved,omitempty"` // what [FinishReplacements] has found, whether the rest succeeds or not
}

// ErrExists says that a restore would replace a queue, and was not told to.
var ErrExists = errors.New("there is a queue already")

// Restore makes the queue at path from a backup, or from any other copy that is
// whole; a crash at any moment leaves what was there, or all of it. A queue that
// is there is only replaced with force, and is kept beside the new one.
//
// The gateway that the backup was made of has gone on since. What the restored
// one stores gets positions far above, and correlation ids of a log of its own, so
// that neither an id nor the name of a batch is given twice. What the backup does
// not know of is stored as new when its device sends it again; what was delivered
// since the backup is delivered again, with the same correlation ids.
//
// It fails with [ErrExists], with a [*DamagedError] when the backup has problems,
// and with a [*sqlite.RoomError]; then nothing was changed but what Moved lists.
//
// The caller says how to renew the copy: to bring it to where its last commits
// lead, as a start does, and to save it as it then is behind [Renewal.Next], once
// [Renewal.Write] has given it another log.
func Restore(ctx context.Context, disk sqlite.Disk, from, path string, force bool, renew func(context.Context, *sqlite.DB, Renewal) error) (done Restored, err error) {
	if from, err = filepath.Abs(from); err != nil {
		return done, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return done, err
	}
	if from == path {
		return done, fmt.Errorf("restore: %s is the queue itself", from)
	}
	if done.Moved, err = FinishReplacements(ctx, disk, path); err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	highest, err := highestKnown(ctx, disk, path)
	if err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	if highest >= 0 && !force {
		return done, fmt.Errorf("restore: %w: %s", ErrExists, path)
	}
	backup, err := Verify(ctx, disk, from)
	if err == nil && backup.Found > 0 {
		err = &DamagedError{Verification: backup}
	}
	if err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	building := path + suffixBuilding
	if err := buildRestored(ctx, disk, backup.Path, building, highest, renew); err != nil {
		return done, fmt.Errorf("restore: %w", errors.Join(err, removeDatabase(disk, building)))
	}
	if done.Verification, err = verifyCopy(ctx, disk, building, &backup); err != nil {
		return done, fmt.Errorf("restore: %w", errors.Join(err, removeDatabase(disk, building)))
	}
	done.Path = path
	old, err := becauseRestored.replace(disk, path)
	if done.Kept = old.Kept; err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	return done, ClearSuspect(disk, path)
}

// highestKnown returns the highest position that a file has handed out, as far as
// that can be read, and -1 when there is no file.
func highestKnown(ctx context.Context, disk sqlite.Disk, path string) (edge.Position, error) {
	_, err := disk.Size(path)
	if errors.Is(err, fs.ErrNotExist) { // a WAL alone is what is left of a file
		_, err = disk.Size(path + "-wal")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	db, err := sqlite.OpenReadOnly(ctx, sqlite.Settings{Path: path, Migrations: migrations, Disk: disk})
	if IsInUse(err) {
		return 0, err
	}
	if err != nil {
		return 0, nil // it may be damaged, and what is skipped is far more than it can have used
	}
	head := edge.Position(0)
	err = db.Read(ctx, func(conn *sqlite.Conn) (err error) {
		head, err = Head(conn)
		return err
	})
	_ = err // as above
	return min(head, MaxPosition), db.Close()
}

// buildRestored copies a backup and gives the copy an identity of its own.
func buildRestored(ctx context.Context, disk sqlite.Disk, from, to string, highest edge.Position, renew func(context.Context, *sqlite.DB, Renewal) error) error {
	source, err := sqlite.OpenReadOnly(ctx, sqlite.Settings{Path: from, Migrations: migrations, Disk: disk})
	if err != nil {
		return err
	}
	if err := errors.Join(source.Copy(ctx, to), source.Close()); err != nil {
		return err
	}
	db, err := Open(ctx, disk, to)
	if err != nil {
		return err
	}
	return errors.Join(renew(ctx, db, Renewal{Path: to, highest: highest}), db.Close())
}

// Between what a backup holds and what is stored next lie at least so many
// positions, and at most twice as many: more than the gateway that went on can
// have used. At 300,000 records a second that takes it three weeks.
const positionsSkippedMin = 1 << 39

// Renewal is what gives a file an identity of its own: a copy, or one of which
// something was removed.
type Renewal struct {
	Path    string
	highest edge.Position // of what a copy replaces
	lost    bool          // the file is what is left of one
}

// NewRenewal is for a file that has lost what it held last, or everything, and cannot
// tell how far it had come.
func NewRenewal(path string) Renewal { return Renewal{Path: path, lost: true} }

// Lost reports whether messages were lost with what was removed of a file.
func (r *Renewal) Lost() bool { return r.lost }

// Next returns a position far above all that were given out, head being the last
// one in the file.
func (r *Renewal) Next(head edge.Position) (edge.Position, error) {
	if r.lost && head == 0 {
		head = positionUnknown(time.Now())
	}
	next := max(head, r.highest) + positionsSkippedMin + edge.Position(rand.Int64N(positionsSkippedMin))
	if next > MaxPosition-positionsSkippedMin {
		return 0, fmt.Errorf("it has been restored too often: position %d leads nowhere", next)
	}
	return next, nil
}

// Write gives the copy a log that it has not had. Nothing is stored between head
// and next, and refused is the number of the last refused message.
func (r *Renewal) Write(conn *sqlite.Conn, known Logs, head, next edge.Position, refused, skipped, salvaged int64, at time.Time) (log uint16, err error) {
	if log, err = renewLog(conn, known, head+1, refused+1, true); err != nil {
		return 0, err
	}
	if err := insertHole(conn, Span{head + 1, next + 1}, reasonSkipped); err != nil {
		return 0, err
	}
	if err := conn.Exec("UPDATE ledger SET log = ?, skipped = ?, salvaged = ?, restored_at = ?", int64(log), skipped, salvaged, at.UnixMicro()); err != nil {
		return 0, fmt.Errorf("renew the ledger: %w", err)
	}
	return log, nil
}
