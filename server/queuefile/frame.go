package queuefile

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"combotto.io/gateway/server/edge"
)

// The body of a frame holds the records of one commit.
//
//	version  codec  size of the records  records, compressed or not  checksum
//	1 byte   1 byte varint                                           8 bytes
//
// Records follow one another, each of them
//
//	flags                        1 byte
//	source and encoding          1 byte  unless flagSame
//	device                       name
//	received                     varint, microseconds since the record before
//	owed set                     varint  unless flagSame
//	boot id                      name    when flagBootID
//	sequence                     varint  when flagSequence: since the record before with
//	                                     the same boot id, or with none; version 1: itself
//	message id, traceparent      text    when flagMessageID, flagTraceParent
//	revision                     varint  when flagRevision
//	payload                      bytes, exactly as received
//
// A text or payload is its size as a varint, then its bytes. A name is 0 and a
// text for the first record that mentions it, and later the number of that
// first mention, counted from 1. Devices and boot ids are counted apart.
//
// The checksum covers the bytes as they are stored, the first position and the
// number of records: SQLite has no checksum for the pages of a database.
const (
	frameVersion   = 2
	firstVersion   = 1 // is still read
	wholeSequences = 1 // the last version in which a sequence says itself

	codecRaw  = 0
	codecZstd = 1
)

// What a record of a frame has.
const (
	flagBootID = 1 << iota
	flagSequence
	flagMessageID
	flagExplicit
	flagTraceParent
	flagVerified
	flagRevision
	flagSame // source, encoding and owed set are those of the record before
)

const (
	// compressMin is the size below which compression gains nothing.
	compressMin = 512
	// MaxFrameBytes bounds the records of a frame that is read back: the largest
	// batch that a door takes, and room for its stamps.
	MaxFrameBytes = 4 * edge.MaxBatchBytes
	checksumBytes = 8
)

// Encoder writes frames. It keeps its buffers for the next frame.
type Encoder struct {
	compressor *zstd.Encoder
	records    []byte
	scratch    []byte
	devices    map[string]uint64
	boots      map[string]uint64
	sequences  []uint64 // the last one of each boot id, by its number; 0 is none
	received   int64    // of the record before, Unix microseconds
	kinds      byte     // of the record before
	before     uint32   // the set of the record before
	count      int
	owed       uint32 // the set of every record so far; OwedMixed when they differ
}

// OwedMixed is no set: it says that the records of a frame have several.
const OwedMixed = 0

// NewEncoder returns an encoder for commits, which takes little time.
func NewEncoder() (*Encoder, error) { return newEncoderOf(zstd.SpeedFastest) }

// NewMergeEncoder returns an encoder that takes more time for smaller frames.
func NewMergeEncoder() (*Encoder, error) { return newEncoderOf(zstd.SpeedDefault) }

func newEncoderOf(level zstd.EncoderLevel) (*Encoder, error) {
	compressor, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("build the compressor: %w", err)
	}
	return &Encoder{compressor: compressor, devices: make(map[string]uint64), boots: make(map[string]uint64)}, nil
}

// Reset begins a new frame.
func (e *Encoder) Reset() {
	e.records = e.records[:0]
	clear(e.devices)
	clear(e.boots)
	e.sequences = append(e.sequences[:0], 0)
	e.received, e.count, e.owed = 0, 0, OwedMixed
}

// Add appends a record that is owed to a set of sinks. Position and Correlation
// follow from the record's place and are not written.
func (e *Encoder) Add(record *edge.Record, owed uint32) {
	identity := &record.Identity
	flags := bitIf(identity.BootID != "", flagBootID) | bitIf(identity.HasSequence, flagSequence) |
		bitIf(identity.MessageID != "", flagMessageID) | bitIf(identity.Explicit, flagExplicit) |
		bitIf(record.TraceParent != "", flagTraceParent) | bitIf(record.Verified, flagVerified) | bitIf(record.Revision != 0, flagRevision)
	received, kinds := record.ReceivedAt.UnixMicro(), byte(record.Source)<<4|byte(record.Encoding)
	same := e.count > 0 && kinds == e.kinds && owed == e.before

	dst := append(e.records, flags|bitIf(same, flagSame))
	if !same {
		dst = append(dst, kinds)
	}
	dst, _ = appendName(dst, e.devices, string(record.Device))
	dst = binary.AppendVarint(dst, received-e.received)
	if !same {
		dst = binary.AppendUvarint(dst, uint64(owed))
	}
	boot := uint64(0)
	if flags&flagBootID != 0 {
		dst, boot = appendName(dst, e.boots, identity.BootID)
	}
	if flags&flagSequence != 0 {
		for uint64(len(e.sequences)) <= boot {
			e.sequences = append(e.sequences, 0)
		}
		dst = binary.AppendVarint(dst, int64(identity.Sequence-e.sequences[boot]))
		e.sequences[boot] = identity.Sequence
	}
	if flags&flagMessageID != 0 {
		dst = appendText(dst, identity.MessageID)
	}
	if flags&flagTraceParent != 0 {
		dst = appendText(dst, record.TraceParent)
	}
	if flags&flagRevision != 0 {
		dst = binary.AppendUvarint(dst, uint64(record.Revision))
	}
	dst = binary.AppendUvarint(dst, uint64(len(record.Payload)))
	e.records = append(dst, record.Payload...)

	if e.count == 0 {
		e.owed = owed
	} else if e.owed != owed {
		e.owed = OwedMixed
	}
	e.received, e.kinds, e.before = received, kinds, owed
	e.count++
}

// Size returns how many bytes the records take before compression.
func (e *Encoder) Size() int { return len(e.records) }

// Set returns the set that every record is owed to, OwedMixed when they differ.
func (e *Encoder) Set() uint32 { return e.owed }

// Body returns the frame whose first record has a position. The slice is the
// caller's.
func (e *Encoder) Body(first edge.Position) []byte {
	e.scratch = append(e.scratch[:0], frameVersion, codecZstd)
	e.scratch = binary.AppendUvarint(e.scratch, uint64(len(e.records)))
	header := len(e.scratch)
	if len(e.records) >= compressMin {
		e.scratch = e.compressor.EncodeAll(e.records, e.scratch)
	}
	// Compression that saves less than a tenth is not worth undoing.
	if stored := len(e.scratch) - header; stored == 0 || stored > len(e.records)/10*9 {
		e.scratch[1] = codecRaw
		e.scratch = append(e.scratch[:header], e.records...)
	}
	e.scratch = binary.LittleEndian.AppendUint64(e.scratch, checksum(first, e.count, e.scratch))
	return slices.Clone(e.scratch)
}

// checksum binds the stored bytes to their place, so that a frame is not read as
// another one.
func checksum(first edge.Position, count int, stored []byte) uint64 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:8], uint64(first))
	binary.LittleEndian.PutUint64(place[8:], uint64(count))
	var digest xxhash.Digest
	digest.ResetWithSeed(xxhash.Sum64(place[:]))
	_, _ = digest.Write(stored) // cannot fail
	return digest.Sum64()
}

func bitIf(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

func appendText(dst []byte, text string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

func appendName(dst []byte, names map[string]uint64, name string) (extended []byte, number uint64) {
	number, known := names[name]
	if known {
		return binary.AppendUvarint(dst, number), number
	}
	number = uint64(len(names) + 1)
	names[name] = number
	return appendText(append(dst, 0), name), number
}
