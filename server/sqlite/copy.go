package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
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
	Folder      string // where to
	Needs, Free int64  // bytes
}

func (e *RoomError) Error() string {
	return fmt.Sprintf("a copy of %s takes %d bytes, and %d are free on the file system of %s", e.Path, e.Needs, e.Free, e.Folder)
}

// Copy writes what the database holds into a file of its own, as one transaction
// sees it, and returns when that file is durable. A file that has the name already
// is replaced as a whole. Writers go on meanwhile, but the WAL cannot be used from
// its beginning again. Without room for it Copy returns a [*RoomError]. When ctx
// ends, so does the copy, and nothing is left of it.
func (db *DB) Copy(ctx context.Context, to string) (err error) {
	building := to + buildingSuffix
	if err := db.removeBuilding(building); err != nil {
		return fmt.Errorf("copy %s: %w", db.path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("copy %s: %w", db.path, err), db.removeBuilding(building))
		}
	}()
	if err := db.copyInto(ctx, building); err != nil {
		return err
	}
	// SQLite syncs with the settings of the original; that it does is not promised.
	if err := db.syncFile(building); err != nil {
		return err
	}
	return db.disk.Rename(building, to)
}

// copyInto uses a connection of its own: readers may not write, and the writer has
// other things to do.
func (db *DB) copyInto(ctx context.Context, path string) error {
	role := roleWriter
	if db.reading == roleInspector {
		role = roleInspector
	}
	conn, err := openConn(db.disk, db.path, role)
	if err != nil {
		return err
	}
	err = createFile(db.disk, path) // SQLite would let everybody read it
	if err == nil {
		err = db.checkRoom(conn, path)
	}
	if err == nil {
		// What it forbids is to write to the original, too, and that is not to be
		// written to anyway.
		err = conn.script("PRAGMA query_only=OFF")
	}
	if err == nil {
		err = db.syncMeanwhile(path, func() error { return conn.interruptible(ctx, "VACUUM INTO ?", dsn(db.disk, path)) })
	}
	return errors.Join(err, conn.close())
}

// syncEvery is how often what was copied so far is synced.
const syncEvery = 5 * time.Millisecond

// syncMeanwhile syncs a file again and again while it is written. A disk that is
// given all of it at once at the end lets every commit wait that comes meanwhile.
// Errors are left to the sync that counts, of the whole file.
func (db *DB) syncMeanwhile(path string, write func() error) error {
	if db.disk.Files != nil { // a simulated disk, whose order of calls is to be the same each time
		return write()
	}
	written := make(chan struct{})
	var syncing sync.WaitGroup
	syncing.Go(func() {
		ticker := time.NewTicker(syncEvery)
		defer ticker.Stop()
		for {
			select {
			case <-written:
				return
			case <-ticker.C:
				_ = db.syncFile(path)
			}
		}
	})
	err := write()
	close(written)
	syncing.Wait()
	return err
}

// interruptible runs a statement that may take long, and ends it with ctx.
func (c *Conn) interruptible(ctx context.Context, query string, argument string) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(ctx, query, []driver.NamedValue{{Ordinal: 1, Value: argument}})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return wrap(query, err)
}

func (db *DB) syncFile(path string) error {
	file, err := db.disk.Open(path, os.O_RDWR)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// checkRoom looks whether there is room for a copy.
func (db *DB) checkRoom(conn *Conn, to string) error {
	usage, err := conn.Usage()
	if err != nil {
		return err
	}
	system, err := db.disk.Stat(filepath.Dir(to))
	if err != nil {
		return err
	}
	if needs := usage.Used + copyRoom; needs > system.Free {
		return &RoomError{Path: db.path, Folder: filepath.Dir(to), Needs: needs, Free: system.Free}
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
func (db *DB) keepSchema(ctx context.Context, version int) error {
	if err := db.Copy(ctx, SchemaCopy(db.path, version)); err != nil {
		return err
	}
	for earlier := 1; earlier < version; earlier++ {
		if err := db.disk.Remove(SchemaCopy(db.path, earlier)); err != nil {
			return err
		}
	}
	return nil
}
