package queue

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// Dead letters of a sink that is not required must not close the doors for the others,
// and those that go are in the loss report.
func TestQueue_Evict(t *testing.T) {
	bubble(t, "BeyondTheLimit", evictBeyondTheLimit)
	bubble(t, "WhenCrowded", evictWhenCrowded)
	bubble(t, "BeforeWhatWaits", evictBeforeWhatWaits)
	bubble(t, "NotRequeued", evictNotRequeued)
	bubble(t, "NotOfRequiredSinks", evictNotOfRequiredSinks)
	bubble(t, "OfALimitThatIsNew", evictOfALimitThatIsNew)
	bubble(t, "MeasuresLittleByLittle", evictMeasuresLittleByLittle)
	bubble(t, "NothingWithoutRoom", evictNothingWithoutRoom)
	bubble(t, "ByWhatThereIs", evictByWhatThereIs)
}

const evictLimit = 1 << 20

// picky begins a queue with a sink that is required, and some that are not.
func picky(t *testing.T, settings Settings, limits ...int64) (q *Queue, stop func()) {
	t.Helper()
	q, cancel, done := Begin(t, settings, observe.NewDiscard(), pickySinks(limits...)...)
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return q, stop
}

func pickySinks(limits ...int64) []SinkSpec {
	specs := []SinkSpec{{Name: "good", Kind: "test"}}
	for i, limit := range limits {
		specs = append(specs, SinkSpec{Name: string(rune('a' + i)), Kind: "test", Limits: Limits{MaxLagBytes: limit}})
	}
	return specs
}

// refuseAll appends some messages of 4 KB at a time, lets the good sink have all of them,
// and the others none.
func refuseAll(t *testing.T, q *Queue, times int) {
	t.Helper()
	accounts := q.registry.all()
	owed := make([]edge.SinkID, len(accounts))
	for i, account := range accounts {
		owed[i] = account.id
	}
	for range times {
		accepted(t, q, owedTo(random(int(q.Head())+1, 20), owed...))
		for i, sink := range owed {
			leased := leaseAll(t, q, sink)
			if i > 0 {
				refuse(t, q, sink, leased)
			} else if err := q.Settle(t.Context(), sink, edge.Settlement{Acked: leased}); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(saveInterval)
	}
}

// refuse settles deliveries as dead.
func refuse(t *testing.T, q *Queue, sink edge.SinkID, deliveries []edge.Delivery) {
	t.Helper()
	settlement := edge.Settlement{}
	for _, delivery := range deliveries {
		settlement.Dead = append(settlement.Dead, edge.Death{Delivery: delivery, Reason: edge.DeathRejected})
	}
	if err := q.Settle(t.Context(), sink, settlement); err != nil {
		t.Fatal(err)
	}
}

// deadOf returns where the dead letters of a sink lie, and what they take.
func deadOf(t *testing.T, q *Queue, sink edge.SinkID) (positions []edge.Position, bytes int64) {
	t.Helper()
	letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{Sinks: []edge.SinkID{sink}}, edge.DeadLetterKey{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, letter := range letters {
		positions = append(positions, letter.Record.Position)
		bytes += int64(len(letter.Record.Payload))
	}
	return positions, bytes
}

// expectEvicted wants a sink's newest dead letters to be kept, and all of the others to
// be reported as evicted.
func expectEvicted(t *testing.T, q *Queue, sink edge.SinkID, last edge.Position) (lost int64) {
	t.Helper()
	positions, _ := deadOf(t, q, sink)
	for i, position := range positions {
		if want := last + 1 - edge.Position(len(positions)-i); position != want {
			t.Fatalf("letter %d of sink %d is at %d, want %d: the oldest go first", i, sink, position, want)
		}
	}
	losses, err := q.Losses(t.Context(), edge.LossFilter{Sinks: []edge.SinkID{sink}}, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, loss := range losses {
		if lost += loss.Count; loss.Kind != edge.LossExpired || loss.Reason != edge.LossEvicted || loss.Devices[0].Count != loss.Count || loss.FirstReceived.IsZero() {
			t.Errorf("got %+v, want what was evicted", loss)
		}
	}
	synctest.Wait()
	account, _ := q.account(sink)
	stats := account.stats()
	if want := int64(last) - int64(len(positions)); lost != want || stats.Expired != want || stats.LostByReason[edge.LossExpired][edge.LossEvicted] != want || stats.Dead != int64(len(positions)) || stats.DeadByReason[edge.DeathRejected] != stats.Dead {
		t.Errorf("of sink %d %d are reported as evicted, %+v is counted; want %d", sink, lost, stats, want)
	}
	recount, err := q.Recount(t.Context())
	if err != nil || !recount.Balanced() {
		t.Errorf("got %+v, %v; want a balance", recount, err)
	}
	expectMeasured(t, q, sink)
	return lost
}

// expectMeasured wants the dead letters of a sink to be counted as they are.
func expectMeasured(t *testing.T, q *Queue, sink edge.SinkID) {
	t.Helper()
	<-time.After(2 * maintenanceInterval) // a start has measured by then
	synctest.Wait()
	var want int64
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		_, err := conn.One("SELECT count(*), coalesce(sum(length(body)), 0) FROM dead WHERE sink = ?", func(row sqlite.Row) {
			want = row.Int(0)*queuefile.LetterRowBytes + row.Int(1)
		}, int64(sink))
		return err
	})
	account, _ := q.account(sink)
	if got := account.letters; err != nil || got.bytes != want || got.measured != lettersMeasured {
		t.Errorf("got %+v, %v; want %d bytes", got, err, want)
	}
	for _, stats := range q.Stats().Sinks {
		if stats.ID == sink && stats.DeadBytes != want {
			t.Errorf("the figures say %d bytes, want %d", stats.DeadBytes, want)
		}
	}
}

// What is delivered, refused again, or damaged counts as it is.
func evictByWhatThereIs(t *testing.T) {
	q, stop := picky(t, Settings{}, evictLimit)
	defer stop()
	refuseAll(t, q, 5)
	if count, err := q.RequeueMatching(t.Context(), edge.DeadLetterFilter{Sinks: []edge.SinkID{2}}, false); err != nil || count != 100 {
		t.Fatal(count, err)
	}
	leased := leaseAll(t, q, 2)
	refuse(t, q, 2, leased[:50])
	if err := q.Settle(t.Context(), 2, edge.Settlement{Acked: leased[50:90]}); err != nil {
		t.Fatal(err)
	}
	spoilLetters(t, q, "sink = 2 AND position = 10")
	if positions, _ := deadOf(t, q, 2); len(positions) != 59 {
		t.Errorf("%d dead letters, want 59", len(positions))
	}
	expectMeasured(t, q, 2)
}

func evictBeyondTheLimit(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db"), MaxBytes: 8 << 20}
	q, stop := picky(t, settings, evictLimit)
	refuseAll(t, q, 10)
	if lost := expectEvicted(t, q, 2, 200); lost != 0 {
		t.Errorf("%d are evicted below the limit", lost)
	}
	refuseAll(t, q, 140) // 12 MB in all
	for range 2 {
		expectEvicted(t, q, 2, 3000)
		if _, bytes := deadOf(t, q, 2); bytes > evictLimit || bytes < evictLimit*3/4 {
			t.Errorf("%d bytes of dead letters are kept, the limit is %d", bytes, evictLimit)
		}
		if stats := q.Stats(); stats.Sinks[0].Delivered != 3000 || stats.Sinks[0].Expired != 0 {
			t.Errorf("the good sink has %+v", stats.Sinks[0])
		}
		stop()
		q, stop = picky(t, settings, evictLimit)
	}
	refuseAll(t, q, 20)
	expectEvicted(t, q, 2, 3400)
	stop()
}

// Several sinks may have more than there is.
func evictWhenCrowded(t *testing.T) {
	q, stop := picky(t, Settings{MaxBytes: 8 << 20}, 4<<20, 4<<20, 4<<20)
	defer stop()
	refuseAll(t, q, 150)
	for sink := edge.SinkID(2); sink <= 4; sink++ {
		expectEvicted(t, q, sink, 3000)
		if _, bytes := deadOf(t, q, sink); bytes < 1<<20 {
			t.Errorf("sink %d has %d bytes of dead letters left", sink, bytes)
		}
	}
}

// What waits and the dead letters share the limit.
func evictBeforeWhatWaits(t *testing.T) {
	q, stop := picky(t, Settings{}, evictLimit)
	defer stop()
	refuseAll(t, q, 10) // 800 KB
	for range 9 {
		accepted(t, q, owedTo(random(int(q.Head())+1, 20), 2))
	}
	<-time.After(3 * time.Second)
	account, _ := q.account(2)
	stats := account.stats()
	evicted := stats.LostByReason[edge.LossExpired][edge.LossEvicted]
	if stats.Pending != 180 || evicted == 0 || stats.Expired != evicted || stats.Dead != 200-evicted {
		t.Errorf("got %+v; want dead letters to go, and nothing that waits", stats)
	}
	for range 10 {
		accepted(t, q, owedTo(random(int(q.Head())+1, 20), 2))
	}
	<-time.After(3 * time.Second)
	if stats = account.stats(); stats.Dead != 0 || stats.LostByReason[edge.LossExpired][edge.LossEvicted] != 200 || stats.LostByReason[edge.LossExpired][edge.LossMaxLag] == 0 {
		t.Errorf("got %+v; want all dead letters to be gone, and some of what waits", stats)
	}
	expectBalance(t, q, 580)
}

func evictNotRequeued(t *testing.T) {
	q, stop := picky(t, Settings{}, evictLimit)
	defer stop()
	refuseAll(t, q, 10)
	filter := edge.DeadLetterFilter{Sinks: []edge.SinkID{2}}
	if count, err := q.RequeueMatching(t.Context(), filter, false); err != nil || count != 200 {
		t.Fatal(count, err)
	}
	account, _ := q.account(2)
	for range 5 {
		accepted(t, q, owedTo(random(int(q.Head())+1, 20), 2))
		leased, err := q.Lease(t.Context(), 2, edge.LeaseLimit{Records: 220, Bytes: 1 << 30})
		if err != nil || len(leased) < 20 {
			t.Fatal(len(leased), err)
		}
		q.Release(2, leased[:len(leased)-20])
		refuse(t, q, 2, leased[len(leased)-20:])
	}
	<-time.After(3 * time.Second)
	stats := account.stats()
	if stats.Requeueing != 200 || stats.Dead >= 300 || stats.Expired != 300-stats.Dead {
		t.Errorf("got %+v; want what is requeued to stay", stats)
	}
	accepted(t, q, owedTo(random(int(q.Head())+1, 100), 2))
	<-time.After(3 * time.Second)
	if stats = account.stats(); stats.Requeueing != 200 || stats.Dead != 200 || stats.Expired != 100 {
		t.Errorf("got %+v; want only what is requeued to stay", stats)
	}
	if commits(t, q) {
		t.Error("it is written, and nothing can go")
	}
	// What is refused again is one of the oldest.
	refuse(t, q, 2, leaseAll(t, q, 2))
	<-time.After(3 * time.Second)
	if positions, _ := deadOf(t, q, 2); len(positions) == 0 || positions[0] == 1 {
		t.Errorf("kept are %v; want the oldest to be gone", positions)
	}
	expectBalance(t, q, 400)
}

// commits reports whether something is written though nothing happens.
func commits(t *testing.T, q *Queue) bool {
	t.Helper()
	var at [2]int64
	for i := range at {
		err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
			_, err := conn.One("SELECT gateway_time FROM ledger", func(row sqlite.Row) { at[i] = row.Int(0) })
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Second)
	}
	return at[0] != at[1]
}

func evictNotOfRequiredSinks(t *testing.T) {
	q, stop := picky(t, Settings{MaxBytes: 4 << 20}, 0)
	defer stop()
	for range 1000 {
		if !q.intake.accepting() {
			break
		}
		refuseAll(t, q, 1)
	}
	q.intake.waitUntil(t, false)
	account, _ := q.account(2)
	if stats := account.stats(); stats.Expired != 0 || stats.Dead != int64(q.Head()) {
		t.Errorf("got %+v; want all to be kept", stats)
	}
}

// A start measures what there is.
func evictOfALimitThatIsNew(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := picky(t, settings, 0)
	refuseAll(t, q, 150)
	stop()
	q, stop = picky(t, settings, evictLimit)
	<-time.After(10 * time.Second)
	if lost := expectEvicted(t, q, 2, 3000); lost == 0 {
		t.Error("nothing went")
	}
	if _, bytes := deadOf(t, q, 2); bytes > evictLimit || bytes < evictLimit*3/4 {
		t.Errorf("%d bytes of dead letters are kept, the limit is %d", bytes, evictLimit)
	}
	stop()
}

// What several sinks have is measured as slowly as what one has: commits wait for it.
func evictMeasuresLittleByLittle(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := picky(t, settings, 0, 0, 0)
	refuseAll(t, q, 40)
	stop()
	q, err := Open(t.Context(), settings, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if _, err := q.EnsureSinks(t.Context(), pickySinks(1<<30, 1<<30, 1<<30)); err != nil {
		t.Fatal(err)
	}
	c := newCommitter(q)
	var got [][]edge.Position
	for range 3 {
		c.measureLetters()
		var measured []edge.Position
		for _, account := range q.registry.all()[1:] {
			measured = append(measured, account.letters.measured)
		}
		got = append(got, measured)
	}
	const all = lettersMeasured
	if diff := cmp.Diff([][]edge.Position{{all, 200, 0}, {all, all, 400}, {all, all, all}}, got); diff != "" {
		t.Error(diff)
	}
}

// A transaction that finds no room has evicted nothing.
func evictNothingWithoutRoom(t *testing.T) {
	disk := simulated(t, 0)
	settings := simulatedSettings(disk)
	q, stop := picky(t, settings, evictLimit)
	defer stop()
	refuseAll(t, q, 20)
	lost := expectEvicted(t, q, 2, 400)
	account, _ := q.account(2)
	accepted(t, q, owedTo(random(1000, 20), 2))
	leased := leaseAll(t, q, 2)
	bytes := account.letters.bytes
	fill(disk)
	refuse(t, q, 2, leased)
	<-time.After(5 * time.Second)
	synctest.Wait()
	if stats := account.stats(); stats.Expired != lost || account.letters.bytes != bytes {
		t.Errorf("got %+v with %d bytes; want %d evicted and %d bytes", stats, account.letters.bytes, lost, bytes)
	}
	disk.Heal()
	q.intake.waitUntil(t, true)
	if expectEvicted(t, q, 2, 420) == lost {
		t.Error("nothing went once there was room")
	}
}
