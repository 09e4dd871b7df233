package queuefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"combotto.io/gateway/server/edge"
)

// Frame is a commit that was read back. It is immutable: payloads alias one
// buffer, and everybody who reads the same records shares it.
type Frame struct {
	First       edge.Position
	CommittedAt time.Time
	Records     []edge.Record
	Owed        []uint32 // of each record
	Bytes       int      // of memory that it takes
}

// End returns the position behind the last record.
func (f *Frame) End() edge.Position { return f.First + edge.Position(len(f.Records)) }

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

// Decoder reads frames. It is safe for concurrent use.
type Decoder struct {
	decompressor *zstd.Decoder
	logs         *Logs
}

// NewDecoder returns a decoder. Correlation ids are made with logs, which may be
// filled later.
func NewDecoder(logs *Logs) (*Decoder, error) {
	decompressor, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(MaxFrameBytes), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("build the decompressor: %w", err)
	}
	return &Decoder{decompressor: decompressor, logs: logs}, nil
}

// decode reads the frame of count records at first. It fails with a
// [*DamageError] and never panics, whatever the bytes are. It keeps body.
func (d *Decoder) decode(first edge.Position, count int, body []byte) (*Frame, error) {
	records, err := d.open(first, count, body)
	if err != nil {
		return nil, &DamageError{Frame: first, Err: err}
	}
	reader := recordReader{bytesLeft: bytesLeft{rest: records}, version: body[0], sequences: []uint64{0}}
	decoded := &Frame{First: first, Records: make([]edge.Record, count), Owed: make([]uint32, count)}
	for i := range count {
		position := first + edge.Position(i)
		record := &decoded.Records[i]
		decoded.Owed[i] = reader.next(record)
		record.Position = position
		record.Correlation = edge.NewCorrelationID(record.ReceivedAt, position, 0, d.logs.Of(position))
	}
	if reader.err == nil && len(reader.rest) > 0 {
		reader.err = errSize
	}
	if reader.err != nil {
		return nil, &DamageError{Frame: first, Err: reader.err}
	}
	decoded.Bytes = len(records) + count*int(unsafe.Sizeof(edge.Record{})+unsafe.Sizeof(uint32(0)))
	return decoded, nil
}

// minRecordBytes is what the smallest record takes. It bounds the number of
// records before anything is allocated for them.
const minRecordBytes = 4

// open checks what is stored and returns the bytes of the records.
func (d *Decoder) open(first edge.Position, count int, body []byte) ([]byte, error) {
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
	if header <= 0 || size > MaxFrameBytes || count < 1 || uint64(count) > size/minRecordBytes {
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
