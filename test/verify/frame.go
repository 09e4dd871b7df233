package verify

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// frameRecord is what the verifier reads of a record in a frame.
type frameRecord struct {
	device   string
	bootID   string
	sequence uint64
	owed     int64
	payload  []byte
}

// What the first byte of a record says.
const (
	hasBootID = 1 << iota
	hasSequence
	hasMessageID
	isExplicit
	hasTraceParent
	isVerified
	hasRevision
	isLikeTheLast // source, encoding and owed set are not repeated
)

var errShort = errors.New("it ends too early")

// inflater is safe for concurrent use with DecodeAll.
var inflater = func() *zstd.Decoder {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		panic(err) // The options are constants.
	}
	return decoder
}()

// readFrame checks the body of a frame and returns its records. The format is
// that of the comment on top of server/queuefile/frame.go, read here for a second
// time.
func readFrame(first, count int64, body []byte) ([]frameRecord, error) {
	text, err := openFrame(first, count, body)
	if err != nil {
		return nil, err
	}
	in := &reader{rest: text, wholeSequences: body[0] == 1, sequences: map[string]uint64{}}
	records := make([]frameRecord, 0, count)
	for range count {
		records = append(records, in.record())
		if in.short {
			return nil, errShort
		}
	}
	if len(in.rest) > 0 {
		return nil, fmt.Errorf("%d bytes lie behind the last record", len(in.rest))
	}
	return records, nil
}

// openFrame checks the checksum and returns the bytes of the records.
func openFrame(first, count int64, body []byte) ([]byte, error) {
	if len(body) < 11 {
		return nil, errShort
	}
	stored, sum := body[:len(body)-8], binary.LittleEndian.Uint64(body[len(body)-8:])
	place := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(first)), uint64(count))
	digest := xxhash.NewWithSeed(xxhash.Sum64(place))
	_, _ = digest.Write(stored) // Cannot fail.
	if digest.Sum64() != sum {
		return nil, errors.New("the checksum differs")
	}
	size, width := binary.Uvarint(stored[2:])
	if stored[0] < 1 || stored[0] > 2 || stored[1] > 1 || width <= 0 {
		return nil, fmt.Errorf("version %d, codec %d", stored[0], stored[1])
	}
	text := stored[2+width:]
	if stored[1] == 1 {
		var err error
		if text, err = inflater.DecodeAll(text, nil); err != nil {
			return nil, err
		}
	}
	if uint64(len(text)) != size {
		return nil, fmt.Errorf("%d bytes of records, want %d", len(text), size)
	}
	return text, nil
}

// reader takes things from the front. Once short is set everything is zero.
type reader struct {
	rest  []byte
	short bool

	wholeSequences bool // version 1; later ones say the difference to the last with the same boot id
	devices, boots []string
	sequences      map[string]uint64 // the last, by boot id
	owed           int64             // of the last record
}

// record reads one record.
func (r *reader) record() frameRecord {
	flags := r.take(1)[0]
	if flags&isLikeTheLast == 0 {
		r.take(1) // source and encoding
	}
	record := frameRecord{device: r.name(&r.devices)}
	r.number() // time since the record before
	if flags&isLikeTheLast == 0 {
		r.owed = int64(r.number())
	}
	record.owed = r.owed
	if flags&hasBootID != 0 {
		record.bootID = r.name(&r.boots)
	}
	if flags&hasSequence != 0 {
		record.sequence = r.number()
		if !r.wholeSequences {
			difference := int64(record.sequence>>1) ^ -int64(record.sequence&1) // zigzag
			record.sequence = r.sequences[record.bootID] + uint64(difference)
			r.sequences[record.bootID] = record.sequence
		}
	}
	for _, text := range []byte{hasMessageID, hasTraceParent} {
		if flags&text != 0 {
			r.take(r.number())
		}
	}
	if flags&hasRevision != 0 {
		r.number()
	}
	record.payload = r.take(r.number())
	return record
}

var zeros [2]byte

func (r *reader) take(size uint64) []byte {
	if uint64(len(r.rest)) < size {
		r.short, r.rest = true, nil
		return zeros[:]
	}
	taken := r.rest[:size]
	r.rest = r.rest[size:]
	return taken
}

func (r *reader) number() uint64 {
	value, width := binary.Uvarint(r.rest)
	if width <= 0 {
		r.short, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[width:]
	return value
}

// name reads a text that is new, or the number of one that is known.
func (r *reader) name(known *[]string) string {
	number := r.number()
	if number > 0 && number <= uint64(len(*known)) {
		return (*known)[number-1]
	}
	if number > 0 {
		r.short, r.rest = true, nil
		return ""
	}
	text := string(r.take(r.number()))
	*known = append(*known, text)
	return text
}
