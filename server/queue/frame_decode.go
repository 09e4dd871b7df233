package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"combotto.io/gateway/server/edge"
)

// frame is a commit that was read back. It is immutable: payloads alias one
// buffer, and everybody who reads the same records shares it.
type frame struct {
	first       edge.Position
	committedAt time.Time
	records     []edge.Record
	owed        []uint32 // of each record
	bytes       int      // of memory that it takes
}

// end returns the position behind the last record.
func (f *frame) end() edge.Position { return f.first + edge.Position(len(f.records)) }

// DamageError says that a frame is not what was written. Nothing of it is
// delivered; the frames beside it are not touched by it.
type DamageError struct {
	Frame edge.Position
	Err   error
}

func (e *DamageError) Error() string { return fmt.Sprintf("frame %d is damaged: %v", e.Frame, e.Err) }

// Unwrap returns what is wrong with the frame.
func (e *DamageError) Unwrap() error { return e.Err }

var (
	errChecksum  = errors.New("the checksum differs")
	errFormat    = errors.New("the format is unknown")
	errSize      = errors.New("the sizes contradict one another")
	errTruncated = errors.New("it ends too early")
	errName      = errors.New("it refers to a name that it does not hold")
)

// decoder reads frames. It is safe for concurrent use.
type decoder struct {
	decompressor *zstd.Decoder
	logs         *logs
}

func newDecoder(logs *logs) (*decoder, error) {
	decompressor, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxFrameBytes), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("build the decompressor: %w", err)
	}
	return &decoder{decompressor: decompressor, logs: logs}, nil
}

// decode reads the frame of count records at first. It fails with a
// [*DamageError] and never panics, whatever the bytes are. It keeps body.
func (d *decoder) decode(first edge.Position, count int, body []byte) (*frame, error) {
	records, err := d.open(first, count, body)
	if err != nil {
		return nil, &DamageError{Frame: first, Err: err}
	}
	reader := recordReader{bytesLeft: bytesLeft{rest: records}, version: body[0], sequences: []uint64{0}}
	decoded := &frame{first: first, records: make([]edge.Record, count), owed: make([]uint32, count)}
	for i := range count {
		position := first + edge.Position(i)
		record := &decoded.records[i]
		decoded.owed[i] = reader.next(record)
		record.Position = position
		record.Correlation = edge.NewCorrelationID(record.ReceivedAt, position, 0, d.logs.of(position))
	}
	if reader.err == nil && len(reader.rest) > 0 {
		reader.err = errSize
	}
	if reader.err != nil {
		return nil, &DamageError{Frame: first, Err: reader.err}
	}
	decoded.bytes = len(records) + count*int(unsafe.Sizeof(edge.Record{})+unsafe.Sizeof(uint32(0)))
	return decoded, nil
}

// minRecordBytes is what the smallest record takes. It bounds the number of
// records before anything is allocated for them.
const minRecordBytes = 4

// open checks what is stored and returns the bytes of the records.
func (d *decoder) open(first edge.Position, count int, body []byte) ([]byte, error) {
	if len(body) < 2+checksumBytes {
		return nil, errTruncated
	}
	stored, sum := body[:len(body)-checksumBytes], body[len(body)-checksumBytes:]
	if binary.LittleEndian.Uint64(sum) != checksum(first, count, stored) {
		return nil, errChecksum
	}
	if stored[0] < firstVersion || stored[0] > frameVersion {
		return nil, errFormat
	}
	size, header := binary.Uvarint(stored[2:])
	if header <= 0 || size > maxFrameBytes || count < 1 || uint64(count) > size/minRecordBytes {
		return nil, errSize
	}
	records := stored[2+header:]
	switch stored[1] {
	case codecRaw:
	case codecZstd:
		var err error
		if records, err = d.decompressor.DecodeAll(records, make([]byte, 0, size)); err != nil {
			return nil, err
		}
	default:
		return nil, errFormat
	}
	if uint64(len(records)) != size {
		return nil, errSize
	}
	return records, nil
}

// recordReader reads the records of a frame one by one.
type recordReader struct {
	bytesLeft
	version   byte
	devices   []string
	boots     []string
	sequences []uint64 // as in the encoder
	received  int64
	kinds     byte
	owed      uint32
	begun     bool // there is a record before
}

func (r *recordReader) next(record *edge.Record) (owed uint32) {
	flags := r.byte()
	same := flags&flagSame != 0
	if same && !r.begun {
		r.fail(errFormat)
	}
	if !same {
		r.kinds = r.byte()
	}
	record.Source, record.Encoding = edge.Source(r.kinds>>4), edge.Encoding(r.kinds&0xF)
	device, _ := r.name(&r.devices)
	record.Device = edge.DeviceID(device)
	r.received += r.varint()
	record.ReceivedAt = time.UnixMicro(r.received).UTC()
	if !same {
		r.owed = uint32(r.uvarint())
	}
	boot := uint64(0)
	if flags&flagBootID != 0 {
		record.Identity.BootID, boot = r.name(&r.boots)
	}
	if flags&flagSequence != 0 {
		record.Identity.Sequence, record.Identity.HasSequence = r.sequence(boot), true
	}
	if flags&flagMessageID != 0 {
		record.Identity.MessageID = string(r.bytes())
	}
	if flags&flagTraceParent != 0 {
		record.TraceParent = string(r.bytes())
	}
	if flags&flagRevision != 0 {
		record.Revision = int(r.uvarint())
	}
	record.Identity.Explicit = flags&flagExplicit != 0
	record.Verified = flags&flagVerified != 0
	record.Payload = r.bytes()
	r.begun = true
	return r.owed
}

func (r *recordReader) sequence(boot uint64) uint64 {
	if r.version <= wholeSequences {
		return r.uvarint()
	}
	for uint64(len(r.sequences)) <= boot {
		r.sequences = append(r.sequences, 0)
	}
	r.sequences[boot] += uint64(r.varint())
	return r.sequences[boot]
}

// name returns a name and its number, 0 when it cannot be read.
func (r *recordReader) name(names *[]string) (name string, number uint64) {
	number = r.uvarint()
	if number == 0 {
		name = string(r.bytes())
		*names = append(*names, name)
		return name, uint64(len(*names))
	}
	if number > uint64(len(*names)) {
		r.fail(errName)
		return "", 0
	}
	return (*names)[number-1], number
}

// bytesLeft reads from a slice. The first error is kept, and everything that is
// read after it is zero.
type bytesLeft struct {
	rest []byte
	err  error
}

func (b *bytesLeft) fail(err error) {
	if b.err == nil {
		b.err = err
	}
	b.rest = nil
}

func (b *bytesLeft) byte() byte {
	if len(b.rest) == 0 {
		b.fail(errTruncated)
		return 0
	}
	value := b.rest[0]
	b.rest = b.rest[1:]
	return value
}

func (b *bytesLeft) uvarint() uint64 {
	value, size := binary.Uvarint(b.rest)
	if size <= 0 {
		b.fail(errTruncated)
		return 0
	}
	b.rest = b.rest[size:]
	return value
}

func (b *bytesLeft) varint() int64 {
	value, size := binary.Varint(b.rest)
	if size <= 0 {
		b.fail(errTruncated)
		return 0
	}
	b.rest = b.rest[size:]
	return value
}

func (b *bytesLeft) uint64() uint64 {
	if len(b.rest) < 8 {
		b.fail(errTruncated)
		return 0
	}
	value := binary.LittleEndian.Uint64(b.rest)
	b.rest = b.rest[8:]
	return value
}

// bytes returns a size and as many bytes, which alias the slice and cannot be
// appended to.
func (b *bytesLeft) bytes() []byte {
	size := b.uvarint()
	if size > uint64(len(b.rest)) {
		b.fail(errTruncated)
		return nil
	}
	value := b.rest[:size:size]
	b.rest = b.rest[size:]
	return value
}
