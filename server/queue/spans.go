package queue

import (
	"encoding/binary"
	"errors"
	"slices"

	"combotto.io/gateway/server/edge"
)

// span is the positions from first up to, but not including, end.
type span struct{ first, end edge.Position }

// spans is a set of positions: ascending, and never touching one another.
type spans []span

// find returns the index of the first span that ends behind position. Leasing and
// settling look for every record, so it is written out: slices.BinarySearchFunc
// calls its function at each step.
func (s spans) find(position edge.Position) int {
	low, high := 0, len(s)
	for low < high {
		middle := int(uint(low+high) / 2)
		if s[middle].end > position {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// contains reports whether every position of wanted is in the set.
func (s spans) contains(wanted span) bool {
	index := s.find(wanted.first)
	return index < len(s) && s[index].first <= wanted.first && wanted.end <= s[index].end
}

// add puts the positions of a span that are not in the set into it.
func (s *spans) add(added span) {
	set := *s
	// Most additions extend the last span, or lie behind it.
	switch last := len(set) - 1; {
	case last < 0 || set[last].end < added.first:
		*s = append(set, added)
		return
	case set[last].end == added.first:
		set[last].end = added.end
		return
	}
	from := set.find(added.first - 1) // a span that ends at added.first is joined
	to := from
	for to < len(set) && set[to].first <= added.end {
		added.first = min(added.first, set[to].first)
		added.end = max(added.end, set[to].end)
		to++
	}
	*s = slices.Replace(set, from, to, added)
}

// remove takes a span out of the set that contains it.
func (s *spans) remove(removed span) {
	set := *s
	index := set.find(removed.first)
	before := span{set[index].first, removed.first}
	after := span{removed.end, set[index].end}
	switch {
	case before.first < before.end && after.first < after.end:
		set[index] = before
		*s = slices.Insert(set, index+1, after)
	case before.first < before.end:
		set[index] = before
	case after.first < after.end:
		set[index] = after
	default:
		*s = slices.Delete(set, index, index+1)
	}
}

// removeAll takes the positions of a span out of the set, whichever it contains.
func (s *spans) removeAll(removed span) {
	for position := removed.first; len(*s) > 0 && position < removed.end; position++ {
		if here := (span{position, position + 1}); s.contains(here) {
			s.remove(here)
		}
	}
}

// appendTo writes the set as gaps and lengths, counted from base on.
func (s spans) appendTo(dst []byte, base edge.Position) []byte {
	for _, span := range s {
		dst = binary.AppendUvarint(dst, uint64(span.first-base))
		dst = binary.AppendUvarint(dst, uint64(span.end-span.first))
		base = span.end
	}
	return dst
}

var errSpans = errors.New("ranges of settled records are damaged")

func parseSpans(text []byte, base edge.Position) (spans, error) {
	var set spans
	for len(text) > 0 {
		gap, size := binary.Uvarint(text)
		if size <= 0 || gap > maxPosition {
			return nil, errSpans
		}
		text = text[size:]
		length, size := binary.Uvarint(text)
		if size <= 0 || length == 0 || length > maxPosition {
			return nil, errSpans
		}
		text = text[size:]
		next := span{first: base + edge.Position(gap)}
		next.end = next.first + edge.Position(length)
		set = append(set, next)
		base = next.end
	}
	return set, nil
}

// maxPosition is what a correlation id can carry.
const maxPosition = 1<<48 - 1
