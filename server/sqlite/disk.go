package sqlite

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Disk is where a database lives, with every file that belongs to it. The zero
// value is the file systems of the operating system; tests put a simulated disk
// in its place (see simdisk). Whoever keeps a file beside a database goes through
// the same Disk, so that a power cut in a test hits everything at once.
//
// A Disk is safe for concurrent use.
type Disk struct {
	VFS   string // under which SQLite knows the disk; empty is that of the operating system
	Files Files  // what is done beside SQLite; nil is the operating system
	// Opened, when it is set, is told of every database that was opened. A
	// simulated disk closes those whose process has died, to give memory back.
	Opened func(db io.Closer)
}

// Files are the operations on files that a database needs beside SQLite. Paths
// are absolute. A file that does not exist is [fs.ErrNotExist], a full disk is
// syscall.ENOSPC. Nothing but the Sync of [File] and SyncFolder makes anything
// durable.
type Files interface {
	// Open takes the flags of os.OpenFile. A file that it creates can be read by
	// its owner only, and a folder that is missing is made, durably. What is no file
	// is a [*SpecialError].
	Open(path string, flag int) (File, error)
	// Rename puts a file in the place of another one, if there is one.
	Rename(from, to string) error
	Remove(path string) error
	// SyncFolder makes durable which names a folder holds.
	SyncFolder(path string) error
	// Stat looks at a file or folder and at the file system that it lies on.
	Stat(path string) (Stat, error)
}

// Stat is what is known about a file without opening it.
type Stat struct {
	Size     int64 // of the file in bytes
	Free     int64 // bytes that can still be written to its file system
	Capacity int64 // bytes of its file system
	Special  bool  // a folder, a pipe or a device
}

// File is an open file, read and written from its beginning. ReadAt changes nothing
// about where.
type File interface {
	io.ReadWriteCloser
	io.ReaderAt
	Truncate(size int64) error
	// Allocate makes the file at least so long, with room on the disk for all of
	// it. It changes nothing when there is none.
	Allocate(size int64) error
	// Sync makes the content durable. After an error what was written since the
	// last Sync may never become durable, whatever a second Sync says.
	Sync() error
}

// SameFolder reports whether two paths lead to one folder: links, mounts and
// spellings give it several. A simulated disk has none of these.
func (d Disk) SameFolder(one, other string) (bool, error) {
	if d.Files != nil {
		return filepath.Clean(one) == filepath.Clean(other), nil
	}
	first, err := os.Stat(one)
	if err != nil {
		return false, err
	}
	second, err := os.Stat(other)
	if err != nil {
		return false, err
	}
	return os.SameFile(first, second), nil
}

// Open opens a file as Files.Open does.
func (d Disk) Open(path string, flag int) (File, error) { return d.files().Open(path, flag) }

// Size returns the size of a file.
func (d Disk) Size(path string) (int64, error) {
	stat, err := d.files().Stat(path)
	return stat.Size, err
}

// Rename puts a file in the place of another one, both in the same folder, and
// makes that durable. Sync the content first.
func (d Disk) Rename(from, to string) error {
	if err := d.files().Rename(from, to); err != nil {
		return err
	}
	return d.SyncFolder(filepath.Dir(to))
}

// Remove removes a file durably. It is no error when there is none.
func (d Disk) Remove(path string) error {
	err := d.files().Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.SyncFolder(filepath.Dir(path))
}

// SyncFolder makes durable which names a folder holds.
func (d Disk) SyncFolder(path string) error { return d.files().SyncFolder(path) }

// Stat looks at a file or folder and at the file system that it lies on. It does
// not open the file: closing it again would let go of SQLite's locks where these
// belong to the process.
func (d Disk) Stat(path string) (Stat, error) { return d.files().Stat(path) }

// LinkError says that a database's name is a symbolic link. SQLite follows it and
// keeps the WAL beside the file that it leads to, while whoever goes by the name looks
// for it beside the link, and takes the database without it.
type LinkError struct{ Path string }

func (e *LinkError) Error() string { return e.Path + " is a symbolic link" }

// SpecialError says that a name which belongs to a database is that of a folder, a pipe, a
// socket or a device. To open a pipe is to wait for whoever opens its other end.
type SpecialError struct{ Path string }

func (e *SpecialError) Error() string {
	return e.Path + " is a folder, a pipe or a device, and no file"
}

// checkNames fails with a [*LinkError], and with a [*SpecialError] for the database and
// for what SQLite opens beside it. Links to folders are no matter.
func (d Disk) checkNames(path string) error {
	if d.Files != nil { // a simulated disk has neither
		return nil
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return &LinkError{Path: path}
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		info, err := os.Stat(path + suffix)
		if err == nil && !info.Mode().IsRegular() {
			return &SpecialError{Path: path + suffix}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (d Disk) files() Files {
	if d.Files == nil {
		return systemFiles{}
	}
	return d.Files
}

// systemFiles is the operating system.
type systemFiles struct{}

type systemFile struct{ *os.File }

func (systemFiles) Open(path string, flag int) (File, error) {
	if flag&os.O_CREATE != 0 {
		if err := makeFolder(filepath.Dir(path)); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, flag|openNow, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &SpecialError{Path: path}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return systemFile{file}, nil
}

func makeFolder(folder string) error {
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return systemFiles{}.SyncFolder(filepath.Dir(folder))
}

func (systemFiles) Rename(from, to string) error { return os.Rename(from, to) }

func (systemFiles) Remove(path string) error { return os.Remove(path) }

func (systemFiles) SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
