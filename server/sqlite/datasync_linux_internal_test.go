package sqlite

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

func TestSystemVFS(t *testing.T) {
	db, err := Open(t.Context(), Settings{Path: filepath.Join(t.TempDir(), "a.db"), Migrations: NewMigrations(fstest.MapFS{}, "*.sql")})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	datasync.mu.Lock()
	defer datasync.mu.Unlock()
	if len(datasync.replaced) == 0 {
		t.Error("the files of a database are not those of this VFS")
	}
}

func TestSyncData(t *testing.T) {
	tls := libc.NewTLS()
	defer tls.Close()
	file := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(sqlite3.TunixFile{})))
	defer libc.Xfree(tls, file)
	opened := cMemory[sqlite3.TunixFile](file)
	there, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	opened.Fh = int32(there.Fd())
	if code := syncData(tls, file, sqlite3.SQLITE_SYNC_FULL); code != sqlite3.SQLITE_OK {
		t.Errorf("a file that is there: code %d", code)
	}
	opened.Fh = -1
	if code := syncData(tls, file, sqlite3.SQLITE_SYNC_FULL); code != sqlite3.SQLITE_IOERR_FSYNC || opened.FlastErrno != int32(syscall.EBADF) {
		t.Errorf("no file: code %d, errno %d", code, opened.FlastErrno)
	}
}
