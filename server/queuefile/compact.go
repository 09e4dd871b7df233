package queuefile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"combotto.io/gateway/server/sqlite"
)

// Compaction tells what a file takes.
type Compaction struct {
	Before int64       `json:"before_bytes"` // of the file, and of its WAL
	After  int64       `json:"after_bytes"`
	Moved  []MovedFile `json:"moved,omitempty"` // what [FinishReplacements] has found, whether the rest succeeds or not
}

// Compact replaces the file at path by one that takes only what is used, and a
// crash at any moment leaves one or the other. Nobody may work with the file
// meanwhile. It needs room for the second file and fails with a
// [*sqlite.RoomError] without it, and with a [*DamagedError] when the file is
// damaged, or with [ErrGone]; then nothing was changed but what Moved lists.
func Compact(ctx context.Context, disk sqlite.Disk, path string) (done Compaction, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return done, err
	}
	if done.Moved, err = FinishReplacements(ctx, disk, path); err != nil {
		return done, fmt.Errorf("compact: %w", err)
	}
	before, err := Verify(ctx, disk, path)
	if err == nil && before.Found > 0 {
		err = &DamagedError{Verification: before}
	}
	if err != nil {
		return done, err
	}
	if gone, err := sqlite.IsGone(disk, path); err != nil || gone {
		return done, fmt.Errorf("compact: %w", cmp.Or(err, ErrGone)) // for a start to see
	}
	if err := buildCopy(ctx, disk, path, path+suffixBuilding); err != nil {
		return done, fmt.Errorf("compact: %w", err)
	}
	after, err := verifyCopy(ctx, disk, path+suffixBuilding, &before)
	if err == nil {
		_, err = becauseCompacted.replace(disk, path)
	}
	if err != nil {
		return done, fmt.Errorf("compact: %w", err)
	}
	done.Before, done.After = before.Bytes+before.WALBytes, after.Bytes
	return done, nil
}

// buildCopy opens a file that may have a WAL, and copies what is used of it.
func buildCopy(ctx context.Context, disk sqlite.Disk, from, to string) error {
	db, err := Open(ctx, disk, from)
	if err != nil {
		return err
	}
	return errors.Join(db.Copy(ctx, to), db.Close())
}

// verifyCopy makes sure that a copy holds what the original did.
func verifyCopy(ctx context.Context, disk sqlite.Disk, path string, original *Verification) (Verification, error) {
	v, err := Verify(ctx, disk, path)
	if err != nil {
		return v, err
	}
	if v.Found > 0 {
		return v, &DamagedError{Verification: v}
	}
	if v.holds() != original.holds() {
		return v, fmt.Errorf("the copy holds %+v, and the original %+v", v.holds(), original.holds())
	}
	return v, nil
}

// holding is how much a file holds. Devices are left out: a restore gives those a
// row that the frames behind the last saved state are of.
type holding struct{ Frames, Records, DeadLetters, Attempts, Sinks, Quarantined int64 }

func (v *Verification) holds() holding {
	return holding{v.Frames, v.Records, v.DeadLetters, v.Attempts, v.Sinks, v.Quarantined}
}
