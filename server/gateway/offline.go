package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

const (
	queueFile = "queue.db"
	lockFile  = "gateway.lock"
)

// What operations tell; see package queuefile.
type (
	Repaired  = queuefile.Repaired
	MovedFile = queuefile.MovedFile
)

// Offline is the queue of a gateway that does not run: the one of a data folder,
// or a copy of one anywhere else. As long as it is open no gateway starts on it.
type Offline struct {
	path string   // of the queue's file
	lock *os.File // of its folder; nil where no gateway has ever run
}

// OpenOffline takes the path of a queue's file. It changes
// nothing, and fails with [ErrInUse] when a gateway works there. The file itself
// may be missing.
func OpenOffline(path string) (*Offline, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// A folder without a lock is no gateway's, and one that cannot be written to
	// can be looked at all the same.
	lock, err := os.Open(filepath.Join(filepath.Dir(path), lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &Offline{path: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open lock of data folder: %w", err)
	}
	if err := lockFolder(lock, filepath.Dir(path)); err != nil {
		return nil, err
	}
	return &Offline{path: path, lock: lock}, nil
}

// lockFolder takes the lock of a data folder, or closes the file.
func lockFolder(lock *os.File, folder string) error {
	// A lock of the kernel goes with the process, however it ends; a file with a
	// process id would outlive a power cut.
	err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return nil
	}
	_ = lock.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s (stop it, or choose another --data-dir)", ErrInUse, folder)
	}
	return fmt.Errorf("lock data folder: %w", err)
}

// QueuePath names the file of the queue in a data folder.
func QueuePath(dataDir string) string { return filepath.Join(dataDir, queueFile) }

// Close lets a gateway start again.
func (o *Offline) Close() error {
	if o.lock == nil {
		return nil
	}
	return o.lock.Close()
}

// Path returns where the queue's file is.
func (o *Offline) Path() string { return o.path }

// VerifyQueue looks at the whole file and changes nothing; see [queuefile.Verify].
func (o *Offline) VerifyQueue(ctx context.Context) (queuefile.Verification, error) {
	found, err := queuefile.Verify(ctx, sqlite.Disk{}, o.path)
	return found, inUse(err)
}

// RepairQueue rebuilds a damaged file, or with apply unset only tells what that
// would bring; see [queuefile.Repair].
func (o *Offline) RepairQueue(ctx context.Context, apply bool) (queuefile.Repaired, error) {
	done, err := queuefile.Repair(ctx, sqlite.Disk{}, o.path, apply)
	return done, inUse(err)
}

// CompactQueue makes the file as small as what it holds; see [queuefile.Compact].
func (o *Offline) CompactQueue(ctx context.Context) (queuefile.Compaction, error) {
	done, err := queuefile.Compact(ctx, sqlite.Disk{}, o.path)
	return done, inUse(err)
}

// BackupQueue copies the queue into a file that is not there yet, and verifies the
// copy; see [queuefile.BackupFile].
func (o *Offline) BackupQueue(ctx context.Context, to string) (queuefile.Verification, error) {
	done, err := queuefile.BackupFile(ctx, sqlite.Disk{}, o.path, to)
	return done, inUse(err)
}

// RestoreQueue makes the queue from a backup; see [queuefile.Restore].
func (o *Offline) RestoreQueue(ctx context.Context, from string, force bool) (queuefile.Restored, error) {
	if o.lock == nil { // the folder may be new, and a gateway may be started in it
		folder, err := openDataDir(filepath.Dir(o.path))
		if err != nil {
			return queuefile.Restored{}, err
		}
		o.lock = folder.lock
	}
	done, err := queuefile.Restore(ctx, sqlite.Disk{}, from, o.path, force, queue.Renew)
	return done, inUse(err)
}

// inUse translates what the queue says of a file that somebody has open.
func inUse(err error) error {
	if queuefile.IsInUse(err) {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return err
}

// IsDamaged reports whether an operation was refused because a file has problems.
func IsDamaged(err error) bool {
	_, damaged := errors.AsType[*queuefile.DamagedError](err)
	return damaged
}

// IsThere reports whether an operation was refused because it would replace
// something.
func IsThere(err error) bool {
	return errors.Is(err, queuefile.ErrExists) || errors.Is(err, fs.ErrExist)
}

// Hint tells an operator what to check after an error of an operation on files;
// empty when there is nothing to say.
func Hint(err error) string { return sqlite.Hint(err) }
