package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// migrate brings the schema from the version that the file names in
// user_version to the newest one, each step in a transaction of its own, so that
// a crash leaves one version or the next and never something in between. A file
// that holds something is copied before, for whoever has to go back.
func (db *DB) migrate(ctx context.Context, migrations fs.FS) error {
	names, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)
	version, err := db.version(ctx, migrations, names)
	if err != nil {
		return err
	}
	if 0 < version && version < len(names) {
		if err := db.keepSchema(ctx, version); err != nil {
			return fmt.Errorf("keep the file of schema version %d: %w", version, err)
		}
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

// version returns the schema version of the file. The number that the file says
// is only believed when the schema is what the migrations up to it make: a number
// that was damaged must not look like the file of a newer program, and a schema
// that was damaged must not be worked with.
func (db *DB) version(ctx context.Context, migrations fs.FS, names []string) (version int, err error) {
	schema := ""
	err = db.Write(ctx, func(conn *Conn) error {
		if _, err := conn.One("PRAGMA user_version", func(row Row) { version = int(row.Int(0)) }); err != nil {
			return err
		}
		schema, err = conn.schema()
		return err
	})
	if err != nil {
		return 0, err
	}
	expected, err := expectedSchemas(migrations, names)
	if err != nil {
		return 0, err
	}
	if 0 <= version && version < len(expected) && expected[version] == schema {
		return version, nil
	}
	if fits := slices.Index(expected, schema); fits >= 0 {
		return fits, db.Write(ctx, func(conn *Conn) error { return conn.script(fmt.Sprintf("PRAGMA user_version=%d", fits)) })
	}
	if version > len(names) {
		return 0, &SchemaError{Path: db.path, Version: version, Known: len(names)}
	}
	return 0, damagedSchema(version)
}

// damagedSchema says that the schema is none that a migration makes.
func damagedSchema(version int) error {
	return &Error{Statement: "read schema", Code: sqlite3.SQLITE_CORRUPT, Err: fmt.Errorf("it is not that of version %d", version)}
}

// schema returns the definitions of everything in the database.
func (c *Conn) schema() (text string, err error) {
	err = c.Query("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name", func(row Row) error {
		text += fmt.Sprintf("%q\n", []string{row.Text(0), row.Text(1), row.Text(2), row.Text(3)})
		return nil
	})
	return text, err
}

// expectedSchemas returns what each version looks like, from 0 on, up to a
// migration that fails.
func expectedSchemas(migrations fs.FS, names []string) ([]string, error) {
	raw, err := new(sqlite.Driver).Open(":memory:")
	if err != nil {
		return nil, wrap("open", err)
	}
	conn := &Conn{raw: raw, statements: make(map[string]driver.Stmt)}
	expected := []string{""}
	for _, name := range names {
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			return nil, errors.Join(err, conn.close())
		}
		if err := conn.script(string(text)); err != nil {
			break // the file fails there too, and says so
		}
		schema, err := conn.schema()
		if err != nil {
			return nil, errors.Join(err, conn.close())
		}
		expected = append(expected, schema)
	}
	return expected, conn.close()
}
