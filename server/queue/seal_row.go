package queue

import (
	"encoding/binary"
	"errors"
)

// storedBatch is a sealed batch, as the column sealed of sink holds it: for each
// one the ranges of its members and of its backfill, each behind its size.
type storedBatch struct {
	members  spans
	backfill spans // of the members: those that go out as [edge.Backfill]
}

func (b *storedBatch) appendTo(dst []byte) []byte {
	for _, set := range []spans{b.members, b.backfill} {
		text := set.appendTo(nil, 0)
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	return dst
}

var errSealed = errors.New("sealed batches are damaged")

// parseSealed reads the column.
func parseSealed(body []byte) ([]storedBatch, error) {
	var all []storedBatch
	rest := bytesLeft{rest: body}
	for len(rest.rest) > 0 {
		members, err := parseSpans(rest.bytes(), 0)
		backfill, again := parseSpans(rest.bytes(), 0)
		if rest.err != nil || err != nil || again != nil || len(members) == 0 {
			return nil, errSealed
		}
		all = append(all, storedBatch{members: members, backfill: backfill})
	}
	return all, nil
}
