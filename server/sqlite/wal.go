package sqlite

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// The parts of SQLite's WAL format that say where it ends.
const (
	walHeaderBytes = 32 // magic, version, page size, checkpoint number, salts, checksum
	walFrameHeader = 24 // page, size of the database after a commit, salts, checksum
	walMagic       = 0x377f0682
	walSaltsAt     = 16 // in the header
	frameSaltsAt   = 8  // in the header of a frame
	saltsBytes     = 8
)

// InUseError says that another process has the database open. Two WALs of one
// database would destroy it.
type InUseError struct{ Path string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("another process has %s open: end it first (lsof %s names it)", e.Path, e.Path)
}

// renewWAL makes durable what a start is going to read, before SQLite reads it.
//
// A process that ends without Close leaves a WAL. When it ended because a sync
// had failed, the kernel may show content that is not on the disk and never will
// be: its pages count as written. Whoever believed that content and told a client
// that its message is there already would lose it with the next power cut. Nothing
// that could be asked tells whether this is such a start, because the disk which
// would know is the one that failed. So every such start brings the content to the
// disk anew, in a file of its own: overwriting it in place could destroy what is
// durable, if the power goes meanwhile.
//
// The database file needs no such care. A checkpoint that fails leaves the WAL in
// use, and after a start all of it is moved again.
func renewWAL(disk Disk, path string) error {
	wal, fresh := path+"-wal", path+"-wal.new"
	size, err := disk.Size(wal)
	if errors.Is(err, fs.ErrNotExist) || err == nil && size == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if disk.Files == nil {
		used, err := inUse(path)
		if err == nil && used {
			err = &InUseError{Path: path}
		}
		if err != nil {
			return err
		}
	}
	err = copyWAL(disk, wal, fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		// A full disk must not keep the gateway from starting, because only a
		// started one can make room. In place, what is on the disk already is
		// written over with the same bytes.
		if err := disk.Remove(fresh); err != nil {
			return err
		}
		return copyWAL(disk, wal, wal, os.O_WRONLY)
	}
	if err != nil {
		return err
	}
	return disk.Rename(fresh, wal)
}

// copyWAL copies what SQLite may read from one file to another, or to the same
// one, and syncs it.
func copyWAL(disk Disk, from, to string, flag int) error {
	source, err := disk.Open(from, os.O_RDONLY)
	if err != nil {
		return err
	}
	target, err := disk.Open(to, flag)
	if err != nil {
		return errors.Join(err, source.Close())
	}
	buffered := bufio.NewWriterSize(target, 1<<20)
	err = copyFrames(buffered, bufio.NewReaderSize(source, 1<<20))
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil {
		err = target.Sync()
	}
	return errors.Join(err, source.Close(), target.Close())
}

// copyFrames stops at the first frame that belongs to an earlier round through the
// file, where SQLite stops at the latest. It judges nothing else: what a checksum
// says is SQLite's business, and a header that makes no sense is copied with
// everything behind it.
func copyFrames(to io.Writer, from io.Reader) error {
	header := make([]byte, walHeaderBytes)
	n, err := io.ReadFull(from, header)
	if _, err := to.Write(header[:n]); err != nil {
		return err
	}
	if err != nil {
		return ignoreEnd(err)
	}
	pageBytes := binary.BigEndian.Uint32(header[8:])
	if binary.BigEndian.Uint32(header)&^1 != walMagic || pageBytes < 512 || pageBytes > 65536 {
		_, err := io.Copy(to, from)
		return err
	}
	salts := header[walSaltsAt : walSaltsAt+saltsBytes]
	frame := make([]byte, walFrameHeader+pageBytes)
	for {
		if _, err := io.ReadFull(from, frame); err != nil {
			return ignoreEnd(err) // half a frame was never committed
		}
		if !bytes.Equal(frame[frameSaltsAt:frameSaltsAt+saltsBytes], salts) {
			return nil
		}
		if _, err := to.Write(frame); err != nil {
			return err
		}
	}
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
