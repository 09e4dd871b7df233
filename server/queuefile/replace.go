package queuefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"combotto.io/gateway/server/sqlite"
)

// replacement is why a fresh file takes the place of the one that is there. The
// suffix names the fresh file once it is complete: from then on the replacement
// happens, whatever a crash interrupts, because every start finishes it first.
//
//	queue.db.building  --sync, rename-->  queue.db.salvaged
//	queue.db-wal       --rename-------->  queue.db.damaged-1-wal
//	queue.db           --rename-------->  queue.db.damaged-1
//	queue.db.salvaged  --rename-------->  queue.db
type replacement struct {
	suffix string
	aside  asideNames // where the old files go; the zero one removes them
}

var (
	becauseDamaged   = replacement{suffix: ".salvaged", aside: asideDamaged}
	becauseSpent     = replacement{suffix: ".rebuilt", aside: asideSpent}
	becauseRestored  = replacement{suffix: ".restored", aside: asideReplaced}
	becauseCompacted = replacement{suffix: ".compacted"}

	replacements = []replacement{becauseDamaged, becauseSpent, becauseRestored, becauseCompacted}
)

// becauseSalvaged says whether the old file still holds what the new one does not.
func becauseSalvaged(report *Salvaged) replacement {
	if report.Complete {
		return becauseSpent
	}
	return becauseDamaged
}

const suffixBuilding = ".building"

// halfMade are the names of what is not complete. A copy is built beside its name, too.
var halfMade = []string{suffixBuilding, suffixBuilding + suffixBuilding}

// replace puts the complete, synced and closed file path+suffixBuilding in the
// place of path, with the same owner.
func (r replacement) replace(disk sqlite.Disk, path string) (old OldFiles, err error) {
	if err := disk.GiveAway(path+suffixBuilding, path); err != nil {
		return old, fmt.Errorf("replace %s: %w", path, err)
	}
	if err := disk.Rename(path+suffixBuilding, path+r.suffix); err != nil {
		return old, fmt.Errorf("replace %s: %w", path, err)
	}
	return r.finish(disk, path)
}

// finish does what is left to do once the fresh file has its name.
func (r replacement) finish(disk sqlite.Disk, path string) (old OldFiles, err error) {
	// First, because the WAL goes too, and nobody has taken that away.
	if err = disk.Remove(path + sqlite.RunningSuffix); err != nil {
		return old, fmt.Errorf("replace %s: %w", path, err)
	}
	if r.aside.word == "" {
		err = removeDatabase(disk, path)
	} else {
		old, err = r.aside.take(disk, path)
	}
	if err == nil {
		err = disk.Rename(path+r.suffix, path)
	}
	switch {
	case err == nil:
		return old, nil
	case old.Kept != "":
		return old, fmt.Errorf("replace %s, which is %s by now: %w", path, old.Kept, err)
	}
	return old, fmt.Errorf("replace %s: %w", path, err)
}

// FinishReplacements does what a crash has interrupted, and removes what it left
// half made. It returns what it has moved, which is also what only bears the name of
// a finished replacement; of that it tells when it fails, too.
func FinishReplacements(ctx context.Context, disk sqlite.Disk, path string) (moved []MovedFile, err error) {
	for _, suffix := range halfMade {
		if stat, err := disk.Stat(path + suffix); err == nil && stat.Special {
			if moved, err = setUnfitAside(moved, disk, path+suffix, unfitSpecial); err != nil {
				return moved, err
			}
		}
		if err := removeDatabase(disk, path+suffix); err != nil {
			return moved, fmt.Errorf("remove what is half made: %w", err)
		}
	}
	for _, replacement := range replacements {
		fresh := path + replacement.suffix
		why, err := replacement.unfit(ctx, disk, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return moved, fmt.Errorf("finish what was interrupted: look at %s: %w", fresh, err)
		case why != "":
			if moved, err = setUnfitAside(moved, disk, fresh, why); err != nil {
				return moved, err
			}
			continue
		}
		old, err := replacement.finish(disk, path)
		if err != nil {
			return moved, err
		}
		moved = append(moved, MovedFile{Path: fresh, OldFiles: old})
	}
	return moved, nil
}

// exists reports whether there is a file, and does not open it: to close a database
// again can let go of SQLite's locks.
func exists(disk sqlite.Disk, path string) (bool, error) {
	_, err := disk.Size(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func removeDatabase(disk sqlite.Disk, path string) error {
	for _, suffix := range []string{sqlite.RunningSuffix, "-wal", "-shm", "-journal", ""} {
		if err := disk.Remove(path + suffix); err != nil {
			return err
		}
	}
	return nil
}

// closeWhole closes a database so that its file alone has everything. To close it
// is not enough: on a full disk that leaves the WAL beside it, without an error.
func closeWhole(db *sqlite.DB) error {
	wal, err := db.Checkpoint()
	if err == nil && wal.Left > 0 {
		err = fmt.Errorf("checkpoint: %d bytes are left: %w", wal.Left, syscall.ENOSPC)
	}
	return errors.Join(err, db.Close())
}
