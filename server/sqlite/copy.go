package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	buildingSuffix  = ".building"
	schemaCopyInfix = ".schema-"
	// copyRoom is what a copy needs besides the pages that are in use: those of a
	// migration, and what a file system takes for itself.
	copyRoom = 1 << 20
)

// RoomError says that a copy was not begun, because it would fill the disk.
// Nothing was changed.
type RoomError struct {
	Path        string // of what is to be copied
	Needs, Free int64  // bytes
}

func (e *RoomError) Error() string {
	return fmt.Sprintf("a copy of %s takes %d bytes, and %d are free on its file system", e.Path, e.Needs, e.Free)
}

// Copy writes what the database holds into a file of its own, as one transaction
// sees it, and returns when that file is durable. A file that has the name already
// is replaced as a whole. Writers go on meanwhile, but the WAL cannot be used from
// its beginning again. Without room for it Copy returns a [*RoomError].
func (db *DB) Copy(to string) (err error) {
	building := to + buildingSuffix
	if err := db.removeBuilding(building); err != nil {
		return fmt.Errorf("copy %s: %w", db.path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("copy %s: %w", db.path, err), db.removeBuilding(building))
		}
	}()
	if err := db.copyInto(building); err != nil {
		return err
	}
	// SQLite syncs with the settings of the original; that it does is not promised.
	file, err := db.disk.Open(building, os.O_RDWR)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return db.disk.Rename(building, to)
}

// copyInto uses a connection of its own: readers may not write, and the writer has
// other things to do.
func (db *DB) copyInto(path string) error {
	conn, err := openConn(db.disk, db.path, roleWriter)
	if err != nil {
		return err
	}
	err = db.checkRoom(conn)
	if err == nil {
		err = conn.Exec("VACUUM INTO ?", dsn(db.disk, path))
	}
	return errors.Join(err, conn.close())
}

func (db *DB) checkRoom(conn *Conn) error {
	usage, err := conn.Usage()
	if err != nil {
		return err
	}
	system, err := db.disk.Stat(filepath.Dir(db.path))
	if err != nil {
		return err
	}
	if needs := usage.Used + copyRoom; needs > system.Free {
		return &RoomError{Path: db.path, Needs: needs, Free: system.Free}
	}
	return nil
}

func (db *DB) removeBuilding(building string) error {
	return errors.Join(db.disk.Remove(building+"-journal"), db.disk.Remove(building))
}

// SchemaCopy names the copy that is made of a file before it is migrated from a
// version of its schema. It stays until somebody removes it, or until the copy of
// a later version is made.
func SchemaCopy(path string, version int) string {
	return fmt.Sprintf("%s%s%d", path, schemaCopyInfix, version)
}

// keepSchema copies a file that is about to be migrated.
func (db *DB) keepSchema(version int) error {
	if err := db.Copy(SchemaCopy(db.path, version)); err != nil {
		return err
	}
	for earlier := 1; earlier < version; earlier++ {
		if err := db.disk.Remove(SchemaCopy(db.path, earlier)); err != nil {
			return err
		}
	}
	return nil
}
