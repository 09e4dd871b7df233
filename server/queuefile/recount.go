package queuefile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// Recount is the ledger, counted anew from the file. It shares no code and no
// number with the counters that it is compared with, beyond the cursors and
// ranges that say what is decided.
type Recount struct {
	Accepted   int64 // positions that were ever given, up to where the counters count
	Stored     int64 // records in frames
	Unrouted   int64 // of those that are counted, owed to nobody
	Whole      bool  // nothing was ever removed or damaged: what was ever owed can be counted
	Sinks      []SinkRecount
	Damaged    int64                 // frames
	Mismatches []edge.LedgerMismatch // the first mismatchesMax
	Found      int64                 // all of them
	unrouted   int64                 // as counted
}

// SinkRecount sets what is stored about one sink against its counters, both as
// of the same moment.
type SinkRecount struct {
	ID        edge.SinkID
	Name      string
	Pending   int64 // records in frames that are owed and not decided
	Decided   int64 // records in frames that are owed and decided
	Dead      int64 // rows
	Discarded int64 // in the loss report, damaged ones included
	Expired   int64 // in the loss report
	Counted   Count
}

// Count is what the counters of one sink say.
type Count struct{ Owed, Delivered, Dead, Held, Discarded, Expired, Pending int64 }

// fieldChecksum stands for a row of counters that is not what was written.
const fieldChecksum = "checksum"

// mismatchesMax bounds what is listed.
const mismatchesMax = 1000

// Balanced reports whether the counters agree with the file.
func (r *Recount) Balanced() bool { return r.Found == 0 }

// expect compares a counter with what it should be.
func (r *Recount) expect(account, field string, counted, recounted int64) {
	if counted != recounted {
		r.mismatch(account, field, counted, recounted)
	}
}

// expectSum compares the checksum of a row of counters with what it should be.
func (r *Recount) expectSum(account, field string, stored any, want int64) {
	if !sumHolds(stored, want) {
		sum, _ := stored.(int64)
		r.mismatch(account, field, sum, want)
	}
}

func (r *Recount) mismatch(account, field string, counted, recounted int64) {
	if r.Found++; r.Found <= mismatchesMax {
		r.Mismatches = append(r.Mismatches, edge.LedgerMismatch{Account: account, Field: field, Counted: counted, Recounted: recounted})
	}
}

// Ledger returns the accounts as they should be.
func (r *Recount) Ledger() edge.Ledger {
	ledger := edge.Ledger{Accepted: r.Accepted, Unrouted: r.unrouted, Stored: r.Stored, Mismatches: r.Mismatches, Found: r.Found}
	if r.Whole {
		ledger.Unrouted = r.Unrouted
	}
	for _, sink := range r.Sinks {
		account := edge.SinkLedger{
			Sink: sink.ID, Name: sink.Name, Delivered: sink.Counted.Delivered, Dead: sink.Dead, Held: sink.Counted.Held,
			Discarded: sink.Discarded, Expired: sink.Expired, Pending: sink.Pending,
		}
		account.Owed = account.Delivered + account.Dead + account.Held + account.Discarded + account.Expired + account.Pending
		ledger.Sinks = append(ledger.Sinks, account)
	}
	return ledger
}

// recountsMax is how often a recount begins anew because records that it had not
// read yet were removed.
const recountsMax = 3

// ErrMoved says that records are gone which a recount was about to read.
var ErrMoved = errors.New("messages are removed faster than they are counted")

// CountFile counts what a file says. It may be written to meanwhile: the
// counters are those of one moment, and what is stored up to there is read piece by
// piece, so that the WAL can be used from its beginning again in between.
func CountFile(ctx context.Context, read func(context.Context, func(*sqlite.Conn) error) error, decoder *Decoder) (Recount, error) {
	for attempt := 1; ; attempt++ {
		r := &recounting{decoder: decoder}
		err := read(ctx, r.begin) // with the first piece: what goes next is the oldest
		for err == nil && !r.done {
			err = read(ctx, r.piece)
		}
		if err == nil {
			r.compare()
			return r.Recount, nil
		}
		if !errors.Is(err, ErrMoved) || attempt == recountsMax {
			return Recount{}, fmt.Errorf("recount: %w", err)
		}
	}
}

// recounting is a recount under way.
type recounting struct {
	Recount
	decoder *Decoder
	done    bool
	sinks   []*sinkRecounting
	sets    map[uint32]map[edge.SinkID]bool
	ledger  StoredLedger
	front   int64 // the oldest stored position when it began, 0 when there was none
	next    int64 // that is to be read, 0 at first
	hole    bool  // how far the frame before next reaches is not known
	damaged int64 // the last frame that was
	last    int64 // that is stored, or that any counter counts
}

// sinkRecounting is one sink while frames are counted.
type sinkRecounting struct {
	SinkRecount
	stored  StoredSink
	settled Spans
	at      int // in settled: those before end below what was read
}

// begin reads everything but frames, and the first piece of them, in one snapshot.
func (r *recounting) begin(conn *sqlite.Conn) error {
	for _, read := range []func(*sqlite.Conn) error{r.readLedger, r.readSinks, r.readGivenUp, r.readSets, r.readDeaths, r.readLosses} {
		if err := read(conn); err != nil {
			return err
		}
	}
	_, err := conn.One("SELECT coalesce((SELECT id FROM frame ORDER BY id LIMIT 1), 0), coalesce((SELECT id + n - 1 FROM frame ORDER BY id DESC LIMIT 1), 0)", func(row sqlite.Row) {
		r.front, r.last = row.Int(0), max(r.last, row.Int(1))
	})
	r.Accepted, r.unrouted = int64(r.ledger.Counted)-r.ledger.Skipped, r.ledger.Unrouted
	r.Whole = r.front == 1 && r.ledger.Quarantined == 0 && r.ledger.Skipped == 0
	if r.done = r.front == 0; err != nil || r.done {
		return err
	}
	return r.piece(conn)
}

func (r *recounting) readLedger(conn *sqlite.Conn) error {
	_, err := conn.One(SelectLedger, func(row sqlite.Row) { r.ledger = ReadLedger(row) })
	if err != nil {
		return err
	}
	l := &r.ledger
	r.last = int64(l.Counted)
	var attempts, letters, lastLetter int64
	_, err = conn.One("SELECT coalesce(sum(? + length(CAST(status AS BLOB)) + length(CAST(excerpt AS BLOB))), 0) FROM attempt", func(row sqlite.Row) { attempts = row.Int(0) }, int64(AttemptRowBytes))
	if err != nil {
		return err
	}
	_, err = conn.One("SELECT count(*), coalesce(max(position), 0) FROM dead WHERE sink = 0", func(row sqlite.Row) { letters, lastLetter = row.Int(0), row.Int(1) })
	r.expect(edge.LedgerTotal, "attempt_bytes", l.AttemptBytes, attempts)
	r.expect(edge.IngressName, "dead_count", l.Refused-l.Evicted, letters)
	if lastLetter > l.Refused {
		r.mismatch(edge.IngressName, "refused_count", l.Refused, lastLetter)
	}
	return err
}

func (r *recounting) readSinks(conn *sqlite.Conn) error {
	return conn.Query(SelectSinks+" ORDER BY id", func(row sqlite.Row) error {
		stored := ReadSink(row)
		sink := &sinkRecounting{stored: stored, SinkRecount: SinkRecount{ID: stored.ID, Name: stored.Name, Counted: Count{
			Owed: stored.Owed, Delivered: stored.Delivered, Dead: stored.Dead, Held: stored.Held, Discarded: stored.Discarded, Expired: stored.Expired, Pending: stored.Pending(),
		}}}
		var err error
		sink.settled, err = ParseSpans(stored.Settled, stored.Cursor)
		r.sinks, r.last = append(r.sinks, sink), max(r.last, int64(stored.Counted))
		return err
	})
}

// readGivenUp counts dead letters and losses of each sink.
func (r *recounting) readGivenUp(conn *sqlite.Conn) error {
	for _, sink := range r.sinks {
		_, err := conn.One(`SELECT (SELECT count(*) FROM dead WHERE sink = ?1),
			(SELECT coalesce(sum(count), 0) FROM loss WHERE sink = ?1 AND kind <> ?2), (SELECT coalesce(sum(count), 0) FROM loss WHERE sink = ?1 AND kind = ?2)`, func(row sqlite.Row) {
			sink.Dead, sink.Discarded, sink.Expired = row.Int(0), row.Int(1), row.Int(2)
		}, int64(sink.ID), int64(edge.LossExpired))
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *recounting) readSets(conn *sqlite.Conn) error {
	r.sets = make(map[uint32]map[edge.SinkID]bool)
	return conn.Query(SelectSets, func(row sqlite.Row) error {
		stored := ReadSet(row)
		members, err := stored.Members()
		set := make(map[edge.SinkID]bool)
		for _, sink := range members {
			set[sink] = true
		}
		r.sets[uint32(stored.Number)] = set
		return err
	})
}

// readDeaths compares the counters of dead letters by reason with the letters.
func (r *recounting) readDeaths(conn *sqlite.Conn) error {
	return conn.Query(`SELECT sink, reason, sum(now), sum(ever), sum(stored), max(checksum), max(counted) FROM (
			SELECT sink, reason, now, ever, 0 AS stored, checksum, 1 AS counted FROM death
			UNION ALL SELECT sink, reason, 0, 0, count(*), NULL, 0 FROM dead GROUP BY sink, reason)
		GROUP BY sink, reason ORDER BY sink, reason`, func(row sqlite.Row) error {
		if row[0] == nil {
			return NewRowError("a dead letter names no sink") // it is in no list
		}
		account, reason := r.account(row.Int(0)), row.Text(1)
		now, ever := row.Int(2), row.Int(3)
		r.expect(account, "dead_count."+reason, now, row.Int(4))
		if ever < now {
			r.mismatch(account, "dead_ever_count."+reason, ever, now)
		}
		if row.Int(6) == 1 {
			r.expectSum(account, fieldChecksum+"."+reason, row[5], rowSum("death", row.Int(0), reason, now, ever))
		}
		return nil
	})
}

// readLosses compares each stretch of the loss report with the devices it names.
func (r *recounting) readLosses(conn *sqlite.Conn) error {
	return conn.Query("SELECT id, sink, count, devices FROM loss ORDER BY id", func(row sqlite.Row) error {
		devices, sum := map[string]int64{}, int64(0)
		if err := json.Unmarshal([]byte(row.Text(3)), &devices); err != nil {
			return nil // the names are damaged; the count is compared with the sink's
		}
		for _, count := range devices {
			sum += count
		}
		r.expect(r.account(row.Int(1)), fmt.Sprintf("loss_count.%d", row.Int(0)), row.Int(2), sum)
		return nil
	})
}

// account names whose counters they are.
func (r *recounting) account(id int64) string {
	for _, sink := range r.sinks {
		if int64(sink.ID) == id {
			return sink.Name
		}
	}
	if edge.SinkID(id) == edge.Ingress {
		return edge.IngressName
	}
	return fmt.Sprint(id)
}
