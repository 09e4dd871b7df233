package queuefile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
)

// TestSpans compares a set of spans with a set of single positions.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set Spans
		model := map[edge.Position]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			first := edge.Position(rapid.IntRange(10, 60).Draw(t, "first"))
			drawn := Span{first, first + edge.Position(rapid.IntRange(1, 8).Draw(t, "length"))}
			whole := true
			for position := drawn.First; position < drawn.End; position++ {
				whole = whole && model[position]
			}
			if set.Contains(drawn) != whole {
				t.Fatalf("contains(%v) is %v in %v", drawn, !whole, set)
			}
			if whole {
				set.Remove(drawn)
			} else {
				set.Add(drawn)
			}
			for position := drawn.First; position < drawn.End; position++ {
				model[position] = !whole
			}
			for i := range set {
				if set[i].First >= set[i].End || i > 0 && set[i-1].End >= set[i].First {
					t.Fatalf("spans touch, overlap or are empty: %v", set)
				}
			}
			for position := edge.Position(9); position < 70; position++ {
				if set.Contains(Span{position, position + 1}) != model[position] {
					t.Fatalf("position %d is %v in %v", position, !model[position], set)
				}
			}
		}
		restored, err := ParseSpans(set.AppendTo(nil, 5), 5)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append(Spans{}, set...), append(Spans{}, restored...), cmp.AllowUnexported(Span{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParseSpans(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 1, 2, 5})
	f.Add([]byte{0, 0})
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1})
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := ParseSpans(text, 3)
		if err != nil {
			return
		}
		for i := range set {
			if set[i].First >= set[i].End || i > 0 && set[i-1].End > set[i].First {
				t.Errorf("%v is not ascending", set)
			}
		}
	})
}

// BenchmarkSpans is what leasing, sealing and settling ask of a lane with four
// slots: the positions of a slot in ascending order, between those of the others.
func BenchmarkSpans(b *testing.B) {
	var leased Spans
	leased.Add(Span{1, 8193})
	b.ReportAllocs()
	for b.Loop() {
		var settled Spans
		for position := edge.Position(1); position <= 8192; position += 4 {
			here := Span{position, position + 1}
			if !leased.Contains(here) {
				b.Fatal(position)
			}
			leased.Remove(here)
			settled.Add(here)
		}
		for _, here := range settled {
			leased.Add(here)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2048, "ns/record")
}
