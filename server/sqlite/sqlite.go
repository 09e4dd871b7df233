// Package sqlite opens a database file in the one way in which the gateway
// trusts it.
//
// It promises that whatever [DB.Write] returned nil for is on disk: every
// connection runs in WAL mode with synchronous=FULL, and both, like all other
// settings, are read back when it is opened. A file has one writer, a bounded
// pool of readers that cannot write, and one connection that checkpoints;
// nothing checkpoints by itself. The schema comes from numbered migrations that
// only go forward.
//
// It is the only importer of the driver, and it drives raw connections: no
// goroutine, no pool of database/sql, and never a context on a statement,
// because the driver starts a goroutine for each call that can be cancelled.
// Contexts bound the wait for a connection only.
//
// A DB is safe for concurrent use. A [Conn] belongs to the function that it was
// lent to. There are no fakes: tests use a file below t.TempDir, or a simulated
// disk where they need one that fails (see [Disk] and simdisk).
package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	"modernc.org/sqlite"
)

// Settings say which file to open and what has to be in it.
type Settings struct {
	Path       string // of the database file; its folder is made when it is missing
	Migrations *Migrations
	Disk       Disk // where the file lives; zero is the operating system's
}

// readersMax is how many connections may read at the same time.
const readersMax = 4

// DB is an open database file.
//
//	Write ------> writer        (1)  BEGIN IMMEDIATE ... COMMIT = fsync
//	Read -------> readers       (n)  query_only, one snapshot per call
//	Checkpoint -> checkpointer  (1)  WAL -> database file
type DB struct {
	path    string
	disk    Disk
	reading role         // of the readers
	files   []openedFile // none of a database that is only looked at
	writer  chan *Conn   // holds the writer while nobody writes
	readers chan *Conn   // holds the readers that are free; nil stands for one that is not open yet
	gone    bool         // see Gone
	closing atomic.Bool
	closed  chan struct{} // closed when Close begins

	checkpointing chan struct{} // full while somebody checkpoints; a mutex would keep virtual time from passing
	checkpointer  *Conn
}

// Open opens or creates the file and brings its schema up to date. Whatever it
// finds is durable when it returns, even after a process whose last sync failed.
// It fails with a [*SchemaError] when a newer program has written the file, with an
// [*InUseError] when another process may still write to it, and with a [*LinkError]
// or a [*SpecialError].
func Open(ctx context.Context, settings Settings) (*DB, error) {
	// OFD locks survive when some other code of this process opens and closes
	// the file; POSIX locks would silently be gone. Where the system has none
	// the driver stays with POSIX locks.
	_, _ = sqlite.OFDLocking(true)

	path, err := locate(settings)
	if err != nil {
		return nil, err
	}
	gone, err := findGone(settings.Disk, path)
	if err != nil {
		return nil, fmt.Errorf("open database: look whether it was closed: %w", err)
	}
	if err := createFile(settings.Disk, path); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	frames, err := renewWAL(settings.Disk, path)
	if err != nil {
		return nil, fmt.Errorf("open database: make the WAL durable: %w", err)
	}
	db := newDB(path, settings.Disk, roleReader, readersMax)
	db.gone = gone
	if err := db.connect(ctx, settings.Migrations, frames); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	if settings.Disk.Opened != nil {
		settings.Disk.Opened(db)
	}
	return db, nil
}

// locate returns the absolute path of a database which nobody else has open, and which
// may be opened.
func locate(settings Settings) (path string, err error) {
	if path, err = filepath.Abs(settings.Path); err != nil {
		return "", fmt.Errorf("open database: %w", err)
	}
	if err := checkUnused(settings.Disk, path); err != nil {
		return "", fmt.Errorf("open database: %w", err)
	}
	if err := checkFile(settings.Disk, path); err != nil {
		return "", fmt.Errorf("open database %s: %w", path, err)
	}
	return path, nil
}

// newDB makes a database with no connection but places for so many readers.
func newDB(path string, disk Disk, reading role, readers int) *DB {
	db := &DB{
		path: path, disk: disk, reading: reading, writer: make(chan *Conn, 1), readers: make(chan *Conn, readers),
		closed: make(chan struct{}), checkpointing: make(chan struct{}, 1),
	}
	for range readers {
		db.readers <- nil
	}
	return db
}

func (db *DB) connect(ctx context.Context, migrations *Migrations, frames int64) error {
	writer, err := openWriter(db.disk, db.path, frames)
	db.writer <- writer
	if err != nil {
		return err
	}
	if err := db.migrate(ctx, migrations); err != nil {
		return err
	}
	if db.checkpointer, err = openConn(db.disk, db.path, roleWriter); err != nil {
		return err
	}
	// By now the WAL is there.
	if db.files, err = openedFiles(db.disk, db.path); err != nil {
		return err
	}
	// SQLite syncs the folder with the first sync of a new WAL, but does not look at
	// the result; a WAL without a durable name would be gone after a power cut, with
	// everything in it.
	if err := db.disk.SyncFolder(filepath.Dir(db.path)); err != nil {
		return err
	}
	return db.markRunning(ctx)
}

// createFile makes the file readable for its owner only, which SQLite copies to
// the WAL.
func createFile(disk Disk, path string) error {
	file, err := disk.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	return file.Close()
}

// dsn names the file as a URI, without which the driver would take settings for
// a part of the name.
func dsn(disk Disk, path string) string {
	return name(disk, path, url.Values{})
}

func name(disk Disk, path string, settings url.Values) string {
	uri := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	if vfs := cmp.Or(disk.VFS, systemVFS()); vfs != "" {
		settings.Set("vfs", vfs)
	}
	uri.RawQuery = settings.Encode()
	return uri.String()
}

// Close checkpoints, removes the WAL and closes every connection. It waits for
// those that are lent. Where a file was taken away ([DB.InPlace]) it removes nothing.
// After a failed write the process must end without it, because a checkpoint would
// move pages whose sync has failed. A second call does nothing.
func (db *DB) Close() error {
	if db.closing.Swap(true) {
		return nil
	}
	close(db.closed)
	var readers []*Conn
	for range cap(db.readers) {
		readers = append(readers, <-db.readers)
	}
	errs := []error{db.closeAll(<-db.writer, readers)}
	if db.reading == roleInspector {
		errs = append(errs, db.removeIndex())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close database %s: %w", db.path, err)
	}
	return nil
}

// ErrClosed is returned when the database is closed.
var ErrClosed = errors.New("database is closed")

// Write runs fn in one transaction. When it returns nil the transaction is on
// disk; when it returns an error nothing of it is, and the error is that of fn,
// or an [*Error] when SQLite failed. ctx bounds the wait for other writers.
func (db *DB) Write(ctx context.Context, fn func(conn *Conn) error) error {
	conn, err := db.borrow(ctx, db.writer)
	if err != nil {
		return fmt.Errorf("wait for the writer: %w", err)
	}
	defer func() { db.writer <- conn }()
	if conn == nil {
		return ErrReadOnly
	}
	return conn.transact("BEGIN IMMEDIATE", fn)
}

// Read runs fn on one snapshot of the database. Keep it short: the WAL cannot be
// recycled while a reader looks at it. ctx bounds the wait for a connection.
func (db *DB) Read(ctx context.Context, fn func(conn *Conn) error) error {
	conn, err := db.borrow(ctx, db.readers)
	if err != nil {
		return fmt.Errorf("wait for a reader: %w", err)
	}
	defer func() { db.readers <- conn }()
	if conn == nil {
		opened, err := openConn(db.disk, db.path, db.reading)
		if err != nil {
			return fmt.Errorf("open a reader of %s: %w", db.path, err)
		}
		conn = opened
	}
	return conn.transact("BEGIN", fn)
}

func (db *DB) borrow(ctx context.Context, from chan *Conn) (*Conn, error) {
	select {
	case <-db.closed: // before a connection that has come back for Close
		return nil, ErrClosed
	default:
	}
	select {
	case conn := <-from:
		return conn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-db.closed:
		return nil, ErrClosed
	}
}
