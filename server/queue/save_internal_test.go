package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/sqlite/simdisk"
)

// What a transaction is about to save is not saved yet: whoever asks while it is
// under way waits for its end.
func TestQueue_flush(t *testing.T) { synctest.Test(t, flushUnderWay) }

func flushUnderWay(t *testing.T) {
	const slow = time.Hour
	q, _, disk := onDisk(t, Settings{})
	accepted(t, q, large(0, 1))
	disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Path: "-wal", Times: 1, Delay: slow})
	began := time.Now()
	deliver(t, q, 1)
	<-time.After(2 * saveInterval)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := q.flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v after %v; want nothing saved while it is under way", err, time.Since(began))
	}
	if err := q.flush(t.Context()); err != nil || time.Since(began) < slow {
		t.Errorf("after its end: %v, after %v", err, time.Since(began))
	}
}
