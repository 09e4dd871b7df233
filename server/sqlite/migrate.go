package sqlite

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// migrate brings the schema from the version that the file names in
// user_version to the newest one, each step in a transaction of its own, so that
// a crash leaves one version or the next and never something in between.
func (db *DB) migrate(ctx context.Context, migrations fs.FS) error {
	names, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)
	version := 0
	err = db.Write(ctx, func(conn *Conn) error {
		_, err := conn.One("PRAGMA user_version", func(row Row) { version = int(row.Int(0)) })
		return err
	})
	if err != nil {
		return err
	}
	if version > len(names) {
		return &SchemaError{Path: db.path, Version: version, Known: len(names)}
	}
	for i, name := range names {
		number := i + 1
		if !strings.HasPrefix(name, fmt.Sprintf("%04d_", number)) {
			return fmt.Errorf("migration %s: want number %04d", name, number)
		}
		if number <= version {
			continue
		}
		if err := db.step(ctx, migrations, name, number); err != nil {
			return fmt.Errorf("migrate %s: %w", strings.TrimSuffix(name, ".sql"), err)
		}
	}
	return nil
}

func (db *DB) step(ctx context.Context, migrations fs.FS, name string, version int) error {
	text, err := fs.ReadFile(migrations, name)
	if err != nil {
		return err
	}
	return db.Write(ctx, func(conn *Conn) error {
		if err := conn.script(string(text)); err != nil {
			return err
		}
		return conn.script(fmt.Sprintf("PRAGMA user_version=%d", version))
	})
}
