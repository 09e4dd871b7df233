package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

// A sink that was deleted keeps the counters of what it lost, so that the alarm
// on them comes; one that took its name counts on.
func TestCollectLosses(t *testing.T) {
	discarded := func(id edge.SinkID, name string, count int64) edge.SinkStats {
		return edge.SinkStats{ID: id, Name: name, LostByReason: map[edge.LossKind]map[string]int64{edge.LossDiscarded: {edge.LossOperator: count}}}
	}
	stats := &edge.QueueStats{Sinks: []edge.SinkStats{discarded(3, "cloud", 0), discarded(4, "archive", 0)}}
	for id := range edge.SinkID(2 * endedShown) {
		stats.Ended = append(stats.Ended, discarded(10+id, fmt.Sprintf("old-%d", id), 1))
	}
	stats.Ended = append(stats.Ended, discarded(1000, "cloud", 5), discarded(1001, "cloud", 2))
	got, shown := map[string]float64{}, 0
	collectLosses(func(name string, value float64, labels ...string) {
		key := name + " " + strings.Join(labels, " ")
		if _, twice := got[key]; twice {
			t.Errorf("%s is emitted twice", key)
		}
		got[key] = value
		if strings.HasPrefix(labels[0], "old-") && value == 1 {
			shown++
		}
	}, stats)
	want := map[string]float64{"archive": 0, "cloud": 7, fmt.Sprintf("old-%d", 2*endedShown-1): 1}
	for sink, count := range want {
		key := "queue_discarded_messages_total " + sink + " " + edge.LossOperator
		if diff := cmp.Diff(map[string]float64{key: count}, map[string]float64{key: got[key]}); diff != "" {
			t.Error(diff)
		}
	}
	if shown != endedShown-2 {
		t.Errorf("%d sinks that have ended are shown, want %d beside the two that were named cloud", shown, endedShown-2)
	}
}
