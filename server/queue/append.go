package queue

import (
	"container/list"
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
//	Append --> line --> [ group, open ] [ group ] [ group ] --> assembler
//	              one short lock, a bound in bytes
//
// Who finds no room waits in line: a large batch gets its turn, whatever comes
// behind it.
type intake struct {
	bytesMax int
	work     chan struct{} // nudged when a group waits, or when nothing more will come

	mu      sync.Mutex
	line    list.List // of *caller, who came first
	waiting []*group  // oldest first; the last one takes more entries
	spare   []*group
	bytes   int         // of entries that are not answered yet
	refusal *edge.Error // why nothing is taken; nil when something is
	closed  bool
}

// caller waits in line for room. It keeps no entries, which therefore need no memory of
// their own where nobody waits.
type caller struct {
	size    int
	done    chan struct{} // closed when the room is the caller's, or nothing is taken
	refusal *edge.Error   // in that case
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

// put takes all entries or none. It waits while too many bytes are unanswered, and
// behind those that wait already; a batch that is larger than the bound waits until
// it is alone.
func (i *intake) put(ctx context.Context, entries []edge.Entry, size int) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.refusal != nil {
		return i.refusal
	}
	if err := i.awaitRoom(ctx, size); err != nil {
		return err
	}
	open := i.openGroup(len(entries), size)
	open.entries = append(open.entries, entries...)
	open.bytes += size
	return nil
}

// awaitRoom counts so many bytes as unanswered as soon as there is room. It is called
// with mu held, which is free meanwhile, and while records are taken.
func (i *intake) awaitRoom(ctx context.Context, size int) error {
	if i.line.Len() == 0 && i.fits(size) {
		i.bytes += size
		return nil
	}
	waiting := &caller{size: size, done: make(chan struct{})}
	place := i.line.PushBack(waiting)
	i.mu.Unlock()
	select {
	case <-waiting.done:
	case <-ctx.Done():
	}
	i.mu.Lock()
	select {
	case <-waiting.done:
	default:
		i.line.Remove(place)
		i.admit() // what waited behind it may be smaller
		return fmt.Errorf("append: %w", ctx.Err())
	}
	if waiting.refusal == nil && i.refusal != nil {
		waiting.refusal = i.refusal // since then
		i.release(size)
	}
	if waiting.refusal != nil {
		return waiting.refusal
	}
	return nil
}

func (i *intake) fits(size int) bool { return i.bytes == 0 || i.bytes+size <= i.bytesMax }

// release counts bytes as answered, which gives room to those in line.
func (i *intake) release(size int) {
	i.bytes -= size
	i.admit()
}

// admit gives room to those in line, who came first, or refuses them.
func (i *intake) admit() {
	for front := i.line.Front(); front != nil; front = i.line.Front() {
		waiting := front.Value.(*caller)
		switch {
		case i.refusal != nil:
			waiting.refusal = i.refusal
		case i.fits(waiting.size):
			i.bytes += waiting.size
		default:
			return
		}
		i.line.Remove(front)
		close(waiting.done)
	}
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
	if len(i.spare) < groupsSpare && cap(done.entries) <= 2*groupRecords {
		i.spare = append(i.spare, done)
	}
	i.release(size)
	i.mu.Unlock()
}

// refuse makes put fail with an error, or lets it go on when there is none.
// It changes nothing once the intake is closed.
func (i *intake) refuse(why *edge.Error) {
	i.mu.Lock()
	if !i.closed {
		i.refusal = why
	}
	i.admit()
	i.mu.Unlock()
}

// close ends the taking for ever. What was taken is still handed out.
func (i *intake) close() {
	i.mu.Lock()
	i.refusal, i.closed = edge.NewStopping(), true
	i.admit()
	i.mu.Unlock()
	nudge(i.work)
}

func (i *intake) accepting() bool { return i.refused() == nil }

// refused returns why nothing is taken, nil when something is.
func (i *intake) refused() *edge.Error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.refusal
}
