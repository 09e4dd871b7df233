package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
)

// ErrReadOnly is returned by a write to a database that was opened to be looked
// at.
var ErrReadOnly = errors.New("database was opened to be read only")

// OpenReadOnly opens a file that no process works with, and changes nothing of
// it: not the file, not its WAL, not its schema. What the WAL holds is read. Only
// Read and Close may be called.
//
// It fails with fs.ErrNotExist when there is no file, with an [*InUseError] when
// some process has it open, with a [*SchemaError] when it is not of the newest
// schema that the migrations make, and with a [*LinkError]
// or a [*SpecialError].
func OpenReadOnly(ctx context.Context, settings Settings) (*DB, error) {
	path, err := locate(settings)
	if err != nil {
		return nil, err
	}
	if _, err := settings.Disk.Size(path); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db := newDB(path, settings.Disk, roleInspector, 1)
	db.writer <- nil
	if err := db.checkSchema(ctx, settings.Migrations); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	return db, nil
}

// checkSchema refuses a schema that is not the newest one.
func (db *DB) checkSchema(ctx context.Context, migrations *Migrations) error {
	steps, err := migrations.load()
	if err != nil {
		return err
	}
	version, schema := 0, ""
	err = db.Read(ctx, func(conn *Conn) error {
		version, schema, err = conn.version()
		return err
	})
	if err != nil {
		return err
	}
	switch fits := steps.versionOf(schema, version); {
	case fits == steps.newest() && version == fits:
		return nil
	case fits > 0 || fits < 0 && version > steps.newest():
		return &SchemaError{Path: db.path, Version: version, Known: steps.newest()}
	}
	return damagedSchema(version)
}

// inspectorDSN names a file to be looked at. Without a WAL nothing beside the file
// is needed for that, not even the right to write to its folder.
func inspectorDSN(disk Disk, path string) string {
	settings := url.Values{"mode": {"ro"}}
	if size, err := disk.Size(path + "-wal"); err != nil || size == 0 {
		settings.Set("immutable", "1")
	}
	return name(disk, path, settings)
}

// removeIndex removes the index that SQLite makes to read a WAL. Whoever opens the
// file next makes a new one.
func (db *DB) removeIndex() error {
	if _, err := db.disk.Size(db.path + "-shm"); errors.Is(err, fs.ErrNotExist) {
		return nil // and maybe no right to remove anything
	}
	return db.disk.Remove(db.path + "-shm")
}
