package sqlite

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// The parts of SQLite's WAL format that say where it ends.
const (
	walHeaderBytes = 32 // magic, version, page size, checkpoint number, salts, checksum
	walFrameHeader = 24 // page, size of the database after a commit, salts, checksum
	walMagic       = 0x377f0682
	walSaltsAt     = 16 // in the header
	walSumAt       = 24
	frameSaltsAt   = 8 // in the header of a frame
	frameSumAt     = 16
	walBufferBytes = 1 << 20
)

// walReader reads one round through a WAL. SQLite stops at the first frame whose
// checksum does not hold. A crash may have cut it off, and it may belong to an
// earlier round; but a disk may also have answered one read wrongly. So it is read
// once more before it is taken for the end.
type walReader struct {
	disk Disk
	path string

	file   File
	buffer *bufio.Reader
	header []byte
	frame  []byte
	sum    walSum
	held   int64 // bytes from the beginning that hold
	ended  bool  // the last frame does not hold, or an earlier one
}

// openWAL opens a WAL and reads its header. One that makes no sense has no end:
// SQLite does not read the file at all.
func openWAL(disk Disk, path string) (*walReader, error) {
	r := &walReader{disk: disk, path: path, header: make([]byte, walHeaderBytes)}
	for range 2 {
		if err := r.seek(0); err != nil {
			return nil, err
		}
		n, err := io.ReadFull(r.buffer, r.header)
		if ignoreEnd(err) != nil {
			return nil, errors.Join(err, r.close())
		}
		if r.header = r.header[:n]; r.readsHeader() {
			return r, nil
		}
	}
	r.ended = true
	r.frame = make([]byte, walFrameBytes)
	return r, nil
}

// readsHeader reports whether the header holds.
func (r *walReader) readsHeader() bool {
	if len(r.header) < walHeaderBytes {
		return false
	}
	r.sum = walSum{order: walOrder(r.header)}
	r.sum.add(r.header[:walSumAt])
	pageBytes := binary.BigEndian.Uint32(r.header[8:])
	if !isWAL(r.header, r.sum) || pageBytes < 512 || pageBytes > 65536 {
		return false
	}
	r.held = walHeaderBytes
	r.frame = make([]byte, walFrameHeader+pageBytes)
	return true
}

// isWAL reports whether a header with a sum is what was written.
func isWAL(header []byte, sum walSum) bool {
	return sum.equals(header[walSumAt:]) && binary.BigEndian.Uint32(header)&^1 == walMagic
}

// next returns the next frame of this round, nil when there is none. It is valid
// until the next call.
func (r *walReader) next() ([]byte, error) {
	for again := false; ; again = true {
		n, err := io.ReadFull(r.buffer, r.frame)
		switch {
		case ignoreEnd(err) != nil:
			return nil, err
		case r.held == 0 && n > 0:
			return r.frame[:n], nil
		case n == len(r.frame) && !r.ended && r.holds():
			return r.frame, nil
		case !r.ended && !again: // the disk may answer something else
			if err := r.seek(r.held); err != nil {
				return nil, err
			}
			continue
		}
		r.ended = true
		if n < len(r.frame) || !bytes.Equal(r.frame[frameSaltsAt:frameSumAt], r.header[walSaltsAt:walSumAt]) {
			return nil, nil // half a frame was never committed
		}
		return r.frame, nil
	}
}

// holds goes on to the next frame when the one that was read holds.
func (r *walReader) holds() bool {
	sum := r.sum
	if !bytes.Equal(r.frame[frameSaltsAt:frameSumAt], r.header[walSaltsAt:walSumAt]) || !sum.continues(r.frame) {
		return false
	}
	r.sum = sum
	r.held += int64(len(r.frame))
	return true
}

// seek opens the file anew and goes to an offset.
func (r *walReader) seek(offset int64) error {
	if err := r.close(); err != nil {
		return err
	}
	file, err := r.disk.Open(r.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	r.file, r.buffer = file, bufio.NewReaderSize(file, walBufferBytes)
	if _, err = io.CopyN(io.Discard, r.buffer, offset); ignoreEnd(err) != nil {
		return errors.Join(err, r.close())
	}
	return nil
}

func (r *walReader) close() error {
	if r.file == nil {
		return nil
	}
	file := r.file
	r.file = nil
	return file.Close()
}

// isCommit reports whether a frame ends a transaction.
func isCommit(frame []byte) bool { return binary.BigEndian.Uint32(frame[4:]) > 0 }

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// walSum is the checksum of a WAL, which continues from frame to frame.
type walSum struct {
	order binary.ByteOrder
	a, b  uint32
}

// walOrder returns the order of bytes in which a WAL is summed up.
func walOrder(header []byte) binary.ByteOrder {
	if header[3]&1 != 0 {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// add goes through every byte of a WAL at a start, so that there is a loop for the
// order that processors have today.
func (s *walSum) add(bytes []byte) {
	if s.order != binary.LittleEndian {
		for ; len(bytes) >= 8; bytes = bytes[8:] {
			s.a += s.order.Uint32(bytes) + s.b
			s.b += s.order.Uint32(bytes[4:]) + s.a
		}
		return
	}
	a, b := s.a, s.b
	for ; len(bytes) >= 8; bytes = bytes[8:] {
		both := binary.LittleEndian.Uint64(bytes)
		a += uint32(both) + b
		b += uint32(both>>32) + a
	}
	s.a, s.b = a, b
}

// continues adds a frame, and reports whether the frame holds.
func (s *walSum) continues(frame []byte) bool {
	s.add(frame[:frameSaltsAt])
	s.add(frame[walFrameHeader:])
	return s.equals(frame[frameSumAt:]) && binary.BigEndian.Uint32(frame) > 0
}

func (s *walSum) equals(stored []byte) bool {
	return s.a == binary.BigEndian.Uint32(stored) && s.b == binary.BigEndian.Uint32(stored[4:])
}

func (s *walSum) set(stored []byte) {
	s.a, s.b = binary.BigEndian.Uint32(stored), binary.BigEndian.Uint32(stored[4:])
}
