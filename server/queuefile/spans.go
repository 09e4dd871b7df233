package queuefile

import (
	"encoding/binary"
	"errors"
	"slices"

	"combotto.io/gateway/server/edge"
)

// Span is the positions from first up to, but not including, end.
type Span struct{ First, End edge.Position }

// Spans is a set of positions: ascending, and never touching one another.
type Spans []Span

// Find returns the index of the first span that ends behind position. Leasing and
// settling look for every record, so it is written out: slices.BinarySearchFunc
// calls its function at each step.
func (s Spans) Find(position edge.Position) int {
	low, high := 0, len(s)
	for low < high {
		middle := int(uint(low+high) / 2)
		if s[middle].End > position {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// Contains reports whether every position of wanted is in the set.
func (s Spans) Contains(wanted Span) bool {
	index := s.Find(wanted.First)
	return index < len(s) && s[index].First <= wanted.First && wanted.End <= s[index].End
}

// Outside returns the parts of a span that are not in the set.
func (s Spans) Outside(span Span) (outside Spans) {
	for index := s.Find(span.First); span.First < span.End; index++ {
		next := Span{span.End, span.End}
		if index < len(s) {
			next = s[index]
		}
		if end := min(next.First, span.End); span.First < end {
			outside = append(outside, Span{span.First, end})
		}
		span.First = max(span.First, next.End)
	}
	return outside
}

// Count returns how many positions are in the set.
func (s Spans) Count() (count int64) {
	for _, span := range s {
		count += int64(span.End - span.First)
	}
	return count
}

// Add puts the positions of a span that are not in the set into it.
func (s *Spans) Add(added Span) {
	set := *s
	// Most additions extend the last span, or lie behind it.
	switch last := len(set) - 1; {
	case last < 0 || set[last].End < added.First:
		*s = append(set, added)
		return
	case set[last].End == added.First:
		set[last].End = added.End
		return
	}
	from := set.Find(added.First - 1) // a span that ends at added.first is joined
	to := from
	for to < len(set) && set[to].First <= added.End {
		added.First = min(added.First, set[to].First)
		added.End = max(added.End, set[to].End)
		to++
	}
	*s = slices.Replace(set, from, to, added)
}

// Remove takes a span out of the set that contains it.
func (s *Spans) Remove(removed Span) {
	set := *s
	index := set.Find(removed.First)
	before := Span{set[index].First, removed.First}
	after := Span{removed.End, set[index].End}
	switch {
	case before.First < before.End && after.First < after.End:
		set[index] = before
		*s = slices.Insert(set, index+1, after)
	case before.First < before.End:
		set[index] = before
	case after.First < after.End:
		set[index] = after
	default:
		*s = slices.Delete(set, index, index+1)
	}
}

// RemoveAll takes the positions of a span out of the set, whichever it contains.
func (s *Spans) RemoveAll(removed Span) {
	for position := removed.First; len(*s) > 0 && position < removed.End; position++ {
		if here := (Span{position, position + 1}); s.Contains(here) {
			s.Remove(here)
		}
	}
}

// AppendTo writes the set as gaps and lengths, counted from base on.
func (s Spans) AppendTo(dst []byte, base edge.Position) []byte {
	for _, span := range s {
		dst = binary.AppendUvarint(dst, uint64(span.First-base))
		dst = binary.AppendUvarint(dst, uint64(span.End-span.First))
		base = span.End
	}
	return dst
}

var errSpans = errors.New("ranges of settled records are damaged")

// ParseSpans reads what AppendTo wrote.
func ParseSpans(text []byte, base edge.Position) (Spans, error) {
	var set Spans
	for len(text) > 0 {
		gap, size := binary.Uvarint(text)
		if size <= 0 || gap > MaxPosition {
			return nil, errSpans
		}
		text = text[size:]
		length, size := binary.Uvarint(text)
		if size <= 0 || length == 0 || length > MaxPosition {
			return nil, errSpans
		}
		text = text[size:]
		next := Span{First: base + edge.Position(gap)}
		next.End = next.First + edge.Position(length)
		set = append(set, next)
		base = next.End
	}
	return set, nil
}

// MaxPosition is what a correlation id can carry.
const MaxPosition = 1<<48 - 1
