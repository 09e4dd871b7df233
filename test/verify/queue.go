package verify

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver
)

// readQueue judges the file.
func (c *check) readQueue() error {
	return WithCopy(c.run.Queue, func(db *sql.DB) error {
		file := &queueFile{check: c, db: db, dense: true}
		if empty, err := file.isEmpty(); err != nil || empty {
			return err
		}
		for _, read := range []func() error{
			file.integrity, file.readSinks, file.readSets, file.readApart, file.readFrames, file.readDead, file.readLosses, file.readDamage, file.judgeRefused, file.judge,
		} {
			if err := read(); err != nil {
				return err
			}
		}
		return nil
	})
}

// WithCopy opens a copy of a database file with its WAL, so that looking at the
// evidence does not change it: opening a file after a crash recovers its WAL.
func WithCopy(original string, look func(db *sql.DB) error) error {
	folder, err := os.MkdirTemp("", "verify-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "queue.db")
	for _, suffix := range []string{"", "-wal"} {
		if err := copyFile(original+suffix, path+suffix); err != nil && (suffix == "" || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(path))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	return look(db)
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// queueFile is the database while it is read.
type queueFile struct {
	*check
	db       *sql.DB
	sinks    []*sinkRow
	sets     map[int64]map[int64]bool
	apart    [][2]int64 // positions that were set aside; the end does not belong to them
	first    int64      // position in the oldest frame
	next     int64      // behind the newest frame
	dense    bool       // no position is missing between
	unrouted int64
	refused  refusedRows
}

// refusedRows are the messages that were refused at a door, acknowledged and kept.
type refusedRows struct {
	stored, lost int64 // lost by the loss report
}

// sinkRow is one row of the table sink, and what the other tables say about it.
type sinkRow struct {
	id                                                 int64
	name                                               string
	start, backlogFrom, cursor, counted                int64
	owed, delivered, dead, held, discarded, expired    int64
	settled                                            []byte
	ranges                                             [][2]int64 // decided above the cursor; the end does not belong to it
	arrivals                                           *arrivals  // nil when the run does not name it
	owedStored, pendingCounted, pendingAll, deadStored int64
	discardedStored, expiredStored                     int64 // by the loss report
}

// isDecided reports whether nothing is to be done any more. It is asked about
// ascending positions.
func (s *sinkRow) isDecided(position int64) bool {
	for len(s.ranges) > 0 && s.ranges[0][1] <= position {
		s.ranges = s.ranges[1:]
	}
	return position < s.cursor || len(s.ranges) > 0 && s.ranges[0][0] <= position
}

// isEmpty reports whether the file lost its very tables, or was never begun: the
// ledger's row comes before all others.
func (f *queueFile) isEmpty() (bool, error) {
	var tables int
	if err := f.db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'frame'").Scan(&tables); err != nil {
		return false, err
	}
	if tables == 0 {
		f.find("I12", "", "the file holds no table of frames")
	}
	if tables == 0 {
		return true, nil
	}
	var rows, frames int
	err := f.db.QueryRow("SELECT (SELECT count(*) FROM ledger), (SELECT count(*) FROM frame)").Scan(&rows, &frames)
	if rows == 0 && frames > 0 {
		f.find("I12", "", "the file holds %d frames and no ledger", frames)
	}
	return rows == 0, err
}

// integrity asks SQLite what it thinks of the file.
func (f *queueFile) integrity() error {
	return f.each("PRAGMA integrity_check", func(row *sql.Rows) error {
		var line string
		if err := row.Scan(&line); err != nil {
			return err
		}
		if line != "ok" {
			f.find("I12", "", "integrity_check: %s", line)
		}
		return nil
	})
}

// each runs a query.
func (f *queueFile) each(query string, take func(row *sql.Rows) error, arguments ...any) error {
	rows, err := f.db.Query(query, arguments...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
	}
	return rows.Err()
}

func (f *queueFile) readSinks() error {
	const query = `SELECT id, name, start, backlog_from, cursor, counted, owed, delivered, dead, held, discarded, expired, settled FROM sink ORDER BY id`
	return f.each(query, func(row *sql.Rows) error {
		s := &sinkRow{}
		err := row.Scan(&s.id, &s.name, &s.start, &s.backlogFrom, &s.cursor, &s.counted, &s.owed, &s.delivered, &s.dead, &s.held, &s.discarded, &s.expired, &s.settled)
		if err != nil {
			return err
		}
		// Each range is the gap to the one before, or to the cursor, and its length.
		for base, rest := s.cursor, s.settled; len(rest) > 0; {
			gap, width := binary.Uvarint(rest)
			length, more := binary.Uvarint(rest[max(width, 0):])
			if width <= 0 || more <= 0 {
				f.find("I5", s.name, "its ranges cannot be read: %x", s.settled)
				break
			}
			s.ranges = append(s.ranges, [2]int64{base + int64(gap), base + int64(gap) + int64(length)})
			base, rest = base+int64(gap)+int64(length), rest[width+more:]
		}
		for _, arrived := range f.arrivals {
			if arrived.sink.Name == s.name {
				s.arrivals = arrived
			}
		}
		f.sinks = append(f.sinks, s)
		return nil
	})
}

func (f *queueFile) readSets() error {
	f.sets = map[int64]map[int64]bool{}
	return f.each("SELECT id, sinks FROM owed", func(row *sql.Rows) error {
		var id int64
		var text string
		if err := row.Scan(&id, &text); err != nil {
			return err
		}
		set := map[int64]bool{}
		for part := range strings.SplitSeq(text, ",") {
			if sink, err := strconv.ParseInt(part, 10, 64); err == nil {
				set[sink] = true
			}
		}
		f.sets[id] = set
		return nil
	})
}

func (f *queueFile) readFrames() error {
	return f.each("SELECT id, n, body FROM frame ORDER BY id", func(row *sql.Rows) error {
		var first, count int64
		var body []byte
		if err := row.Scan(&first, &count, &body); err != nil {
			return err
		}
		if f.next == 0 {
			f.first, f.next = first, first
		}
		f.skipApart()
		f.dense = f.dense && first == f.next
		f.next = first + count
		records, err := readFrame(first, count, body)
		if err != nil {
			f.find("I12", "", "frame %d of %d records: %v", first, count, err)
		}
		for i := range records {
			f.takeRecord(first+int64(i), &records[i])
		}
		return nil
	})
}

// readApart takes the positions that the file knows to be gone.
func (f *queueFile) readApart() error {
	return f.each("SELECT position, n FROM quarantine WHERE sink = -1 ORDER BY position", func(row *sql.Rows) error {
		var first, count int64
		err := row.Scan(&first, &count)
		f.apart = append(f.apart, [2]int64{first, first + count})
		return err
	})
}

// skipApart goes on behind positions that were set aside.
func (f *queueFile) skipApart() {
	for _, gone := range f.apart {
		if gone[0] <= f.next && f.next < gone[1] {
			f.next = gone[1]
		}
	}
}

// takeRecord accounts for one stored record.
func (f *queueFile) takeRecord(position int64, record *frameRecord) {
	f.stored++
	device, message, known := f.fleet.message(record.device, record.bootID, record.sequence)
	if !known {
		f.find("I2", "", "position %d holds a message of %s, boot %s, sequence %d, which was never sent", position, record.device, record.bootID, record.sequence)
	} else {
		if payload, _ := device.expected(message); string(payload) != string(record.payload) {
			f.find("I2", "", "position %d holds %s, sent was %s", position, record.payload, payload)
		}
		if device.stored[message]++; device.stored[message] > 1 {
			f.find("I3", "", "%s message %d is stored again at position %d", device.name, message, position)
		}
	}
	if len(f.sets[record.owed]) == 0 {
		f.unrouted++
	}
	for _, sink := range f.sinks {
		if !f.owes(sink, position, record) {
			continue
		}
		sink.owedStored++
		if sink.isDecided(position) {
			continue
		}
		sink.pendingAll++
		if position <= sink.counted {
			sink.pendingCounted++
		}
		if known && sink.arrivals != nil {
			sink.arrivals.states[device.index][message] |= pendingHere
		}
	}
}

// owes reports whether a record is owed to a sink, decided or not.
func (f *queueFile) owes(sink *sinkRow, position int64, record *frameRecord) bool {
	if position < sink.start {
		return position >= sink.backlogFrom
	}
	return f.sets[record.owed][sink.id]
}

func (f *queueFile) readDead() error {
	return f.each("SELECT sink, position, reason, body FROM dead", func(row *sql.Rows) error {
		var id, position int64
		var reason string
		var body []byte
		if err := row.Scan(&id, &position, &reason, &body); err != nil {
			return err
		}
		f.givenUp(id, "position %d is a dead letter (%s)", position, reason)
		if id == 0 {
			f.refused.stored++
		}
		for _, sink := range f.sinks {
			if sink.id != id {
				continue
			}
			sink.deadStored++
			records, err := readFrame(position, 1, body)
			if err != nil {
				f.find("I12", sink.name, "dead letter %d: %v", position, err)
				return nil
			}
			device, message, known := f.fleet.message(records[0].device, records[0].bootID, records[0].sequence)
			if known && sink.arrivals != nil {
				sink.arrivals.states[device.index][message] |= deadHere
			}
		}
		return nil
	})
}

// readLosses takes what the file says was given up, by device.
func (f *queueFile) readLosses() error {
	return f.each("SELECT sink, kind, reason, count, devices FROM loss", func(row *sql.Rows) error {
		var id, kind, count int64
		var reason, text string
		if err := row.Scan(&id, &kind, &reason, &count, &text); err != nil {
			return err
		}
		if f.run.Damage == nil || kind != lossQuarantined {
			f.givenUp(id, "%d messages were given up (%s)", count, reason)
		}
		if id == 0 && reason != reasonWholeFile {
			f.refused.lost += count
		}
		counts := map[string]int{}
		if err := json.Unmarshal([]byte(text), &counts); err != nil {
			return err
		}
		for _, sink := range f.sinks {
			if sink.id != id {
				continue
			}
			if kind == lossExpired {
				sink.expiredStored += count
			} else {
				sink.discardedStored += count
			}
			if sink.arrivals == nil {
				continue
			}
			if kind == lossQuarantined {
				sink.arrivals.quarantined += count
			}
			for device, count := range counts {
				sink.arrivals.givenUp[device] += count
			}
		}
		return nil
	})
}

const (
	lossExpired     = 2 // the kind of a loss by age or size
	lossQuarantined = 3 // of one by damage

	// reasonWholeFile is that of a file of which nothing was found: what it held is
	// not known.
	reasonWholeFile = "damaged_file"
)

// readDamage takes what the file says was set aside, or left behind with a file
// before it.
func (f *queueFile) readDamage() error {
	var rows, quarantined, salvaged int64
	if err := f.db.QueryRow("SELECT (SELECT count(*) FROM quarantine), quarantined, salvaged FROM ledger").Scan(&rows, &quarantined, &salvaged); err != nil {
		return err
	}
	if damage := f.run.Damage; damage != nil {
		if want := int64(len(damage.Messages)); quarantined != want {
			f.find("I5", "", "%d messages were damaged, the ledger says %d", want, quarantined)
		}
		return nil
	}
	if rows+quarantined+salvaged > 0 && !f.run.MayGiveUp {
		f.find("I1", "", "%d rows were set aside as damaged, with %d messages, and %d files were salvaged", rows, quarantined, salvaged)
	}
	return nil
}

// givenUp notes what the gateway says of itself that a sink does not get. A sink
// that the run does not name may give up what it wants; 0 is the door.
func (f *queueFile) givenUp(id int64, format string, arguments ...any) {
	if id == 0 && !f.run.MayGiveUp {
		f.find("I1", "", "refused at the door: "+format, arguments...)
	}
	for _, sink := range f.sinks {
		if sink.id == id && sink.arrivals != nil && !f.run.MayGiveUp {
			f.find("I1", sink.name, format, arguments...)
		}
	}
}

// judgeRefused accounts for every message that was refused and kept. What a damaged
// file has lost of them is not reported.
func (f *queueFile) judgeRefused() error {
	var refused, evicted, salvaged int64
	if err := f.db.QueryRow("SELECT ingress_refused, ingress_evicted, salvaged FROM ledger").Scan(&refused, &evicted, &salvaged); err != nil {
		return err
	}
	if refused-evicted != f.refused.stored || salvaged == 0 && evicted != f.refused.lost {
		f.find("I5", "", "%d refused messages are kept and %d are in the loss report, the ledger says %d, and that %d of them went", f.refused.stored, f.refused.lost, refused, evicted)
	}
	return nil
}

// judge compares counters with what was read.
func (f *queueFile) judge() error {
	var counted, accepted, skipped, unrouted int64
	if err := f.db.QueryRow("SELECT counted, accepted, skipped, unrouted FROM ledger").Scan(&counted, &accepted, &skipped, &unrouted); err != nil {
		return err
	}
	f.skipApart()
	if !f.dense {
		f.find("I5", "", "positions are missing between %d and %d", f.first, f.next)
	}
	if accepted+skipped != counted {
		f.find("I5", "", "%d records were accepted and %d positions skipped up to position %d", accepted, skipped, counted)
	}
	if f.next > 0 && f.next <= counted {
		f.find("I5", "", "the records up to position %d are counted, and the last frame ends before %d", counted, f.next)
	}
	whole := f.first == 1 && len(f.apart) == 0 // nothing was removed yet
	if whole && f.next == counted+1 && unrouted != f.unrouted {
		f.find("I5", "", "%d records are owed to nobody, the ledger says %d", f.unrouted, unrouted)
	}
	for _, sink := range f.sinks {
		pending := sink.owed - sink.delivered - sink.dead - sink.held - sink.discarded - sink.expired
		if pending != sink.pendingCounted {
			f.find("I5", sink.name, "%d records are pending, the ledger says %d", sink.pendingCounted, pending)
		}
		if whole && sink.counted == f.next-1 && sink.owed != sink.owedStored {
			f.find("I5", sink.name, "%d records are owed, the ledger says %d", sink.owedStored, sink.owed)
		}
		if sink.dead != sink.deadStored {
			f.find("I5", sink.name, "there are %d dead letters, the ledger says %d", sink.deadStored, sink.dead)
		}
		if sink.discarded != sink.discardedStored || sink.expired != sink.expiredStored {
			f.find("I5", sink.name, "%d messages were discarded and %d have expired by the loss report, the ledger says %d and %d", sink.discardedStored, sink.expiredStored, sink.discarded, sink.expired)
		}
		if sink.arrivals != nil {
			f.judgeDelivered(sink)
			sink.arrivals.Pending, sink.arrivals.Dead = int(sink.pendingAll), int(sink.deadStored)
		}
	}
	for _, arrived := range f.arrivals {
		named := false
		for _, sink := range f.sinks {
			named = named || sink.arrivals == arrived
		}
		if !named {
			f.find("I5", arrived.sink.Name, "the file does not know the sink")
		}
	}
	return nil
}

// judgeDelivered compares the counter of deliveries with what arrived. What has
// arrived last may not be counted yet, unless nothing waits and the gateway had
// the time to count it.
func (f *queueFile) judgeDelivered(sink *sinkRow) {
	arrived := int64(sink.arrivals.Distinct)
	final := !f.run.Killed && !f.run.MayGiveUp && sink.pendingAll == 0
	if sink.delivered > arrived || final && sink.delivered+sink.arrivals.quarantined < arrived {
		f.find("I5", sink.name, "%d messages have arrived, the ledger says that %d were delivered", arrived, sink.delivered)
	}
}
