package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"combotto.io/gateway/server/sqlite"
)

// replacement is why a fresh file takes the place of the one that is there. The
// suffix names the fresh file once it is complete: from then on the replacement
// happens, whatever a crash interrupts, because every start finishes it first.
//
//	queue.db.building  --sync, rename-->  queue.db.salvaged
//	queue.db-wal       --rename-------->  queue.db.damaged-20261122T180000Z-wal
//	queue.db           --rename-------->  queue.db.damaged-20261122T180000Z
//	queue.db.salvaged  --rename-------->  queue.db
type replacement struct {
	suffix string
	aside  string // what the old files are called; empty removes them
}

var (
	becauseDamaged   = replacement{suffix: ".salvaged", aside: "damaged"}
	becauseRestored  = replacement{suffix: ".restored", aside: "replaced"}
	becauseCompacted = replacement{suffix: ".compacted"}

	replacements = []replacement{becauseDamaged, becauseRestored, becauseCompacted}
)

const suffixBuilding = ".building"

// replace puts the complete, synced and closed file path+suffixBuilding in the
// place of path. It returns what the old file is called now.
func (r replacement) replace(disk sqlite.Disk, path string) (aside string, err error) {
	if err := disk.Rename(path+suffixBuilding, path+r.suffix); err != nil {
		return "", fmt.Errorf("replace %s: %w", path, err)
	}
	return r.finish(disk, path)
}

// finish does what is left to do once the fresh file has its name.
func (r replacement) finish(disk sqlite.Disk, path string) (aside string, err error) {
	if r.aside == "" {
		err = removeDatabase(disk, path)
	} else {
		aside, err = setFilesAside(disk, path, r.aside)
	}
	if err == nil {
		err = disk.Rename(path+r.suffix, path)
	}
	if err != nil {
		return aside, fmt.Errorf("replace %s: %w", path, err)
	}
	return aside, nil
}

// finishReplacements does what a crash has interrupted, and removes what it left
// half made.
func finishReplacements(disk sqlite.Disk, path string) error {
	for _, suffix := range []string{suffixBuilding, suffixBuilding + suffixBuilding} { // a copy is built beside its name, too
		if err := removeDatabase(disk, path+suffix); err != nil {
			return fmt.Errorf("remove what is half made: %w", err)
		}
	}
	for _, replacement := range replacements {
		found, err := exists(disk, path+replacement.suffix)
		if err != nil {
			return fmt.Errorf("finish what was interrupted: %w", err)
		}
		if !found {
			continue
		}
		if _, err := replacement.finish(disk, path); err != nil {
			return err
		}
	}
	return nil
}

// setFilesAside renames a database and its WAL, the WAL first: without it the
// database would be opened as it was before.
func setFilesAside(disk sqlite.Disk, path, word string) (string, error) {
	stem := path + "." + word + "-" + time.Now().UTC().Format("20060102T150405Z")
	aside, err := freeName(disk, stem)
	if err != nil {
		return "", err
	}
	for _, suffix := range []string{"-wal", ""} {
		if err := disk.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, disk.Remove(path + "-shm")
}

// namesTried bounds how many files are set aside within one second.
const namesTried = 100

// freeName finds a name that no file has that was set aside before.
func freeName(disk sqlite.Disk, stem string) (string, error) {
	name := stem
	for n := 2; n < namesTried; n++ {
		database, err := exists(disk, name)
		if err != nil {
			return "", err
		}
		wal, err := exists(disk, name+"-wal")
		if err != nil || !database && !wal {
			return name, err
		}
		name = fmt.Sprintf("%s-%d", stem, n)
	}
	return "", fmt.Errorf("%s and %d more are taken", stem, namesTried)
}

// exists reports whether there is a file. Nobody may have it open as a database
// meanwhile: to close it again can let go of SQLite's locks.
func exists(disk sqlite.Disk, path string) (bool, error) {
	file, err := disk.Open(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, file.Close()
}

func removeDatabase(disk sqlite.Disk, path string) error {
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} {
		if err := disk.Remove(path + suffix); err != nil {
			return err
		}
	}
	return nil
}

// salvageFile replaces a damaged file by what can be read of it, or by an empty
// one when not even that works. The damaged one is kept beside it.
func salvageFile(ctx context.Context, disk sqlite.Disk, path string) (report Salvaged, aside string, err error) {
	building := path + suffixBuilding
	if err := makeRoom(disk, path); err != nil {
		return report, "", err
	}
	report, failure := salvage(ctx, disk, path, building)
	if failure != nil && isHopeless(failure) && ctx.Err() == nil {
		// A read of the fresh file that fails passes for damage of that one.
		report, failure = salvage(ctx, disk, path, building)
	}
	if failure != nil {
		if !isHopeless(failure) || ctx.Err() != nil {
			return report, "", errors.Join(failure, removeDatabase(disk, building))
		}
		// Nothing is better than a gateway that never starts.
		report = Salvaged{CursorsLost: true}
		if err := buildEmpty(ctx, disk, building); err != nil {
			return report, "", errors.Join(failure, err, removeDatabase(disk, building))
		}
	}
	aside, err = becauseDamaged.replace(disk, path)
	if err == nil && failure != nil {
		failure = fmt.Errorf("nothing could be salvaged: %w", failure)
	}
	return report, aside, errors.Join(err, failure)
}

// makeRoom makes sure that a file can stand beside a damaged one, and gives the
// reserve for that when it has to. Otherwise every start would fill the disk, and
// fail.
func makeRoom(disk sqlite.Disk, path string) error {
	folder := filepath.Dir(path)
	needs, err := sqlite.UsedBytes(disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	system, err := disk.Stat(folder)
	if err != nil || needs <= system.Free {
		return err
	}
	kept, err := disk.Size(path + reserveSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if needs > system.Free+kept {
		return &sqlite.RoomError{Path: path, Folder: folder, Needs: needs, Free: system.Free + kept}
	}
	return (&reserve{disk: disk, path: path + reserveSuffix, size: kept}).resize(0)
}

// buildEmpty makes a queue that knows it is not the first.
func buildEmpty(ctx context.Context, disk sqlite.Disk, path string) error {
	if err := removeDatabase(disk, path); err != nil {
		return err
	}
	fresh, err := openFresh(ctx, disk, path)
	if err != nil {
		return err
	}
	found, err := newFindings(ctx, fresh)
	if err == nil {
		err = fresh.Write(ctx, (&rebuild{findings: found}).run)
	}
	return errors.Join(err, closeWhole(fresh))
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

// suspectSuffix names the mark that the next start looks at the whole file.
const suspectSuffix = ".suspect"

// suspect leaves the mark. When that fails, the next start meets the damage again.
func suspect(disk sqlite.Disk, path string, why error) error {
	file, err := disk.Open(path+suspectSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, why)
	return errors.Join(err, file.Sync(), file.Close(), disk.SyncFolder(filepath.Dir(path)))
}

// suspect lets the next start look at the whole file, when it may be damaged.
func (c *committer) suspect(why error) {
	failure, ok := errors.AsType[*sqlite.Error](why)
	if (!ok || !failure.IsCorrupt()) && !errors.Is(why, errRow) {
		return
	}
	if err := suspect(c.q.settings.Disk, c.q.settings.Path, why); err != nil {
		c.q.observer.Log.Warn("the next start does not know that the file may be damaged", "error", err)
	}
}
