package edge

import (
	"encoding/binary"
	"encoding/hex"
	"time"
)

// CorrelationID finds a record again without a scan. To clients it is an opaque
// UUID; it has the shape of UUID version 7 (RFC 9562):
//
//	 48 bits        4   12 bits   2   62 bits
//	+--------------+---+---------+---+----------------------------------+
//	| receive time | 7 | position| 2 | position, index, log             |
//	| milliseconds |   |  high   |   |   36 low      16     10          |
//	+--------------+---+---------+---+----------------------------------+
//
// Position (48 bits) leads to the frame. Index (16 bits) is for queues whose
// positions name groups of records; the SQLite queue numbers each record and
// leaves it 0. Log (10 bits) changes whenever a queue file is replaced, so that
// an old id is not answered with somebody else's record.
type CorrelationID [16]byte

// NewCorrelationID builds the id of the record at a position.
func NewCorrelationID(receivedAt time.Time, position Position, index uint16, log uint16) CorrelationID {
	var id CorrelationID
	binary.BigEndian.PutUint64(id[0:8], uint64(receivedAt.UnixMilli())<<16|7<<12|uint64(position>>36)&0xFFF)
	binary.BigEndian.PutUint64(id[8:16], 2<<62|uint64(position)&(1<<36-1)<<26|uint64(index)<<10|uint64(log)&0x3FF)
	return id
}

// ParseCorrelationID reads the text form, upper or lower case.
func ParseCorrelationID(text string) (CorrelationID, bool) {
	var id CorrelationID
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	compact := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	if _, err := hex.Decode(id[:], []byte(compact)); err != nil || id[6]>>4 != 7 || id[8]>>6 != 2 {
		return CorrelationID{}, false
	}
	return id, true
}

// Position returns the position that the id names.
func (id CorrelationID) Position() Position {
	high := Position(binary.BigEndian.Uint64(id[0:8]) & 0xFFF)
	return high<<36 | Position(binary.BigEndian.Uint64(id[8:16])>>26&(1<<36-1))
}

// Log returns the ten bits that name the queue file.
func (id CorrelationID) Log() uint16 { return uint16(binary.BigEndian.Uint64(id[8:16]) & 0x3FF) }

// ReceivedAt returns the receive time in milliseconds.
func (id CorrelationID) ReceivedAt() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[0:8]) >> 16)).UTC()
}

// IsZero reports whether id names nothing.
func (id CorrelationID) IsZero() bool { return id == CorrelationID{} }

// AppendText appends the 36 characters of the text form.
func (id CorrelationID) AppendText(dst []byte) ([]byte, error) {
	dst = hex.AppendEncode(dst, id[0:4])
	dst = hex.AppendEncode(append(dst, '-'), id[4:6])
	dst = hex.AppendEncode(append(dst, '-'), id[6:8])
	dst = hex.AppendEncode(append(dst, '-'), id[8:10])
	return hex.AppendEncode(append(dst, '-'), id[10:16]), nil
}

func (id CorrelationID) String() string {
	if id.IsZero() {
		return ""
	}
	text, _ := id.AppendText(make([]byte, 0, 36)) // AppendText cannot fail
	return string(text)
}
