package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"modernc.org/sqlite"
)

// Migrations are the steps that make a schema, each a file NNNN_name.sql,
// numbered from 1 without a gap. What they come to is worked out once, when the
// first file is opened with them: starts of a test are many, and half of the time
// of each would go into that. They are safe for concurrent use.
type Migrations struct {
	load func() (*steps, error)
}

// steps are migrations that were read.
type steps struct {
	list    []step
	schemas []string // of each version from 0 on, up to a step that fails
}

// step is one migration.
type step struct {
	name string // of its file, without the suffix
	text string
}

// NewMigrations returns the steps in those files that a pattern matches, in the
// order of their names. Files that cannot be read, or are numbered wrongly, are an
// error of the first Open.
func NewMigrations(files fs.FS, pattern string) *Migrations {
	return &Migrations{load: sync.OnceValues(func() (*steps, error) { return loadSteps(files, pattern) })}
}

// Count returns how many steps there are, which is the version of the newest
// schema.
func (m *Migrations) Count() (int, error) {
	steps, err := m.load()
	if err != nil {
		return 0, err
	}
	return len(steps.list), nil
}

func loadSteps(files fs.FS, pattern string) (*steps, error) {
	names, err := fs.Glob(files, pattern) // in order
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	loaded := &steps{schemas: []string{""}}
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		if !strings.HasPrefix(path.Base(name), fmt.Sprintf("%04d_", i+1)) {
			return nil, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		loaded.list = append(loaded.list, step{name: strings.TrimSuffix(path.Base(name), ".sql"), text: string(text)})
	}
	return loaded, loaded.addSchemas()
}

// addSchemas finds out what each version looks like.
func (s *steps) addSchemas() error {
	raw, err := new(sqlite.Driver).Open(":memory:")
	if err != nil {
		return wrap("open", err)
	}
	conn := &Conn{raw: raw, statements: make(map[string]driver.Stmt)}
	for _, step := range s.list {
		if err := conn.script(step.text); err != nil {
			break // the file fails there too, and says so
		}
		schema, err := conn.schema()
		if err != nil {
			return errors.Join(err, conn.close())
		}
		s.schemas = append(s.schemas, schema)
	}
	return conn.close()
}

// newest is the version that all steps lead to.
func (s *steps) newest() int { return len(s.list) }

// versionOf returns the version that a schema is of, -1 when it is none that the
// steps make. Of several that look the same it is the one that the file claims.
func (s *steps) versionOf(schema string, claimed int) int {
	if 0 <= claimed && claimed < len(s.schemas) && s.schemas[claimed] == schema {
		return claimed
	}
	return slices.Index(s.schemas, schema)
}
