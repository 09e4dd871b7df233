package queue

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

func TestSpace_refusal(t *testing.T) {
	const gib = 1 << 30
	limit := full{limit: 13 * gib / 10, reached: true}
	for name, test := range map[string]struct {
		full full
		held holder
		want *edge.Error
	}{
		"ReadOnly": {full{struck: true}, holder{sink: "read-only"}, &edge.Error{
			Message: "the gateway's disk takes no more: read-only file system, sink read-only holds 0 bytes",
			Hint:    "look at the quota, the mount and the limits of the file system of data_dir, or see why read-only does not take its messages: gatewayctl status",
			Details: map[string]string{"sink": "read-only", "sink_holds_bytes": "0", "free_bytes": "3145728"},
		}},
		"Open": {full{limit: gib, crowded: true, warned: true}, holder{sink: "analytics", bytes: gib}, nil},
		"Limit": {limit, holder{sink: "analytics", bytes: 12 * gib / 10}, &edge.Error{
			Message: "the gateway's storage is full: sink analytics holds 1.2 GiB of 1.3 GiB",
			Hint:    "raise queue.max_bytes, or see why analytics does not take its messages: gatewayctl status",
			Details: map[string]string{"sink": "analytics", "sink_holds_bytes": "1288490188", "limit_bytes": "1395864371", "free_bytes": "3145728"},
		}},
		"DeadLetters": {limit, holder{sink: "cloud", bytes: gib, letters: 1425}, &edge.Error{
			Message: "the gateway's storage is full: sink cloud holds 1.0 GiB of 1.3 GiB in 1425 dead letters",
			Hint:    "raise queue.max_bytes, or see why cloud has refused them: gatewayctl dlq list --sink cloud; they stay until they are delivered, or until the sink is deleted",
			Details: map[string]string{"sink": "cloud", "sink_holds_bytes": "1073741824", "dead_letters": "1425", "limit_bytes": "1395864371", "free_bytes": "3145728"},
		}},
		"DeadLettersThatMakeRoom": {limit, holder{sink: "cloud", bytes: gib, letters: 1425, bounded: true}, &edge.Error{
			Message: "the gateway's storage is full: sink cloud holds 1.0 GiB of 1.3 GiB in 1425 dead letters",
			Hint:    "raise queue.max_bytes, or see why cloud has refused them: gatewayctl dlq list --sink cloud; the oldest make room by themselves",
			Details: map[string]string{"sink": "cloud", "sink_holds_bytes": "1073741824", "dead_letters": "1425", "limit_bytes": "1395864371", "free_bytes": "3145728"},
		}},
		"RemovedSink": {limit, holder{sink: "old", removed: true, bytes: 12 * gib / 10}, &edge.Error{
			Message: "the gateway's storage is full: sink old holds 1.2 GiB of 1.3 GiB",
			Hint:    "raise queue.max_bytes, or give up what the removed sink is still owed: gatewayctl sink delete old --discard",
			Details: map[string]string{"sink": "old", "sink_holds_bytes": "1288490188", "limit_bytes": "1395864371", "free_bytes": "3145728"},
		}},
		"LimitAndNoSink": {limit, holder{}, &edge.Error{
			Message: "the gateway's storage is full: 1.0 GiB of 1.3 GiB are in use",
			Hint:    "raise queue.max_bytes",
			Details: map[string]string{"limit_bytes": "1395864371", "free_bytes": "3145728"},
		}},
		"Disk": {full{scarce: true}, holder{sink: "analytics", bytes: 700}, &edge.Error{
			Message: "the gateway's disk is full: 3.0 MiB are free, sink analytics holds 700 bytes",
			Hint:    "free space on the disk of data_dir, or see why analytics does not take its messages: gatewayctl status",
			Details: map[string]string{"sink": "analytics", "sink_holds_bytes": "700", "free_bytes": "3145728"},
		}},
		"DiskAndNoSink": {full{struck: true}, holder{}, &edge.Error{
			Message: "the gateway's disk is full: 3.0 MiB are free",
			Hint:    "free space on the disk of data_dir",
			Details: map[string]string{"free_bytes": "3145728"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &space{full: test.full, usage: diskUsage{used: gib, free: 3 << 20}}
			if test.held.sink == "read-only" {
				s.cause = syscall.EROFS
			}
			if test.want != nil {
				test.want.Code, test.want.Reason = edge.Full, edge.ReasonFull
			}
			if diff := cmp.Diff(test.want, s.refusal(test.held)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestQueue_Warning fills a queue, empties it, and looks at what the log says.
func TestQueue_Warning(t *testing.T) {
	var log bytes.Buffer
	observer := observe.NewDiscard()
	observer.Log = slog.New(slog.NewTextHandler(&log, nil))
	q, err := Open(t.Context(), Settings{Path: filepath.Join(t.TempDir(), "queue.db"), MaxBytes: smallLimit}, observer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.EnsureSinks(t.Context(), []SinkSpec{{Name: "analytics", Kind: "test"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	stored := 0
	for ; !q.Room().Filling; stored += 10 {
		accepted(t, q, large(stored, 10))
	}
	if room := q.Room(); room.Refusal != nil || !strings.Contains(room.Warning, "sink analytics holds") {
		t.Errorf("got %+v, want a warning that names the sink", room)
	}
	stored += fillUpFrom(t, q, stored)
	settleAll(t, q, stored)
	q.intake.waitUntil(t, true)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		"the queue is filling up: ": 1, "the queue is full: ": 1, "the queue has room again": 1, "sink=analytics": 2,
	} {
		if got := strings.Count(log.String(), text); got < want || want == 1 && got != 1 {
			t.Errorf("the log says %q %d times:\n%s", text, got, log.String())
		}
	}
}

// What no sink waits for any more takes room, too, and the refusal says who does.
func TestQueue_FullOfDeadLetters(t *testing.T) {
	bubble(t, "Named", func(t *testing.T) {
		q, _ := opened(t, Settings{MaxBytes: keptLimit})
		dead := int64(0)
		for first := 0; q.intake.accepting() && first < 1000; first += 10 {
			accepted(t, q, random(first, 10))
			deadLetter(t, q, leaseAll(t, q, 1))
			dead += 10
			<-time.After(2 * maintenanceInterval)
		}
		refusal := q.intake.refused()
		if refusal == nil || refusal.Details["sink"] != "sink-1" || refusal.Details["dead_letters"] != strconv.FormatInt(dead, 10) {
			t.Fatalf("%d dead letters, and the queue says %+v", dead, refusal)
		}
		if holder := q.Stats().Holder; holder != "sink-1" {
			t.Errorf("the figures say that %q holds the room", holder)
		}
		if stats := q.Stats().Sinks[0]; stats.Dead != dead || stats.DeadBytes < 4000*dead || stats.DeadBytes > keptLimit {
			t.Errorf("got %+v", stats)
		}
	})
}
