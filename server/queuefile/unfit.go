package queuefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// unfitSpecial is why a folder, a pipe or a device is set aside.
const unfitSpecial = "it is no file"

// setUnfitAside adds to moved what it has moved, though it may fail after that.
func setUnfitAside(moved []MovedFile, disk sqlite.Disk, path, why string) ([]MovedFile, error) {
	aside, err := asideUnfit.take(disk, path)
	if aside.Kept != "" {
		moved = append(moved, MovedFile{Path: path, Unfit: why, OldFiles: aside})
	}
	if err != nil {
		return moved, fmt.Errorf("set aside what is no replacement: %w", err)
	}
	return moved, nil
}

// unfit says why what lies under the name of a finished replacement does not take the
// place of the file at path; why is empty when it does. A replacement has its name only
// once it is whole and synced, but anybody can give a file that name, and a disk can
// damage it: then the file that is there is worth more. Where none is there any more,
// the steps have come so far that the replacement is all there is.
//
// It fails when the disk does not give an answer, and when another process works with
// one of the files; a later start may find out.
func (r replacement) unfit(ctx context.Context, disk sqlite.Disk, path string) (why string, err error) {
	fresh := path + r.suffix
	stat, err := disk.Stat(fresh)
	if err != nil {
		return "", err
	}
	switch {
	case stat.Special:
		return unfitSpecial, nil
	case stat.Size == 0:
		return "it is empty", nil
	}
	there, err := holdsAny(disk, path)
	if err != nil || !there {
		return "", err
	}
	v, err := verifyNamed(ctx, disk, fresh, newPacer(ctx))
	switch {
	case IsLink(err) || IsNewer(err) || isSpecial(err):
		return err.Error(), nil
	case err != nil:
		return "", err
	case v.WALBytes > 0:
		return "commits lie in a WAL beside it", nil
	case v.Structural > 0 || v.Found > 0 && !r.salvages():
		return v.Problems[0].Detail, nil
	}
	return r.whyForeign(ctx, disk, path)
}

// salvages reports whether the file that is there is damaged.
func (r replacement) salvages() bool { return r == becauseDamaged || r == becauseSpent }

// holdsAny reports whether there is anything of a database.
func holdsAny(disk sqlite.Disk, path string) (bool, error) {
	for _, suffix := range []string{"", "-wal"} {
		size, err := disk.Size(path + suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if size > 0 {
			return true, nil
		}
	}
	return false, nil
}

// identity is what tells whether one file was made of another.
type identity struct {
	StoredLedger
	logs Logs
	head edge.Position
}

// whyForeign says why a whole file was not made of the one whose place it would take. Of
// that one nothing may be readable; then it is not removed for a copy.
func (r replacement) whyForeign(ctx context.Context, disk sqlite.Disk, path string) (why string, err error) {
	fresh, known, err := readIdentity(ctx, disk, path+r.suffix)
	if err != nil {
		return "", err
	}
	if !known {
		return "it does not say which queue it is", nil
	}
	if r == becauseRestored && fresh.RestoredAt.IsZero() {
		return "no restore has made it", nil
	}
	old, known, err := readIdentity(ctx, disk, path)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case IsInUse(err):
		return "", err
	case err != nil || !known:
		if r == becauseCompacted {
			return "of the file that is there too little can be read to compare them", nil
		}
		return "", nil
	case fresh.head < old.head || r == becauseRestored && fresh.head == old.head:
		return fmt.Sprintf("it ends with message %d, and the file that is there with message %d", fresh.head, old.head), nil
	case r == becauseRestored || r.salvages() && fresh.logs.knows(old.logs.Current):
		return "", nil
	case fresh.logs.Current != old.logs.Current:
		return "it is of another queue", nil
	}
	return "", nil
}

// readIdentity reads what a file says of itself; known is false when that is not what
// was written.
func readIdentity(ctx context.Context, disk sqlite.Disk, path string) (id identity, known bool, err error) {
	db, err := sqlite.OpenReadOnly(ctx, sqlite.Settings{Path: path, Migrations: migrations, Disk: disk})
	if err != nil {
		return id, false, err
	}
	err = db.Read(ctx, func(conn *sqlite.Conn) (err error) {
		found, err := conn.One(SelectLedger, func(row sqlite.Row) { id.StoredLedger = ReadLedger(row) })
		if known = found && id.PlaceHolds(); err != nil || !known {
			return err
		}
		if id.logs, err = LoadLogs(conn, uint16(id.Log)); err != nil {
			return err
		}
		id.head, err = Head(conn)
		return err
	})
	return id, known, errors.Join(err, db.Close())
}
