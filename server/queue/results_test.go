package queue_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
)

func TestQueue_Append_CountsResults(t *testing.T) {
	q := start(t, queue.Settings{}, 1)
	record := edgetest.Record("dev", 0)
	record.Source, record.Identity = edge.SourceHTTP, edge.Identity{MessageID: "a"}
	other := record
	other.Payload = []byte("other")
	explicit := other
	explicit.Payload, explicit.Identity.Explicit = []byte("another"), true
	replies := edgetest.NewReplies()
	for i, r := range []edge.Record{record, record, other, explicit} {
		if err := q.Append(t.Context(), edge.Entry{Record: r, Replier: replies, Token: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	replies.Wait(t, 4)
	got := map[string]uint64{}
	for _, result := range []string{"accepted", "duplicate", "conflict", "rejected"} {
		got[result] = q.observed.Metrics.Counter("ingest_messages_total", "http", result).Value()
	}
	got["refused"] = q.observed.Metrics.Counter("ingest_rejected_total", "http", string(edge.ReasonConflict)).Value()
	want := map[string]uint64{"accepted": 1, "duplicate": 1, "conflict": 1, "rejected": 1, "refused": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
