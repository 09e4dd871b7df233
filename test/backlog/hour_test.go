package backlog_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/test/backlog"
)

const (
	hourRate    = 100 // messages per second
	hourDevices = 500
)

// TestHour fills the queue below the folder BACKLOG_DIR as BACKLOG_SECONDS of
// outage at 100 messages per second do, one message in each commit, in virtual
// time: with all the house-keeping that the queue does meanwhile. The benchmark
// uses it; without a folder it looks at ten seconds and throws them away.
func TestHour(t *testing.T) {
	dir, seconds := os.Getenv("BACKLOG_DIR"), 10
	if dir == "" {
		dir = t.TempDir()
	} else if n, err := strconv.Atoi(os.Getenv("BACKLOG_SECONDS")); err == nil {
		seconds = n
	} else {
		t.Fatal("BACKLOG_SECONDS:", err)
	}
	started := time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(started.Add(-time.Duration(seconds) * time.Second))) // the hour ends now
		if err := outage(dir, seconds*hourRate); err != nil {
			t.Fatal(err)
		}
	})
}

func outage(dir string, messages int) error {
	q, err := queue.Open(context.Background(), queue.Settings{Path: filepath.Join(dir, "queue.db")}, observe.NewDiscard())
	if err != nil {
		return err
	}
	source := backlog.NewSource(hourDevices, backlog.JSON)
	if source.Owed, err = q.EnsureSinks(context.Background(), []queue.SinkSpec{{Name: "analytics", Kind: "http"}}); err != nil {
		return err
	}
	replies := &counter{}
	source.Replier = replies
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	for range messages {
		if err := q.Append(ctx, source.Batch(1)...); err != nil {
			stop()
			return err
		}
		time.Sleep(time.Second / hourRate)
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	if replies.stored != messages || replies.failed != nil {
		return fmt.Errorf("%d of %d messages are stored: %w", replies.stored, messages, replies.failed)
	}
	return nil
}

// counter counts answers; it is read when the queue has ended.
type counter struct {
	stored int
	failed error
}

func (c *counter) Reply(_ uint64, receipt edge.Receipt, err error) bool {
	switch {
	case err != nil:
		c.failed = err
	case !receipt.Duplicate && !receipt.Conflict:
		c.stored++
	}
	return false
}

func (c *counter) Flush() {}
