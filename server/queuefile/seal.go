package queuefile

import (
	"encoding/binary"
	"errors"
)

// StoredBatch is a sealed batch, as the column sealed of sink holds it: for each
// one the ranges of its members and of its backfill, each behind its size.
type StoredBatch struct {
	Members  Spans
	Backfill Spans // of the members: those that go out as [edge.Backfill]
}

// AppendTo writes the batch behind others.
func (b *StoredBatch) AppendTo(dst []byte) []byte {
	for _, set := range []Spans{b.Members, b.Backfill} {
		text := set.AppendTo(nil, 0)
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	return dst
}

var errSealed = errors.New("sealed batches are damaged")

// ParseSealed reads the column.
func ParseSealed(body []byte) ([]StoredBatch, error) {
	var all []StoredBatch
	rest := bytesLeft{rest: body}
	for len(rest.rest) > 0 {
		members, err := ParseSpans(rest.bytes(), 0)
		backfill, again := ParseSpans(rest.bytes(), 0)
		if rest.err != nil || err != nil || again != nil || len(members) == 0 {
			return nil, errSealed
		}
		all = append(all, StoredBatch{Members: members, Backfill: backfill})
	}
	return all, nil
}
