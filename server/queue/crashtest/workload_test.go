package crashtest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// sinks is what the workload delivers to.
var sinks = []queue.SinkSpec{{Name: "sink-1", Kind: "test"}, {Name: "sink-2", Kind: "test"}}

const (
	simPath      = "/data/queue.db"
	simRetention = 10 * time.Second
	// simBytes makes checkpoints frequent: they follow the limit.
	simBytes = 1 << 20
)

// workload drives one life of a queue on a simulated disk, inside a bubble, and
// tells the witness. Its choices depend on the seed only.
type workload struct {
	witness *witness
	disk    *simdisk.Disk
	random  *rand.Rand
	sent    int // messages
	waiting int // for an answer
	// early is a mutant: messages are acknowledged before they are committed.
	early bool
	// mutate, when it is set, changes the disk that the queue sees.
	mutate func(sqlite.Disk) sqlite.Disk

	queue   *queue.Queue
	stop    context.CancelFunc
	done    chan error
	replies chan error
}

func newWorkload(disk *simdisk.Disk, seed uint64) *workload {
	return &workload{witness: newWitness(disk), disk: disk, random: rand.New(rand.NewPCG(seed, 2))}
}

func simSettings(disk *simdisk.Disk) queue.Settings {
	return queue.Settings{Path: simPath, Disk: disk.Port(), MaxBytes: simBytes, RetentionDelivered: simRetention}
}

// open starts the queue. When it cannot, nothing is promised.
func (w *workload) open() error {
	settings := simSettings(w.disk)
	if w.mutate != nil {
		settings.Disk = w.mutate(settings.Disk)
	}
	q, err := queue.Open(context.Background(), settings, observe.NewDiscard())
	if err != nil {
		return err
	}
	if _, err := q.EnsureSinks(context.Background(), sinks); err != nil {
		return errors.Join(err, q.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.queue, w.stop, w.done, w.replies = q, cancel, make(chan error, 1), make(chan error, 4096)
	go func() { w.done <- q.Run(ctx) }()
	return nil
}

// live works for some rounds, until the queue ends by itself. It returns its last
// word, nil while it runs.
func (w *workload) live(rounds int) error {
	for round := range rounds {
		w.append()
		if w.random.IntN(3) == 0 {
			w.append()
		}
		w.answered()
		for sink := edge.SinkID(1); sink <= destinations; sink++ {
			if w.random.IntN(2) == 0 {
				w.deliver(sink)
			}
		}
		switch round % 8 {
		case 2, 5:
			w.settle()
		case 7:
			w.age()
		}
		synctest.Wait() // until a queue that is about to end has ended
		select {
		case err := <-w.done:
			w.done = nil
			return err
		default:
		}
	}
	return nil
}

// append hands over a few messages at once.
func (w *workload) append() {
	entries := make([]edge.Entry, 1+w.random.IntN(6))
	index := len(w.witness.appends)
	for i := range entries {
		w.sent++
		record := edgetest.Record(edge.DeviceID(fmt.Sprintf("dev-%d", w.sent%3)), w.sent/3)
		noise := make([]byte, []int{20, 200, 1500, 6000}[w.random.IntN(4)])
		for j := range noise {
			noise[j] = byte(w.random.Uint32())
		}
		record.Payload = append(record.Payload, noise...)
		entries[i] = edge.Entry{Record: record, Owed: []edge.SinkID{1, 2}, Token: uint64(i), Replier: &simReplier{w, index}}
	}
	w.witness.sending(entries)
	w.waiting += len(entries)
	if w.early {
		for i := range entries {
			w.witness.acked(index, i, edge.Receipt{})
		}
	}
	if err := w.queue.Append(context.Background(), entries...); err != nil {
		for range entries {
			w.replies <- err
		}
	}
}

// answered waits for the answers to everything that was appended.
func (w *workload) answered() {
	for ; w.waiting > 0; w.waiting-- {
		select {
		case <-w.replies:
		case <-time.After(time.Second): // virtual: nothing is under way any more
			return
		}
	}
}

// again sends once more what was sent, as clients do that had no answer and some
// that had one.
func (w *workload) again() {
	for index, together := range w.witness.appends {
		entries := make([]edge.Entry, len(together))
		for i, m := range together {
			entries[i] = edge.Entry{Record: m.record, Owed: []edge.SinkID{1, 2}, Token: uint64(i), Replier: &simReplier{w, index}}
		}
		w.waiting += len(entries)
		if err := w.queue.Append(context.Background(), entries...); err != nil {
			for range entries {
				w.replies <- err
			}
		}
	}
	w.answered()
}

// simReplier takes the answers to one call of Append.
type simReplier struct {
	*workload
	append int
}

func (r *simReplier) Reply(token uint64, receipt edge.Receipt, err error) bool {
	if err == nil {
		r.witness.acked(r.append, int(token), receipt)
	}
	r.replies <- err
	return false
}

func (r *simReplier) Flush() {}

// deliver leases for a sink, delivers most and kills some.
func (w *workload) deliver(sink edge.SinkID) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	leased, err := w.queue.Lease(ctx, sink, edge.LeaseLimit{Records: 1 + w.random.IntN(30), Bytes: 1 << 20})
	if err != nil {
		return // nothing is due, or the disk cannot be read
	}
	settlement := edge.Settlement{Attempt: attempt(leased, edge.Delivered)}
	for _, delivery := range leased {
		if w.random.IntN(5) == 0 {
			settlement.Dead = append(settlement.Dead, edge.Death{Delivery: delivery, Reason: edge.DeathRejected, Status: "422"})
			continue
		}
		settlement.Acked = append(settlement.Acked, delivery)
	}
	w.witness.settling(sink, settlement)
	if err := w.queue.Settle(ctx, sink, settlement); err != nil {
		w.witness.unsettled(sink, leased) // the queue has ended between lease and settlement
	}
}

// settle gives the queue the time in which it makes settlements durable.
func (w *workload) settle() {
	if _, err := w.queue.Recount(context.Background()); err == nil {
		w.witness.settled()
	}
}

// age catches up, waits until what is delivered goes, and looks at what has gone.
func (w *workload) age() {
	for range 3 {
		w.deliver(1)
		w.deliver(2)
	}
	time.Sleep(simRetention + 3*time.Second)
	// Stats says 0 for what cannot be read, which must not be taken for an empty
	// file: a single failed call hits one of the three, failing ones all of them.
	stats, again := w.queue.Stats(), w.queue.Stats()
	if _, err := w.queue.Recount(context.Background()); err != nil || stats.Oldest != again.Oldest {
		return
	}
	if stats.Oldest == 0 {
		stats.Oldest = stats.Head + 1
	}
	w.witness.removed(stats.Oldest)
}

// readAll returns every record that is kept.
func readAll(q *queue.Queue) ([]edge.Record, error) {
	if q.Head() == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	records, _, err := q.Read(ctx, 0, math32)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // all were removed
	}
	return records, err
}

const math32 = 1 << 30

// end makes sure that no goroutine of the queue is left and gives its memory back.
// The disk fails from here on, so nothing is written any more.
func (w *workload) end() {
	w.disk.Kill()
	if w.queue != nil {
		w.stop()
		if w.done != nil {
			<-w.done
			w.done = nil
		}
	}
	_ = w.disk.Bury()
}
