package dispatch_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/dispatch"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
)

// TestDispatcher_LogsDeaths reads the line that an operator finds by the id of a
// record.
func TestDispatcher_LogsDeaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		observer, err := observe.New(t.Context(), observe.Settings{LogWriter: &log})
		if err != nil {
			t.Fatal(err)
		}
		queue := edgetest.NewQueue(1)
		entries := edgetest.Entries(4, 1, 1)
		entries[1].Record.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
		receipts := edgetest.Append(t, queue, entries...)
		sink := edgetest.NewSink(edgetest.RefuseRecords(func(record edge.Record) bool { return record.Identity.Sequence%2 == 1 }))
		dispatcher := dispatch.New(edge.NewPlan([]edge.PlannedSink{planned(1, 1, 10)}), queue, only(sink), observer)
		b := &bench{t: t, queue: queue, dispatcher: dispatcher, stopped: make(chan error, 1)}
		b.run()
		synctest.Wait()
		b.end()

		var lines []map[string]any
		for text := range strings.Lines(log.String()) {
			var line map[string]any
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
			delete(line, "time")
			lines = append(lines, line)
		}
		want := []map[string]any{{
			"level": "WARN", "msg": "records became dead letters", "sink": "sink-a",
			"count": 2.0, "reason": "rejected", "status": "422", "excerpt": "poison", "hint": "gatewayctl dlq list shows them all",
			"correlation_id": receipts[1].Correlation.String(), "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
		}}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Error(diff)
		}
	})
}
