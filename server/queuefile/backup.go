package queuefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"combotto.io/gateway/server/sqlite"
)

// ErrOwnName says that a backup would have a name under which the queue takes files
// for its own.
var ErrOwnName = errors.New("the queue itself uses names in its folder that begin with its own: choose another one")

// CheckName fails with [ErrOwnName] for such a name. The next start would take a
// file of it for what a crash has left of a replacement, and put it in the place of
// the queue, or remove it. That path leads there under another name of the folder
// does not help, nor does a file system that ignores case.
func CheckName(disk sqlite.Disk, path, to string) error {
	own, name := filepath.Base(path), filepath.Base(to)
	if len(name) < len(own) || !strings.EqualFold(name[:len(own)], own) {
		return nil
	}
	same, err := disk.SameFolder(filepath.Dir(path), filepath.Dir(to))
	if err == nil && same {
		err = ErrOwnName
	}
	return err
}

// BackupFile copies a queue into a file that is not there yet, and verifies the
// copy. Nobody may work with the queue meanwhile, which is left as it is. It fails
// with fs.ErrExist when there is a file of that name, with [ErrOwnName], and with a
// [*DamagedError] when the queue has problems.
func BackupFile(ctx context.Context, disk sqlite.Disk, path, to string) (Verification, error) {
	to, err := filepath.Abs(to)
	if err != nil {
		return Verification{}, err
	}
	if _, err := disk.Size(to); err == nil {
		return Verification{}, fmt.Errorf("back up: %s: %w", to, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Verification{}, fmt.Errorf("back up: %w", err)
	}
	if err := CheckName(disk, path, to); err != nil {
		return Verification{}, fmt.Errorf("back up: %s: %w", to, err)
	}
	db, err := sqlite.OpenReadOnly(ctx, sqlite.Settings{Path: path, Migrations: migrations, Disk: disk})
	if err != nil {
		return Verification{}, fmt.Errorf("back up: %w", err)
	}
	if err := errors.Join(db.Copy(ctx, to), db.Close()); err != nil {
		return Verification{}, fmt.Errorf("back up: %w", err)
	}
	v, err := VerifyBackup(ctx, disk, to, false)
	if err != nil {
		return v, fmt.Errorf("back up: %w", err)
	}
	return v, nil
}

// VerifyBackup looks at a copy, and removes it when it is not what it should be.
// Gently, it leaves the processor to others most of the time.
func VerifyBackup(ctx context.Context, disk sqlite.Disk, path string, gently bool) (Verification, error) {
	pace := newPacer(ctx)
	if gently {
		pace = newGentlePacer(ctx)
	}
	v, err := verifyFile(ctx, disk, path, pace)
	if err == nil && v.Found > 0 {
		err = &DamagedError{Verification: v}
	}
	if err != nil {
		return v, errors.Join(err, disk.Remove(path))
	}
	return v, nil
}
