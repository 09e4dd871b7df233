package queuefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"combotto.io/gateway/server/sqlite"
)

// asideNames are the names under which files are set aside: queue.db.WORD-1 and so
// on. They are numbered, so that nobody has to list a folder to find them.
type asideNames struct {
	word string
	most int
	ring bool // there is always a free one, and what comes behind it is the oldest
	why  string
}

var (
	// Of the first the newest two are kept.
	asideSpent    = asideNames{word: "damaged-spent", most: 3, ring: true, why: "it was damaged, and all that it held was salvaged"}
	asideDamaged  = asideNames{word: "damaged", most: 99, why: "it was damaged, and may hold what could not be salvaged"}
	asideReplaced = asideNames{word: "replaced", most: 99, why: "a backup took its place"}
	asideUnfit    = asideNames{word: "unfit", most: 99, why: "it had the name of a finished replacement, and was none"}
)

// OldFiles is what became of old files.
type OldFiles struct {
	Kept    string `json:"kept,omitempty"`    // what the database is called now; empty when there was none
	Removed string `json:"removed,omitempty"` // what was removed for that; empty when nothing was
}

// MovedFile is a file that had one of the names that a replacement gives.
type MovedFile struct {
	Path  string `json:"path"`            // it had
	Unfit string `json:"unfit,omitempty"` // why it was set aside; empty when it has taken the place of the queue's
	OldFiles
}

func (a *asideNames) name(path string, n int) string { return fmt.Sprintf("%s.%s-%d", path, a.word, n) }

// take renames a database and its WAL, the WAL first: without it the database would
// be opened as it was before.
func (a *asideNames) take(disk sqlite.Disk, path string) (old OldFiles, err error) {
	n, oldest, err := a.choose(disk, path)
	if err != nil {
		return old, err
	}
	if oldest > 0 {
		old.Removed = a.name(path, oldest)
		if err := removeDatabase(disk, old.Removed); err != nil {
			return old, err
		}
	}
	kept := a.name(path, n)
	for _, suffix := range []string{"-wal", ""} {
		err := disk.Rename(path+suffix, kept+suffix)
		switch {
		case err == nil:
			old.Kept = kept
		case !errors.Is(err, fs.ErrNotExist):
			return old, err
		}
	}
	if err := keepPlace(disk, kept); err != nil {
		return old, err
	}
	return old, disk.Remove(path + "-shm")
}

// keepPlace gives a WAL whose database is gone an empty one. Otherwise the next
// database that is set aside would get its name, and be read with a WAL that is not
// its own.
func keepPlace(disk sqlite.Disk, kept string) error {
	wal, err := exists(disk, kept+"-wal")
	if err != nil || !wal {
		return err
	}
	database, err := disk.Open(kept, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	return errors.Join(database.Close(), disk.SyncFolder(filepath.Dir(kept)))
}

// choose returns the number that the files get, and that of those which have to go
// for it, 0 when none do.
func (a *asideNames) choose(disk sqlite.Disk, path string) (number, oldest int, err error) {
	taken := make([]bool, a.most+2) // by number; the last one is never taken
	last, half := 0, 0
	for n := 1; n <= a.most; n++ {
		database, err := exists(disk, a.name(path, n))
		if err != nil {
			return 0, 0, err
		}
		wal, err := exists(disk, a.name(path, n)+"-wal")
		if err != nil {
			return 0, 0, err
		}
		if taken[n] = database || wal; taken[n] {
			last = n
		}
		if wal && !database {
			half = n
		}
	}
	if half > 0 { // a crash has come between the WAL and the database
		wal, err := exists(disk, path+"-wal")
		if err != nil || !wal {
			return half, 0, err
		}
	}
	if !a.ring {
		if last == a.most {
			return 0, 0, fmt.Errorf("%s is taken: move the files %s.%s-* away", a.name(path, last), path, a.word)
		}
		return last + 1, 0, nil
	}
	next := func(n int) int { return n%a.most + 1 }
	for n := 1; n <= a.most; n++ {
		if taken[n] && !taken[next(n)] {
			number = next(n)
		}
	}
	if number == 0 { // none is taken, or somebody has put files there
		number = 1
	}
	switch {
	case taken[number]:
		oldest = number
	case taken[next(number)]:
		oldest = next(number)
	}
	return number, oldest, nil
}

// KeptFile is an earlier version of a queue's file. They take room, and nobody
// removes the last ones but an operator.
type KeptFile struct {
	Path   string
	Bytes  int64
	Why    string // it was set aside; empty for what a migration has copied
	Schema int    // of a copy that a migration has left
}

// KeptFiles finds the files that were set aside, and the copies that migrations
// have left.
func KeptFiles(disk sqlite.Disk, path string) (found []KeptFile, err error) {
	var all []KeptFile
	for _, names := range []*asideNames{&asideDamaged, &asideSpent, &asideReplaced} {
		for n := 1; n <= names.most; n++ {
			all = append(all, KeptFile{Path: names.name(path, n), Why: names.why})
		}
	}
	unfit := slices.Clone(halfMade)
	for _, replacement := range replacements {
		unfit = append(unfit, replacement.suffix)
	}
	for _, suffix := range unfit {
		for n := 1; n <= asideUnfit.most; n++ {
			all = append(all, KeptFile{Path: asideUnfit.name(path+suffix, n), Why: asideUnfit.why})
		}
	}
	versions, err := migrations.Count()
	if err != nil {
		return nil, err
	}
	for version := 1; version < versions; version++ {
		all = append(all, KeptFile{Path: sqlite.SchemaCopy(path, version), Schema: version})
	}
	for _, file := range all {
		file.Bytes, err = disk.Size(file.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return found, err
		}
		found = append(found, file)
	}
	return found, nil
}
