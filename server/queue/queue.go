// Package queue is the durable log of the gateway, in one SQLite file. It takes
// records, and says so once they are on disk; it lends them to the lane of each
// sink they are owed to, in order, and takes back what became of them; it keeps
// dead letters, recognises messages that come again, and tells the journey of
// each one.
//
//	appenders, any number                         lanes, one per sink
//	       |                                             |  ^
//	    [intake]  groups under one short lock       Lease|  |Settle
//	       |                                             v  |
//	  assembler   positions, identity, frame         [account]  cursor, ranges, leases
//	       |                                             |
//	  committer ---------> one transaction: <------------+
//	       |               frame, accounts, dead letters, attempts,
//	    replier            identity window, retention
//	       |
//	    answers            frame   1..200 | 201..201 | 202..950 | ...   one row per commit
//	                       cursor of sink a ------------^   of sink b --^
//
// # Files
//
//	picture    queue.go                            what it is made of, Open and Run
//	           signal.go                           who waits for a change
//	taking     append.go, group.go                 intake, and what it groups
//	           assemble.go, owed.go                positions and owed sets of a group
//	           window.go, window_ring.go           which messages were seen already
//	           results.go                          what became of messages, counted by door
//	writing    commit.go, transaction.go           the committer, and what one commit writes
//	           save.go, letter.go, attempt.go      accounts, dead letters and attempts in it
//	           window_save.go, ingress.go          the identity window and refused messages
//	           ledger.go, clock.go                 totals, and gateway time
//	           uptime_linux.go, uptime_other.go    what leads that on over a restart
//	           checkpoint.go, maintain.go          the WAL, and what comes up every second
//	           merge.go, retention.go              small frames, and frames that are old
//	           file.go                             reads and writes of all others
//	lending    account.go, sinks.go                what a sink is owed, and which there are
//	           lease.go, cache.go, requeue.go      records and requeued dead letters go out,
//	           begin.go, seal.go, settle.go        are sent and are decided
//	giving up  tend.go, expire.go, delete.go       what limits and operators decide
//	           evict.go                            dead letters of sinks that are not required
//	           loss.go                             the report of it
//	room       bounds.go, full.go, space.go        whether records are taken
//	           refusal.go, holder.go               why not, and who holds the room
//	           lettersize.go                       what dead letters take of it
//	           sizes.go, history.go, forecast.go   how much lies where, and how long it lasts
//	start      recover.go, restore.go              what a file says, and going on above it
//	           damage.go, gone.go                  when it is damaged, or is not there any more
//	running    quarantine.go, mixed.go             when what is read turns out to be damaged,
//	           inplace.go                          or somebody takes the file away
//	telling    stats.go, tail.go, journey.go       figures, newest records, what became of one
//	           deadletter.go, audit.go, backup.go  dead letters, the ledger, a copy
//
// # Promises
//
// A receipt is handed to a [edge.Replier] after the COMMIT that made the record
// durable (synchronous=FULL) has returned, never before; a duplicate is answered
// after the commit that holds the original. An error that says full or stopping
// means that the record is not stored. A record that is stored stays until every
// sink it is owed to has it, or has it as a dead letter, or has lost it by a limit
// that somebody has set, and that is durable; then for Settings.RetentionDelivered
// after its commit, as long as new records do not need its room. A sink's cursor
// moves in one transaction with the dead letters and the losses that it passed
// over; every record that is given up is in exactly one stretch of the loss report. A dead
// letter stays until it is delivered, or until its sink is deleted; those of a sink
// whose backlog is bounded share that bound, and the oldest go as a loss.
// After a crash at most what was leased or settled within the last 50 ms is
// delivered again; nothing is lost, and the start reads what the last commits
// wrote, not the backlog.
//
// A disk that is full, or takes no more for another reason that will pass, ends
// nothing: records are refused, with an error that names the sink which holds the
// room, deliveries go on, and records are taken again as soon as there is room. A
// failed write other than that ends [Queue.Run] with a [*FatalError]. The process
// must then exit at once, without closing anything: a second fsync of the same
// pages would claim that they are on disk, and closing would checkpoint them.
//
// # What it does not do
//
// It does not look into payloads, decide where a record goes, retry, or send
// anything. What the file contains, and how one is checked and mended that nobody
// works with, is package queuefile.
//
// # Concurrency and tests
//
// A Queue is safe for concurrent use; one lane per sink leases. Tests use the
// real thing on a file below t.TempDir.
package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// Settings of a queue. Zero values are the defaults.
type Settings struct {
	Path string // of the database file
	// Known says that there was a queue at Path before. If there is none, it was
	// removed, and a new one does not begin at position 1.
	Known bool
	// CommitInterval is the least time between two commits. It spares flash
	// memory and delays every answer by up to as much.
	CommitInterval time.Duration
	// MaxBytes bounds what the queue takes on the disk: its file, the WAL and the
	// reserve. Nothing is accepted above 95 % of it until 90 % are reached again.
	// From 90 % on, records that every sink has are removed whatever their age. 0
	// is unlimited; then only the disk is a bound. See full.go.
	MaxBytes int64
	// RetentionDelivered is how long records are kept that every sink has.
	// Default 24 hours. RetentionDeliveredBytes is how much of the file they may
	// take; 0 is unlimited.
	RetentionDelivered      time.Duration
	RetentionDeliveredBytes int64
	// RetentionUndelivered is how long a sink's lane has to deliver a record, after
	// which it expires for that sink. 0 is for ever.
	RetentionUndelivered time.Duration
	// RetentionRemovedSink is how long the backlog of a removed sink is kept. 0 is
	// for ever.
	RetentionRemovedSink time.Duration
	// PendingBytes bounds the records that are taken but not answered. Append
	// waits above it. Default 32 MiB, and always less where there is little room.
	PendingBytes int
	// Disk is where the file lives, with all that belongs to it. Zero is the
	// operating system's.
	Disk sqlite.Disk
	// BuiltAt is when the program was built: no wall clock is earlier. Zero
	// believes every wall clock.
	BuiltAt time.Time
	// Uptime leads gateway time on across restarts of the process; [MachineUptime]
	// does that. Without it, as in a testing/synctest bubble, the wall clock does.
	Uptime Uptime
}

const (
	retentionDefault = 24 * time.Hour
	pendingDefault   = 32 << 20
)

// FatalError is what [Queue.Run] ends with when a write has failed in a way
// after which nothing about the file may be believed. Exit without Close.
type FatalError struct{ Err error }

func (e *FatalError) Error() string {
	return fmt.Sprintf("the queue cannot write any more, exit at once: %v%s", e.Err, hint(e.Err))
}

// hint tells an operator what to check after an error of the file.
func hint(err error) string {
	if text := hintOf(err); text != "" {
		return "; hint: " + text
	}
	return ""
}

func hintOf(err error) string {
	if errors.Is(err, queuefile.ErrRow) {
		return "start again: the next start looks at the whole file, and serves what is whole; docs/runbooks/damaged-queue.md"
	}
	return sqlite.Hint(err)
}

// Unwrap returns the failed write.
func (e *FatalError) Unwrap() error { return e.Err }

// Queue implements [edge.Appender] and [edge.Leaser].
type Queue struct {
	settings Settings
	observer *observe.Observer
	db       *sqlite.DB
	logs     queuefile.Logs
	clock    *clock

	intake    *intake
	assembler *assembler
	window    *window
	bounds    bounds
	reserve   *queuefile.Reserve
	sets      *owedSets
	decoder   *queuefile.Decoder
	cache     frameCache
	sizes     sizes
	registry  registry
	ledger    ledger
	durable   durable
	room      atomic.Pointer[room] // as of the last assessment
	history   *history

	grown    signal        // the head has moved
	settled  chan struct{} // nudged by Settle
	seals    chan struct{} // nudged by Seal
	enlarged chan struct{} // nudged when much was appended
	flushes  chan flush    // somebody waits until settlements are saved
	auditing chan struct{} // full while somebody counts the file
	broken   chan error    // a write outside the committer failed
	damaged  chan damageReport
	counting chan struct{} // full while somebody sets a frame aside
	closed   chan struct{} // closed when Run has ended
	backups  backups
	running  atomic.Bool
	// mismatches is how many counters were found wrong by the start, or by whoever
	// counted last.
	mismatches atomic.Int64
	start      recovered // what the committer begins with
}

// Open opens or creates the file, and recovers what a crash has left. A file that
// is damaged is set aside, and what can be read of it is served from a new one.
// The queue takes records at once, but nothing becomes durable before Run.
func Open(ctx context.Context, settings Settings, observer *observe.Observer) (*Queue, error) {
	if settings.RetentionDelivered == 0 {
		settings.RetentionDelivered = retentionDefault
	}
	if settings.PendingBytes == 0 {
		settings.PendingBytes = pendingDefault
	}
	q, err := openFile(ctx, settings, observer)
	if err != nil {
		return nil, fmt.Errorf("open queue: %w%s", err, hint(err))
	}
	return q, nil
}

// openOnce opens the file as it is.
func openOnce(ctx context.Context, settings Settings, observer *observe.Observer, tail *queuefile.WALTail) (*Queue, error) {
	reserve, err := queuefile.OpenReserve(settings.Disk, settings.Path)
	if err != nil {
		return nil, err
	}
	db, err := queuefile.Open(ctx, settings.Disk, settings.Path)
	if err != nil {
		return nil, err
	}
	capacity, err := reserve.Capacity()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	bounds := newBounds(settings.MaxBytes, capacity, int64(settings.PendingBytes))
	if err := db.BoundWAL(ctx, bounds.walHard); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.Read(ctx, queuefile.CheckTables); err != nil { // before anything is written to them
		return nil, errors.Join(err, db.Close())
	}
	q := newQueue(settings, observer, db, bounds, reserve)
	if err := tail.Append(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := goOnAbove(ctx, &settings, observer, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := q.recoverState(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return q, nil
}

// newQueue puts a queue around an open database.
func newQueue(settings Settings, observer *observe.Observer, db *sqlite.DB, bounds bounds, reserve *queuefile.Reserve) *Queue {
	return &Queue{
		settings: settings,
		observer: observer,
		db:       db,

		intake:  newIntake(int(bounds.pending)),
		window:  newWindow(int(bounds.window)),
		bounds:  bounds,
		reserve: reserve,
		sets:    newOwedSets(),
		history: newHistory(),

		settled:  make(chan struct{}, 1),
		seals:    make(chan struct{}, 1),
		enlarged: make(chan struct{}, 1),
		flushes:  make(chan flush),
		auditing: make(chan struct{}, 1),
		registry: registry{changing: make(chan struct{}, 1)},
		broken:   make(chan error, 1),
		damaged:  make(chan damageReport),
		counting: make(chan struct{}, 1),
		closed:   make(chan struct{}),
		backups:  backups{ended: make(chan struct{})},
	}
}

// Run makes records durable until ctx ends. It then takes nothing more, finishes
// what it has, saves the last settlements, checkpoints and closes the file. It
// returns nil, or a [*FatalError] with the file left as it is. It can be called
// once.
func (q *Queue) Run(ctx context.Context) error {
	if q.running.Swap(true) {
		return errors.New("the queue runs already")
	}
	defer close(q.closed)
	defer context.AfterFunc(ctx, q.intake.close)()

	committer := newCommitter(q)
	assembled, committed := make(chan *group), make(chan *group, 2)
	var pipeline sync.WaitGroup
	pipeline.Go(func() { q.assemble(assembled) })
	pipeline.Go(func() { q.reply(committed) })
	pipeline.Go(committer.checkpointer.run)
	pipeline.Go(committer.merger.run)
	tending, stopTending := context.WithCancel(ctx)
	pipeline.Go(func() { q.tend(tending) })
	err := committer.run(ctx, assembled, committed)
	close(committed)
	stopTending()
	committer.checkpointer.stop()
	committer.merger.stop()
	pipeline.Wait()
	if err != nil {
		return err
	}
	q.backups.end()
	if err := q.db.Close(); err != nil {
		return &FatalError{Err: fmt.Errorf("close queue: %w", err)}
	}
	return nil
}

// Close lets go of a queue that was never run. Run closes the file itself.
func (q *Queue) Close() error {
	if q.running.Swap(true) {
		return nil
	}
	close(q.closed)
	return q.db.Close()
}

// ended reports whether the file is closed.
func (q *Queue) ended() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

// Room says whether records find room.
type Room struct {
	Refusal *edge.Error // why nothing is taken, full or stopping; nil when records are
	Filling bool        // above 70 % of the limit, until below 65 %
	Warning string      // with Filling, for a person: how much is in use, and who holds it
}

// Room says whether records find room, as of the last assessment. It reads no file.
func (q *Queue) Room() Room {
	found := Room{Refusal: q.intake.refused()}
	if room := q.room.Load(); room != nil {
		found.Filling, found.Warning = room.warned, room.warning
	}
	return found
}

// Head returns the position of the newest durable record, 0 when there was none.
func (q *Queue) Head() edge.Position { return edge.Position(q.durable.head.Load()) }

// Believe returns a reading of the wall clock, or what stands for it when the
// clock cannot be right: it is earlier than the build, or than the last one that
// was known. It is safe for concurrent use.
func (q *Queue) Believe(wall time.Time) (at time.Time, floored bool) { return q.clock.believe(wall) }

// assemble is the goroutine between intake and committer.
func (q *Queue) assemble(assembled chan<- *group) {
	defer close(assembled)
	var earliest time.Time // of the next commit
	for {
		g := q.intake.take(earliest)
		if g == nil {
			return
		}
		earliest = time.Now().Add(q.settings.CommitInterval)
		q.assembler.assemble(g)
		assembled <- g
	}
}

// reply is the goroutine behind the committer.
func (q *Queue) reply(committed <-chan *group) {
	var flush []edge.Replier
	counted := newResults(q.observer.Metrics)
	for g := range committed {
		counted.add(g) // first, so that whoever has an answer sees it counted
		flush = g.reply(flush)
		q.intake.answered(g)
	}
}
