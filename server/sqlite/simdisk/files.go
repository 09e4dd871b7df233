package simdisk

import (
	"io"
	"io/fs"
	"math"
	"os"
	"syscall"

	"combotto.io/gateway/server/sqlite"
)

// files implements [sqlite.Files]. A disk has whatever folders it is asked for.
type files struct{ process *process }

func (f files) Open(path string, flag int) (sqlite.File, error) {
	h, errno := f.process.open(path, flag)
	if errno != 0 {
		return nil, failure("open", path, errno)
	}
	return file{h}, nil
}

func (f files) Rename(from, to string) error {
	return failure("rename", from, f.process.rename(from, to))
}

func (f files) Remove(path string) error { return failure("remove", path, f.process.remove(path)) }

func (f files) SyncFolder(path string) error {
	return failure("sync", path, f.process.syncFolder(path))
}

func (f files) Stat(path string) (sqlite.Stat, error) {
	d := f.process.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.process.dead {
		return sqlite.Stat{}, failure("stat", path, syscall.EIO)
	}
	stat := sqlite.Stat{Free: math.MaxInt64, Capacity: math.MaxInt64}
	if d.capacity > 0 {
		stat.Free, stat.Capacity = max(d.capacity-d.used, 0), d.capacity
	}
	if n := d.names[path]; n != nil {
		stat.Size = int64(len(n.data))
	} else if stat.Special = d.isFolder(path); !stat.Special {
		return sqlite.Stat{}, failure("stat", path, syscall.ENOENT)
	}
	return stat, nil
}

func failure(operation, path string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return &fs.PathError{Op: operation, Path: path, Err: errno}
}

// file implements [sqlite.File].
type file struct{ *handle }

func (f file) Read(b []byte) (int, error) {
	count, errno := f.read(b, f.offset)
	f.offset += int64(count)
	if errno == 0 && count == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return count, failure("read", f.path, errno)
}

func (f file) ReadAt(b []byte, offset int64) (int, error) {
	count, errno := f.read(b, offset)
	if errno == 0 && count < len(b) {
		return count, io.EOF
	}
	return count, failure("read", f.path, errno)
}

func (f file) Write(b []byte) (int, error) {
	count, errno := f.write(b, f.offset)
	f.offset += int64(count)
	return count, failure("write", f.path, errno)
}

func (f file) Truncate(size int64) error { return failure("truncate", f.path, f.truncate(size)) }

func (f file) Allocate(size int64) error { return failure("allocate", f.path, f.allocate(size)) }

func (f file) Sync() error { return failure("sync", f.path, f.sync()) }

func (f file) Close() error {
	if f.inode == nil {
		return os.ErrClosed
	}
	f.close()
	return nil
}
