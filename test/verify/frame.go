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

// What the first byte of a record says is there.
const (
	hasBootID = 1 << iota
	hasSequence
	hasMessageID
	isExplicit
	hasTraceParent
	isVerified
	hasRevision
	asBefore
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
// that of the comment on top of server/queue/frame.go, read here for a second
// time.
func readFrame(first, count int64, body []byte) ([]frameRecord, error) {
	text, err := openFrame(first, count, body)
	if err != nil {
		return nil, err
	}
	in := &reader{rest: text}
	var devices, boots []string
	sequences := map[string]uint64{} // the last one of each boot id, in the frame
	records := make([]frameRecord, 0, count)
	for i := range count {
		flags := in.take(1)[0]
		if flags&asBefore == 0 {
			in.take(1) // source and encoding
		} else if i == 0 {
			return nil, errors.New("the first record is like none before")
		}
		record := frameRecord{device: in.name(&devices)}
		in.number() // time since the record before; zigzag makes no difference here
		if flags&asBefore == 0 {
			record.owed = int64(in.number())
		} else {
			record.owed = records[i-1].owed
		}
		if flags&hasBootID != 0 {
			record.bootID = in.name(&boots)
		}
		if flags&hasSequence != 0 {
			record.sequence = in.number()
			if body[0] > 1 { // a difference, zigzag
				record.sequence = sequences[record.bootID] + (record.sequence>>1 ^ -(record.sequence & 1))
				sequences[record.bootID] = record.sequence
			}
		}
		for _, text := range []byte{hasMessageID, hasTraceParent} {
			if flags&text != 0 {
				in.take(in.number())
			}
		}
		if flags&hasRevision != 0 {
			in.number()
		}
		record.payload = in.take(in.number())
		if in.short {
			return nil, errShort
		}
		records = append(records, record)
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
