package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"combotto.io/gateway/server/dispatch"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/ingest"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite/simdisk"
)

const dataPath = "/data/queue.db"

// startsMax bounds how often a process may fail to start before the disk is
// mended. After that it has to start.
const startsMax = 4

// life is one process: the parts of a gateway from their start to their end.
type life struct {
	w        *world
	number   int
	queue    *queue.Queue
	pipeline *ingest.Pipeline
	plan     *edge.Plan

	stopDispatch context.CancelFunc
	stopQueue    context.CancelFunc
	dispatched   chan error
	ran          chan error
	ended        chan struct{} // closed when the queue or dispatch ends
	gone         chan struct{} // closed when the process is dead
	faultsBefore int
}

// ensureLife starts a process when none runs, and buries one that has ended.
func (w *world) ensureLife() {
	if w.life != nil {
		select {
		case <-w.life.ended:
			w.disk.Kill() // what exits does not close its files
			w.life.bury("it ended by itself")
			w.life = nil
		default:
			if w.disk.Lives() {
				return
			}
			w.life.bury("a fault has killed it")
			w.life = nil
		}
	}
	for attempt := 1; ; attempt++ {
		if attempt == startsMax {
			w.mend()
		}
		if attempt == 1 && w.restarts > 0 && w.random.IntN(8) == 0 {
			w.breakStart()
		}
		err := w.start()
		if err == nil {
			w.fleet.restarted()
			return
		}
		w.note("start failed: %v", err)
		w.count("failed start")
		w.disk.Kill()
		if err := w.disk.Bury(); err != nil {
			w.note("closing what is dead: %v", err)
		}
		if attempt <= startsMax {
			continue
		}
		w.life = nil
		w.fail("the gateway does not start on a disk without faults: %v", err)
		return
	}
}

// start does what the gateway does at its start, in the same order.
func (w *world) start() error {
	ctx := context.Background()
	before, badReads := w.faults(), w.badReads()
	q, err := queue.Open(ctx, queue.Settings{
		Path: dataPath, Disk: w.disk.Port(),
		CommitInterval: w.settings.CommitInterval, MaxBytes: w.settings.MaxBytes, RetentionDelivered: w.settings.Retention,
		RetentionDeliveredBytes: w.settings.RetentionBytes, RetentionRemovedSink: w.settings.RetentionRemovedSink,
	}, w.observer)
	if err != nil {
		return err
	}
	l := &life{
		w: w, number: w.restarts, queue: q, faultsBefore: before,
		dispatched: make(chan error, 1), ran: make(chan error, 1), ended: make(chan struct{}), gone: make(chan struct{}),
	}
	if err := l.build(ctx); err != nil {
		return errors.Join(err, q.Close())
	}
	var dispatchCtx, queueCtx context.Context
	dispatchCtx, l.stopDispatch = context.WithCancel(ctx)
	queueCtx, l.stopQueue = context.WithCancel(ctx)
	destinations := map[edge.SinkID]edge.Sink{}
	for i, id := range w.ids {
		if w.serves(i) {
			destinations[id] = &connection{sink: w.sinks[i], life: l}
		}
	}
	w.reigns = append(w.reigns, reign{head: q.Head(), third: w.serves(third)})
	dispatcher := dispatch.New(l.plan, q, destinations, w.observer)
	ends := make(chan struct{}, 2)
	go func() { l.ran <- q.Run(queueCtx); ends <- struct{}{} }()
	go func() { l.dispatched <- dispatcher.Run(dispatchCtx); ends <- struct{}{} }()
	go func() { <-ends; close(l.ended); <-ends }()
	w.life = l
	w.judgeSalvage(w.badReads() - badReads)
	w.note("process %d serves, head %d", l.number, q.Head())
	return nil
}

// judgeSalvage looks at the file that this start has set aside, if it has. A file
// in which nothing is found on another disk was whole. A start looks three times, so
// that two reads that go wrong must not matter.
func (w *world) judgeSalvage(badReads int) {
	var aside []string
	name := "" // of the one that is new; older ones may have gone for it
	for _, file := range w.disk.Names() {
		if !strings.HasPrefix(file, dataPath+".damaged-") || strings.HasSuffix(file, "-wal") {
			continue
		}
		if aside = append(aside, file); !slices.Contains(w.aside, file) {
			name = file
		}
	}
	w.aside = aside
	if name == "" {
		return
	}
	w.count("salvage")
	w.noteSkipped()
	if badReads > 2 {
		return
	}
	files := map[string][]byte{}
	for from, to := range map[string]string{name: dataPath, name + "-wal": dataPath + "-wal"} {
		if content, err := w.disk.Content(from); err == nil {
			files[to] = content
		}
	}
	disk := simdisk.New(simdisk.Settings{Files: files})
	defer disk.Close()
	if found, err := queuefile.Verify(context.Background(), disk.Port(), dataPath); err != nil || found.Found == 0 {
		w.fail("%s was set aside, though nothing is wrong with it: %v", name, err)
	}
	disk.Kill()
	if err := disk.Bury(); err != nil {
		w.note("closing what is dead: %v", err)
	}
}

// noteSkipped finds how many positions the salvage of this start has left out: those
// that no record was stored at, and no earlier salvage accounts for.
func (w *world) noteSkipped() {
	last := &w.reigns[len(w.reigns)-1]
	last.skipped = int64(last.head) - w.life.queue.Stats().Accepted
	for _, r := range w.reigns[:len(w.reigns)-1] {
		last.skipped -= r.skipped
	}
}

// build makes what needs the queue.
func (l *life) build(ctx context.Context) error {
	w := l.w
	var specs []queue.SinkSpec
	var planned []edge.PlannedSink
	for i, name := range sinkNames {
		if w.serves(i) {
			specs = append(specs, queue.SinkSpec{Name: name, Kind: "sim", Limits: w.settings.Limits[i]})
			planned = append(planned, w.settings.Lanes[i])
		}
	}
	ids, err := l.queue.EnsureSinks(ctx, specs)
	if err != nil {
		return fmt.Errorf("register sinks: %w", err)
	}
	for i := range planned { // the one that may be missing is the last one
		planned[i].ID, w.ids[i] = ids[i], ids[i]
	}
	l.plan = edge.NewPlan(planned)
	l.pipeline = ingest.New(ingest.Settings{MaxPayloadBytes: edge.MaxPayloadBytes}, l.plan, l.queue, w.observer)
	return nil
}

// stop ends a process in order, which must succeed while the disk works.
func (w *world) stop() {
	l := w.life
	l.stopDispatch()
	dispatched := <-l.dispatched
	l.stopQueue()
	ran := <-l.ran
	close(l.gone)
	w.restarts++
	w.life = nil
	w.note("process %d has stopped: %v, %v", l.number, ran, dispatched)
	l.judge(ran, dispatched)
	if ran != nil {
		w.disk.Kill()
		if err := w.disk.Bury(); err != nil {
			w.note("closing what is dead: %v", err)
		}
	}
}

// bury lets the goroutines of a dead process end. Whatever they still do fails.
func (l *life) bury(cause string) {
	w := l.w
	close(l.gone)
	l.stopDispatch()
	l.stopQueue()
	ran, dispatched := <-l.ran, <-l.dispatched
	w.restarts++
	w.note("process %d is dead (%s): %v, %v", l.number, cause, ran, dispatched)
	l.judge(ran, dispatched)
	if err := w.disk.Bury(); err != nil {
		w.note("closing what is dead: %v", err)
	}
}

// judge tells an end that a fault explains from one that nothing does.
func (l *life) judge(ran, dispatched error) {
	_, fatal := errors.AsType[*queue.FatalError](ran)
	broken := l.w.faults() > l.faultsBefore
	if ran != nil && (!fatal || !broken) {
		l.w.fail("the queue ended with %v", ran)
	}
	if dispatched != nil && !fatal && edge.AsError(dispatched).Code != edge.Stopping {
		l.w.fail("dispatch ended with %v", dispatched)
	}
}
