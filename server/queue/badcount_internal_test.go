package queue

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
)

// TestMerger_RunLength hands the merger a frame that no run can hold, or that says it
// can not.
func TestMerger_RunLength(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	old := now.Add(-time.Hour)
	for name, odd := range map[string]smallFrame{
		"TooManyRecords": {first: 4, end: 4 + 16_524, raw: 100, committedAt: old},
		"TooManyBytes":   {first: 4, end: 5, raw: mergeBytes + 1, committedAt: old},
		"NoRecords":      {first: 4, end: 4, raw: 100, committedAt: old},
		"FewerThanNone":  {first: 4, end: math.MinInt64, raw: 100, committedAt: old},
		"BeyondTheLast":  {first: 4, end: math.MaxInt64, raw: 100, committedAt: old},
		"FarTooOld":      {first: 4, end: 5, raw: 100, committedAt: time.UnixMicro(math.MinInt64)},
	} {
		t.Run(name, func(t *testing.T) {
			m := &merger{pending: []smallFrame{
				{first: 1, end: 3, raw: 100, committedAt: old}, {first: 3, end: 4, raw: 100, committedAt: old}, odd,
				{first: 5, end: 6, raw: 100, committedAt: old}, {first: 6, end: 7, raw: 100, committedAt: old},
			}}
			for len(m.pending) > 0 {
				size, due := m.runLength(now)
				if size < 1 || !due {
					t.Fatalf("a run of %d, due %v, where %d wait", size, due, len(m.pending))
				}
				m.pending = m.pending[size:]
			}
		})
	}
}

// TestQueue_DamagedCount changes what the row of a small frame says of itself, which no
// start reads again. Whatever goes by these rows goes on and ends, the messages of the
// other frames are served, and those of this one are served or reported.
func TestQueue_DamagedCount(t *testing.T) {
	for _, set := range []string{
		"n = 0", "n = 1", "n = 5", "n = 4 + 16384", "n = -(1 << 40)", "n = 9223372036854775807", "raw = 9223372036854775807",
	} {
		for _, delivered := range []int{0, 10, 24} {
			bubble(t, fmt.Sprintf("%s/%dDelivered", set, delivered), func(t *testing.T) { damagedCount(t, set, delivered) })
		}
	}
}

const (
	countedFrames  = 6
	countedRecords = 4 // of each
	countedDamaged = 2*countedRecords + 1
)

func damagedCount(t *testing.T, set string, delivered int) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db"), MaxBytes: smallLimit, RetentionDelivered: time.Minute, RetentionUndelivered: time.Hour}
	q, stop := run(t, settings)
	for frame := range countedFrames {
		accepted(t, q, countedEntries(frame))
	}
	if delivered > 0 {
		deliver(t, q, delivered)
	}
	stop()
	inFile(t, settings.Path, fmt.Sprintf("UPDATE frame SET committed = committed - %d WHERE id <= %d", (50*time.Minute).Microseconds(), countedDamaged))
	inFile(t, settings.Path, fmt.Sprintf("UPDATE frame SET %s WHERE id = %d", set, countedDamaged))

	waiting := map[edge.Position]bool{}
	for position := delivered + 1; position <= countedFrames*countedRecords; position++ {
		waiting[edge.Position(position)] = true
	}
	for life := 1; ; life++ {
		reported, err := countedLife(t, settings, life, waiting)
		if _, fatal := errors.AsType[*FatalError](err); fatal && life < 3 {
			settings.Path = asFound(t, settings.Path, life)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(waiting)) > reported {
			t.Errorf("%d are missing, %d reported", len(waiting), reported)
		}
		break
	}
	for position := range waiting { // an hour old, or in the damaged frame
		if position >= countedDamaged+countedRecords {
			t.Errorf("message %d of another frame is missing", position)
		}
	}
}

func countedEntries(frame int) []edge.Entry {
	entries := edgetest.Entries(countedRecords, 1, 1)
	for i := range entries {
		entries[i].Record = edgetest.Record("dev", frame*countedRecords+i)
	}
	return entries
}

// countedLife runs for longer than frames wait to be merged, and then delivers all that
// is due. It returns how many messages the loss report counts.
func countedLife(t *testing.T, settings Settings, life int, waiting map[edge.Position]bool) (reported int64, err error) {
	q, cancel, done := Begin(t, settings, observe.NewDiscard(), SinkSpec{Name: "sink-1", Kind: "test"})
	defer func() {
		cancel()
		err = cmp.Or(<-done, err)
	}()
	select {
	case <-q.closed:
		return 0, nil
	case <-time.After(15 * time.Minute):
	}
	accepted(t, q, countedEntries(countedFrames+life))
	account, err := q.account(1)
	if err != nil {
		return 0, err
	}
	for {
		leased, err := leaseSome(t.Context(), q, account, 3)
		if errors.Is(err, queuefile.ErrRow) {
			<-q.closed // the process ends
		}
		if len(leased) == 0 || err != nil {
			break
		}
		for i := range leased {
			delete(waiting, leased[i].Record.Position)
		}
		if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: leased}); err != nil {
			return 0, err
		}
	}
	select {
	case <-q.closed:
		return 0, nil
	case <-time.After(2 * time.Minute): // what is left of it is not removed for what its row says
	}
	losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 100)
	for i := range losses {
		reported += losses[i].Count
	}
	return reported, err
}
