package sqlite

import (
	"context"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"
)

// migrate brings the schema from the version that the file names in
// user_version to the newest one, each step in a transaction of its own, so that
// a crash leaves one version or the next and never something in between. A file
// that holds something is copied before, for whoever has to go back.
func (db *DB) migrate(ctx context.Context, migrations *Migrations) error {
	steps, err := migrations.load()
	if err != nil {
		return err
	}
	version, err := db.version(ctx, steps)
	if err != nil {
		return err
	}
	if 0 < version && version < steps.newest() {
		if err := db.keepSchema(ctx, version); err != nil {
			return fmt.Errorf("keep the file of schema version %d: %w", version, err)
		}
	}
	for ; version < steps.newest(); version++ {
		if err := db.step(ctx, &steps.list[version], version+1); err != nil {
			return fmt.Errorf("migrate %s: %w", steps.list[version].name, err)
		}
	}
	return nil
}

func (db *DB) step(ctx context.Context, step *step, version int) error {
	return db.Write(ctx, func(conn *Conn) error {
		if err := conn.script(step.text); err != nil {
			return err
		}
		return conn.script(fmt.Sprintf("PRAGMA user_version=%d", version))
	})
}

// version returns the schema version of the file. The number that the file says
// is only believed when the schema is what the migrations up to it make: a number
// that was damaged must not look like the file of a newer program, and a schema
// that was damaged must not be worked with.
func (db *DB) version(ctx context.Context, steps *steps) (version int, err error) {
	schema := ""
	err = db.Write(ctx, func(conn *Conn) error {
		version, schema, err = conn.version()
		return err
	})
	if err != nil {
		return 0, err
	}
	switch fits := steps.versionOf(schema, version); {
	case fits == version:
		return version, nil
	case fits >= 0:
		return fits, db.Write(ctx, func(conn *Conn) error { return conn.script(fmt.Sprintf("PRAGMA user_version=%d", fits)) })
	case version > steps.newest():
		return 0, &SchemaError{Path: db.path, Version: version, Known: steps.newest()}
	}
	return 0, damagedSchema(version)
}

// version returns the version that the file claims, and its schema.
func (c *Conn) version() (claimed int, schema string, err error) {
	if _, err := c.One("PRAGMA user_version", func(row Row) { claimed = int(row.Int(0)) }); err != nil {
		return 0, "", err
	}
	schema, err = c.schema()
	return claimed, schema, err
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
