package queuefile

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"combotto.io/gateway/server/sqlite"
)

// Repaired is what a repair gets back, or would.
type Repaired struct {
	Salvaged
	Before  Verification `json:"-"`                 // what was found
	Kept    string       `json:"kept"`              // what the old file is called now; empty when nothing was replaced
	Removed string       `json:"removed,omitempty"` // the oldest copy of which nothing was missing
	Moved   []MovedFile  `json:"moved,omitempty"`   // what [FinishReplacements] has found, whether the rest succeeds or not
}

// Repair rebuilds a damaged file from everything in it that is what was written,
// as a start does by itself when it meets damage that it cannot serve around. With
// apply the new file takes the place of the old one, which is kept beside it;
// otherwise it is removed again, and only the report is left. Where only rows are
// wrong that follow from others, they are mended in place. A crash at any
// moment leaves one or the other. A file without problems is left alone.
//
// Nobody may work with the file meanwhile. There has to be room for what is in use
// of it a second time, unless rows are mended in place; with apply the reserve is given
// for that. A look always needs it, because to mend in place is to write to the file.
func Repair(ctx context.Context, disk sqlite.Disk, path string, apply bool) (done Repaired, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return done, err
	}
	if done.Moved, err = FinishReplacements(ctx, disk, path); err != nil {
		return done, fmt.Errorf("repair: %w", err)
	}
	if done.Before, err = Verify(ctx, disk, path); err != nil || done.Before.Found == 0 {
		return done, err
	}
	if apply {
		if done.Salvaged, err = mendFile(ctx, disk, path, &done.Before); err == nil {
			return done, ClearSuspect(disk, path)
		}
		if !errors.Is(err, ErrNotMended) {
			return done, fmt.Errorf("repair: %w", err)
		}
	}
	if err := roomToSalvage(disk, path, apply); err != nil {
		if _, scarce := errors.AsType[*sqlite.RoomError](err); scarce && !apply && done.Before.onlyRows() {
			err = fmt.Errorf("only rows are wrong, and with --yes they are mended where they are when that is enough; to look first takes a copy: %w", err)
		}
		return done, fmt.Errorf("repair: %w", err)
	}
	building := path + suffixBuilding
	if done.Salvaged, err = salvage(ctx, disk, path, building); err != nil {
		return done, errors.Join(fmt.Errorf("repair: %w", err), removeDatabase(disk, building))
	}
	result, err := Verify(ctx, disk, building)
	if err == nil && result.Found > 0 {
		err = &DamagedError{Verification: result} // a fault of the program
	}
	if err != nil || !apply {
		return done, errors.Join(err, removeDatabase(disk, building))
	}
	old, err := becauseSalvaged(&done.Salvaged).replace(disk, path)
	if err != nil {
		return done, fmt.Errorf("repair: %w", err)
	}
	done.Kept, done.Removed = old.Kept, old.Removed
	return done, ClearSuspect(disk, path)
}
