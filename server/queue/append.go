package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
)

const (
	// groupRecords and groupBytes close a group: a frame is read back as a whole.
	groupRecords = 4096
	groupBytes   = 1 << 20
	// entryOverhead is what an entry costs besides its payload.
	entryOverhead = 256
	// appendBytesMax bounds one call of Append, and with it a frame.
	appendBytesMax = queuefile.MaxFrameBytes / 2
)

// intake gathers entries into groups until the assembler takes them.
//
//	Append --> [ group, open ] [ group ] [ group ] --> assembler
//	                one short lock, a bound in bytes
type intake struct {
	bytesMax int
	work     chan struct{} // nudged when a group waits, or when nothing more will come
	freed    signal

	mu      sync.Mutex
	waiting []*group // oldest first; the last one takes more entries
	spare   []*group
	bytes   int         // of entries that are not answered yet
	refusal *edge.Error // why nothing is taken; nil when something is
	closed  bool
}

func newIntake(bytesMax int) *intake {
	return &intake{bytesMax: bytesMax, work: make(chan struct{}, 1)}
}

// Append implements [edge.Appender].
func (q *Queue) Append(ctx context.Context, entries ...edge.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	size := len(entries) * entryOverhead
	for i := range entries {
		size += len(entries[i].Record.Payload)
	}
	if size > appendBytesMax {
		return edge.Refuse(edge.TooLarge, edge.ReasonTooLarge, "", "%d messages with %d bytes cannot be stored in one commit", len(entries), size)
	}
	return q.intake.put(ctx, entries, size)
}

// put takes all entries or none. It waits while too many bytes are unanswered;
// a batch that is larger than the bound waits until it is alone.
func (i *intake) put(ctx context.Context, entries []edge.Entry, size int) error {
	i.mu.Lock()
	for i.refusal == nil && i.bytes > 0 && i.bytes+size > i.bytesMax {
		room := i.freed.changed()
		i.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("append: %w", ctx.Err())
		}
		i.mu.Lock()
	}
	defer i.mu.Unlock()
	if i.refusal != nil {
		return i.refusal
	}
	open := i.openGroup(len(entries), size)
	open.entries = append(open.entries, entries...)
	open.bytes += size
	i.bytes += size
	return nil
}

// openGroup returns the group that takes so much more.
func (i *intake) openGroup(records, size int) *group {
	if last := len(i.waiting) - 1; last >= 0 {
		open := i.waiting[last]
		if len(open.entries)+records <= groupRecords && open.bytes+size <= groupBytes {
			return open
		}
	}
	open := new(group)
	if last := len(i.spare) - 1; last >= 0 {
		open = i.spare[last]
		i.spare = i.spare[:last]
	}
	open.openedAt = time.Now()
	i.waiting = append(i.waiting, open)
	nudge(i.work)
	return open
}

// take waits for the oldest group, and until a time is reached or a group is
// full. It returns nil when the intake is closed and nothing is left.
func (i *intake) take(earliest time.Time) *group {
	for {
		early := time.Until(earliest)
		i.mu.Lock()
		waiting, closed := len(i.waiting), i.closed
		if waiting > 1 || waiting == 1 && (early <= 0 || closed) {
			oldest := i.waiting[0]
			i.waiting = slices.Delete(i.waiting, 0, 1)
			i.mu.Unlock()
			return oldest
		}
		i.mu.Unlock()
		switch {
		case waiting == 0 && closed:
			return nil
		case waiting == 0:
			<-i.work
		default:
			select {
			case <-i.work:
			case <-time.After(early):
			}
		}
	}
}

// groupsSpare is how many groups keep their memory for the next one: as many as
// the pipeline has places.
const groupsSpare = 5

// answered takes a group back whose entries are all answered.
func (i *intake) answered(done *group) {
	size := done.bytes
	done.reset()
	i.mu.Lock()
	i.bytes -= size
	if len(i.spare) < groupsSpare && cap(done.entries) <= 2*groupRecords {
		i.spare = append(i.spare, done)
	}
	i.mu.Unlock()
	i.freed.broadcast()
}

// refuse makes put fail with an error, or lets it go on when there is none.
// It changes nothing once the intake is closed.
func (i *intake) refuse(why *edge.Error) {
	i.mu.Lock()
	if !i.closed {
		i.refusal = why
	}
	i.mu.Unlock()
	i.freed.broadcast()
}

// close ends the taking for ever. What was taken is still handed out.
func (i *intake) close() {
	i.mu.Lock()
	i.refusal, i.closed = edge.NewStopping(), true
	i.mu.Unlock()
	i.freed.broadcast()
	nudge(i.work)
}

func (i *intake) accepting() bool { return i.refused() == nil }

// refused returns why nothing is taken, nil when something is.
func (i *intake) refused() *edge.Error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.refusal
}
