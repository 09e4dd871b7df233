package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

const (
	// backupLook is how often somebody looks at the WAL while a backup is made.
	backupLook = 100 * time.Millisecond
	// backupShare is how much of the room below the first warning the WAL may take
	// meanwhile: one part of so many.
	backupShare = 2
	// backupStuck is how long one that was given up may take to end, before the log
	// says so: what it writes to does not answer, and only the system can end that.
	backupStuck = 10 * time.Second
)

// backups lets one be made at a time, and none once the queue stops.
type backups struct {
	making sync.Mutex
	ended  chan struct{}
}

// end gives up the backup that is being made, if any, and waits until its
// connection is closed.
func (b *backups) end() {
	close(b.ended)
	b.making.Lock()
	defer b.making.Unlock()
}

// errBackupGivesWay ends a backup that takes too much room from the queue.
var errBackupGivesWay = errors.New("the write-ahead log has grown too long")

// Backup copies the queue, as it is at one moment, into a file that is not there
// yet, verifies the copy, and returns when that is durable. What was acknowledged
// before the call is in it. Records are taken and lent meanwhile. Only the WAL
// cannot be used from its beginning again; the backup is given up before that
// takes room which records need. One backup is made at a time.
//
// Errors are for the caller: Precondition, Invalid for the path, Full, Stopping.
func (q *Queue) Backup(ctx context.Context, to string) (edge.Backup, error) {
	select {
	case <-q.backups.ended:
		return edge.Backup{}, edge.NewStopping()
	default:
	}
	if !q.backups.making.TryLock() {
		return edge.Backup{}, &edge.Error{Code: edge.Precondition, Message: "a backup is being made already", Hint: "try again when it is done"}
	}
	defer q.backups.making.Unlock()
	to = filepath.Clean(to) // what is looked at is what is written
	if err := q.checkTarget(to); err != nil {
		return edge.Backup{}, err
	}
	if err := q.flush(ctx); err != nil {
		return edge.Backup{}, backupError(ctx, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	ended := make(chan struct{})
	watch.Go(func() {
		q.watchBackup(ctx, cancel)
		q.watchStuck(to, ended) // which has nothing to say of one that ends well, or at once
	})
	defer func() {
		close(ended)
		cancel(nil)
		watch.Wait()
	}()
	began := time.Now()
	if err := q.db.Copy(ctx, to); err != nil {
		return edge.Backup{}, backupError(ctx, err)
	}
	copied := time.Since(began)
	v, err := queuefile.VerifyBackup(ctx, q.settings.Disk, to, true)
	if err != nil {
		return edge.Backup{}, backupError(ctx, err)
	}
	q.observer.Log.Info("a backup was made", "path", to, "messages", v.Records, "bytes", v.Bytes,
		"copied_in", copied.Round(time.Millisecond).String(), "verified_in", (time.Since(began) - copied).Round(time.Millisecond).String())
	return edge.Backup{Path: to, Bytes: v.Bytes, Records: v.Records, DeadLetters: v.DeadLetters}, nil
}

const hintTarget = "the path is on the gateway's machine, and the gateway's user writes it: give a new name in a folder that is there, outside the data folder"

// checkTarget refuses paths at which a backup would be taken for something else.
func (q *Queue) checkTarget(to string) error {
	refuse := func(message string) error {
		return &edge.Error{Code: edge.Invalid, Reason: edge.ReasonOutOfRange, Field: "path", Message: message, Hint: hintTarget}
	}
	if !filepath.IsAbs(to) {
		return refuse("must be absolute")
	}
	switch _, err := q.settings.Disk.Stat(to); {
	case err == nil:
		return &edge.Error{Code: edge.Precondition, Message: "there is a file of that name already", Hint: "name each backup anew, or remove the old one first"}
	case !errors.Is(err, fs.ErrNotExist):
		return refuse("cannot be looked at by the gateway")
	}
	switch _, err := q.settings.Disk.Stat(filepath.Dir(to)); {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("is in a folder that does not exist on the gateway's machine")
	case err != nil:
		return refuse("is in a folder that cannot be looked at by the gateway")
	}
	switch err := queuefile.CheckName(q.settings.Disk, q.settings.Path, to); {
	case errors.Is(err, queuefile.ErrOwnName):
		return refuse("is a name that the queue itself may use: choose another")
	case err != nil:
		return refuse("is in a folder that cannot be looked at by the gateway")
	}
	return nil
}

// watchBackup ends a backup that takes too much room, or when the queue stops.
func (q *Queue) watchBackup(ctx context.Context, cancel context.CancelCauseFunc) {
	allowed := q.backupAllowance()
	ticker := time.NewTicker(backupLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.backups.ended:
			cancel(edge.NewStopping())
			return
		case <-ticker.C:
		}
		if bytes, err := q.db.WALBytes(); err == nil && bytes > allowed {
			cancel(errBackupGivesWay)
			return
		}
	}
}

// watchStuck says that a backup does not end which has been given up.
func (q *Queue) watchStuck(to string, ended <-chan struct{}) {
	patience := time.NewTimer(backupStuck)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		q.observer.Log.Warn("a backup was given up and does not end: what it is written to does not answer, and until it does the WAL takes room that the queue needs", "path", to,
			"hint", "see what is wrong with the file system of the path: df, dmesg; make backups on a local disk, and copy them from there; docs/how-to/backup-and-restore.md")
	}
}

// backupAllowance returns how long the WAL may become while a backup is made.
func (q *Queue) backupAllowance() int64 {
	room := int64(0)
	if limit := q.settings.MaxBytes; limit > 0 {
		room = limit / 100 * warnedFrom
	} else {
		room = unbounded
	}
	if measured := q.room.Load(); measured != nil {
		room = min(room-measured.usage.taken(), measured.usage.free)
	}
	return q.bounds.walHard + max(0, room/backupShare)
}

// backupError tells a caller why there is no backup.
func backupError(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if stopping, ok := errors.AsType[*edge.Error](cause); ok {
		return stopping
	}
	if errors.Is(cause, errBackupGivesWay) {
		return &edge.Error{Code: edge.Precondition, Err: err, Message: "the backup was given up: while it was made, so much was stored that the queue would have run out of room",
			Hint: "try again when less comes in, raise queue.max_bytes, or stop the gateway and run the same command"}
	}
	if room, ok := errors.AsType[*sqlite.RoomError](err); ok {
		return &edge.Error{Code: edge.Precondition, Err: err, Message: fmt.Sprintf("there is no room for the backup: it takes %d bytes, and %d are free", room.Needs, room.Free), Hint: sqlite.Hint(err)}
	}
	if damaged, ok := errors.AsType[*queuefile.DamagedError](err); ok {
		return &edge.Error{Code: edge.Precondition, Err: err, Message: "the queue is damaged, and so was its copy, which was removed: " + damaged.Verification.Problems[0].Detail,
			Hint: "stop the gateway and run: gatewayctl queue verify"}
	}
	return fmt.Errorf("back up: %w", err)
}
