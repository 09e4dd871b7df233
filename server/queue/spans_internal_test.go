package queue

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
)

// TestSpans compares a set of spans with a set of single positions.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set spans
		model := map[edge.Position]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			first := edge.Position(rapid.IntRange(10, 60).Draw(t, "first"))
			drawn := span{first, first + edge.Position(rapid.IntRange(1, 8).Draw(t, "length"))}
			whole := true
			for position := drawn.first; position < drawn.end; position++ {
				whole = whole && model[position]
			}
			if set.contains(drawn) != whole {
				t.Fatalf("contains(%v) is %v in %v", drawn, !whole, set)
			}
			if whole {
				set.remove(drawn)
			} else {
				set.add(drawn)
			}
			for position := drawn.first; position < drawn.end; position++ {
				model[position] = !whole
			}
			for i := range set {
				if set[i].first >= set[i].end || i > 0 && set[i-1].end >= set[i].first {
					t.Fatalf("spans touch, overlap or are empty: %v", set)
				}
			}
			for position := edge.Position(9); position < 70; position++ {
				if set.contains(span{position, position + 1}) != model[position] {
					t.Fatalf("position %d is %v in %v", position, !model[position], set)
				}
			}
		}
		restored, err := parseSpans(set.appendTo(nil, 5), 5)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append(spans{}, set...), append(spans{}, restored...), cmp.AllowUnexported(span{})); diff != "" {
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
		set, err := parseSpans(text, 3)
		if err != nil {
			return
		}
		for i := range set {
			if set[i].first >= set[i].end || i > 0 && set[i-1].end > set[i].first {
				t.Errorf("%v is not ascending", set)
			}
		}
	})
}

// BenchmarkSpans is what leasing, sealing and settling ask of a lane with four
// slots: the positions of a slot in ascending order, between those of the others.
func BenchmarkSpans(b *testing.B) {
	var leased spans
	leased.add(span{1, 8193})
	b.ReportAllocs()
	for b.Loop() {
		var settled spans
		for position := edge.Position(1); position <= 8192; position += 4 {
			here := span{position, position + 1}
			if !leased.contains(here) {
				b.Fatal(position)
			}
			leased.remove(here)
			settled.add(here)
		}
		for _, here := range settled {
			leased.add(here)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2048, "ns/record")
}
