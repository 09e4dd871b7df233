package queuefile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// ProblemKind says what a problem is about.
type ProblemKind string

// The kinds of problems.
const (
	ProblemStructure ProblemKind = "structure" // the trees of the database
	ProblemRow       ProblemKind = "row"       // a row that everything depends on
	ProblemFrame     ProblemKind = "frame"     // stored messages
	ProblemGap       ProblemKind = "gap"       // messages that are in no frame
	ProblemLetter    ProblemKind = "dead_letter"
	ProblemDevice    ProblemKind = "identity_window"
	ProblemLedger    ProblemKind = "ledger" // a counter
)

// Problem is one thing that Verify has found.
type Problem struct {
	Kind     ProblemKind   `json:"kind"`
	Position edge.Position `json:"position,omitempty"` // where there is one
	Sink     string        `json:"sink,omitempty"`
	Detail   string        `json:"detail"`
}

// Verification is what was checked, and what was found.
type Verification struct {
	Path        string    `json:"path"`
	Bytes       int64     `json:"bytes"`      // of the file
	WALBytes    int64     `json:"wal_bytes"`  // read as well
	FreeBytes   int64     `json:"free_bytes"` // in the file, that a compaction gives back
	Frames      int64     `json:"frames"`
	Records     int64     `json:"messages"`
	DeadLetters int64     `json:"dead_letters"`
	Devices     int64     `json:"devices"`
	Attempts    int64     `json:"attempts"`
	Sinks       int64     `json:"sinks"`
	Quarantined int64     `json:"quarantined"`
	Structural  int64     `json:"structural"` // problems that only a repair removes
	Problems    []Problem `json:"problems"`   // the first problemsMax
	Found       int64     `json:"found"`      // all of them
	Gone        bool      `json:"gone"`       // what was committed last is missing, whatever else is whole; see [ErrGone]
	Notes       []string  `json:"notes"`      // what is no problem, and worth knowing
}

// problemsMax bounds what is listed.
const problemsMax = 1000

func (v *Verification) add(problem Problem) {
	v.Found++
	switch problem.Kind {
	case ProblemStructure, ProblemRow, ProblemGap:
		v.Structural++
	}
	if len(v.Problems) < problemsMax {
		v.Problems = append(v.Problems, problem)
	}
}

// Verify reads the whole file that lies at path, and the WAL beside it, and checks
// everything that has a checksum, the trees of the database, and the ledger. It
// changes nothing, and nobody may work with the file meanwhile: it fails with an
// error that [IsInUse] knows when somebody does, with one that [IsNewer] knows for
// another schema, and with fs.ErrNotExist when there is no file. Damage is no
// error, it is in the Verification.
func Verify(ctx context.Context, disk sqlite.Disk, path string) (Verification, error) {
	return verifyFile(ctx, disk, path, newPacer(ctx))
}

// verifyFile is Verify at a pace.
func verifyFile(ctx context.Context, disk sqlite.Disk, path string, pace *pacer) (Verification, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Verification{}, err
	}
	served, notes, err := lookForUnfinished(ctx, disk, path)
	if err != nil {
		return Verification{Path: path}, fmt.Errorf("verify: %w", err)
	}
	v, err := verifyNamed(ctx, disk, served, pace)
	v.Notes = append(notes, v.Notes...)
	return v, err
}

// verifyNamed looks at this very file, also when a start would serve another one.
func verifyNamed(ctx context.Context, disk sqlite.Disk, path string, pace *pacer) (v Verification, err error) {
	v = Verification{Path: path, Problems: []Problem{}, Notes: []string{}}
	if v.Bytes, err = disk.Size(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // a WAL alone is damage
		return v, fmt.Errorf("verify: %w", err)
	}
	if v.WALBytes, err = disk.Size(path + "-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return v, fmt.Errorf("verify: %w", err)
	}
	if gone, err := sqlite.IsGone(disk, path); err != nil {
		return v, fmt.Errorf("verify: %w", err)
	} else if gone {
		v.Gone, v.Notes = true, append(v.Notes, ErrGone.Error())
	}
	if readable, err := v.lookAtWAL(disk); err != nil || !readable {
		if err != nil {
			err = fmt.Errorf("verify: %w", err)
		}
		return v, err
	}
	db, err := sqlite.OpenReadOnly(ctx, sqlite.Settings{Path: path, Migrations: migrations, Disk: disk})
	if IsDamage(err) {
		v.add(Problem{Kind: ProblemStructure, Detail: err.Error()})
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	err = errors.Join(v.run(ctx, db, pace), db.Close())
	return v, err
}

// lookForUnfinished finds a replacement that a crash has interrupted, which the next
// start finishes and serves, and notes that. It also notes what only has the name of one,
// which that start sets aside.
func lookForUnfinished(ctx context.Context, disk sqlite.Disk, path string) (served string, notes []string, err error) {
	notes = []string{}
	for _, replacement := range replacements {
		fresh := path + replacement.suffix
		why, err := replacement.unfit(ctx, disk, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return path, notes, err
		case why != "":
			notes = append(notes, fmt.Sprintf("%s is no finished replacement (%s); the next start sets it aside", fresh, why))
		default:
			return fresh, append(notes, "a crash has interrupted the replacement of "+path+"; the next start serves this file"), nil
		}
	}
	return path, notes, nil
}

// lookAtWAL finds what SQLite does not read of the WAL, or would write to no more, and
// reports whether the disk gives back all of it. Otherwise nobody can open the file.
func (v *Verification) lookAtWAL(disk sqlite.Disk) (readable bool, err error) {
	image, err := sqlite.OpenImage(disk, v.Path)
	if err != nil {
		return false, err
	}
	if err := image.CheckHeader(); err != nil {
		v.add(Problem{Kind: ProblemStructure, Detail: err.Error()})
	}
	lost := image.WALUnreadable()
	if lost > 0 {
		failure := sqlite.WALUnreadableError{Path: v.Path, Frames: lost}
		v.add(Problem{Kind: ProblemStructure, Detail: failure.Error()})
		v.Notes = append(v.Notes, "nothing else was looked at: look at dmesg first, the disk may only be away; a repair gives up what it does not give back")
	} else if image.WALDamaged() {
		v.add(Problem{Kind: ProblemStructure, Detail: "the WAL is damaged, and commits that were on disk lie behind the damage"})
	} else if image.HasTail() {
		v.Notes = append(v.Notes, "the WAL ends with a transaction that a crash has cut off; the next start keeps the whole frames in it")
	}
	return lost == 0, image.Close()
}

// VerifyOpen is Verify for a file that is open and that nobody writes to.
func VerifyOpen(ctx context.Context, path string, db *sqlite.DB) (Verification, error) {
	v := Verification{Path: path, Problems: []Problem{}}
	err := v.run(ctx, db, nil)
	return v, err
}

// verifier is one look at a file, in one snapshot per check.
type verifier struct {
	*Verification
	conn    *sqlite.Conn
	decoder *Decoder
	names   map[edge.SinkID]string
	rows    map[uint32]bool // by number of an owed set: whether it has a row; false once that was said
	head    edge.Position   // highest that any believed row knows
	needed  []need
	pace    *pacer
}

// need is a position from which on everything has to be stored, in frames or in
// quarantine: retention removes only what lies in front of all of them.
type need struct {
	first edge.Position
	sink  string // that waits for it; empty when a start reads it
}

// run makes the checks. It fails only when it could not look.
func (v *Verification) run(ctx context.Context, db *sqlite.DB, pace *pacer) error {
	return v.look(func(look func(*sqlite.Conn) error) error { return db.Read(ctx, look) }, pace)
}

// look is run for any way to read.
func (v *Verification) look(read func(look func(*sqlite.Conn) error) error, pace *pacer) error {
	decoder, err := NewDecoder(new(Logs))
	if err != nil {
		return err
	}
	look := verifier{Verification: v, decoder: decoder, names: map[edge.SinkID]string{edge.Ingress: edge.IngressName}, rows: map[uint32]bool{OwedMixed: true}, pace: pace}
	for _, check := range []func() error{look.trees, look.ledgerRow, look.sets, look.sinks, look.frames, look.letters, look.devices, look.counts, look.recount} {
		err := read(func(conn *sqlite.Conn) error {
			look.conn = conn
			return check()
		})
		switch {
		case IsDamage(err):
			v.add(Problem{Kind: ProblemStructure, Detail: err.Error()})
		case err != nil:
			return fmt.Errorf("verify: %w", err)
		}
	}
	return nil
}

func (v *verifier) trees() error {
	usage, err := v.conn.Usage()
	if err != nil {
		return err
	}
	v.FreeBytes = usage.Spare
	return v.conn.Query("PRAGMA integrity_check(100)", func(row sqlite.Row) error {
		if text := row.Text(0); text != "ok" {
			v.add(Problem{Kind: ProblemStructure, Detail: text})
		}
		return nil
	})
}

// CheckTables makes sure that the pages hold all rows of the tables on which everything
// depends. One bit in the head of a page hides rows without an error, or shows some that
// never were. These tables are small, whatever waits. No sink's row may be gone either. The
// error is [ErrRow].
func CheckTables(conn *sqlite.Conn) error {
	for _, table := range []string{"ledger", "owed", "sink"} {
		err := conn.Query("PRAGMA integrity_check("+table+")", func(row sqlite.Row) error {
			if text := row.Text(0); text != "ok" {
				return NewRowError("table %s: %s", table, text)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return checkSinks(conn)
}

// ledgerRow checks the one row of the ledger, and the logs before this one.
func (v *verifier) ledgerRow() error {
	var stored StoredLedger
	found, err := v.conn.One(SelectLedger, func(row sqlite.Row) { stored = ReadLedger(row) })
	if err != nil {
		return err
	}
	v.Quarantined = stored.Quarantined
	switch {
	case !found:
		v.add(Problem{Kind: ProblemRow, Detail: "ledger: there is no row"})
	case !stored.PlaceHolds():
		v.add(Problem{Kind: ProblemRow, Detail: "ledger: where the file is, is not what was written"})
	default:
		v.head = stored.Counted
		v.needed = append(v.needed, need{first: stored.Counted + 1})
	}
	if _, err := LoadLogs(v.conn, uint16(stored.Log)); errors.Is(err, ErrRow) {
		v.add(Problem{Kind: ProblemRow, Detail: err.Error()})
	} else if err != nil {
		return err
	}
	return nil
}

func (v *verifier) sets() error {
	last := int64(0)
	return v.conn.Query(SelectSets+" ORDER BY id", func(row sqlite.Row) error {
		stored := ReadSet(row)
		v.rows[uint32(stored.Number)] = true
		_, err := stored.Members()
		if last++; err != nil || stored.Number != last || !stored.Holds() {
			v.add(Problem{Kind: ProblemRow, Detail: fmt.Sprintf("owed set %d, %q, is not what was written", stored.Number, stored.Sinks)})
			last = stored.Number
		}
		return nil
	})
}

// sinks checks where each sink is, and what it counts.
func (v *verifier) sinks() error {
	if err := checkSinks(v.conn); errors.Is(err, ErrRow) {
		v.add(Problem{Kind: ProblemRow, Detail: err.Error()})
	} else if err != nil {
		return err
	}
	return v.conn.Query(SelectSinks+" ORDER BY id", func(row sqlite.Row) error {
		v.Sinks++
		stored := ReadSink(row)
		v.names[stored.ID] = stored.Name
		if _, err := ParseSpans(stored.Settled, stored.Cursor); err != nil || !stored.PlaceHolds() {
			v.add(Problem{Kind: ProblemRow, Position: stored.Cursor, Sink: stored.Name, Detail: "the cursor and ranges of the sink are not what was written"})
		} else {
			v.head = max(v.head, stored.Cursor-1)
			if stored.CountsHold() && stored.Pending() > 0 {
				v.needed = append(v.needed, need{stored.Cursor, stored.Name})
			}
		}
		if !stored.CountsHold() {
			v.add(Problem{Kind: ProblemLedger, Sink: stored.Name, Detail: "the counters of the sink are not what was written"})
		} else {
			v.head = max(v.head, stored.Counted)
		}
		return nil
	})
}

// frames reads every frame, and looks for positions that are nowhere.
func (v *verifier) frames() error {
	apart, err := QuarantinedSpans(v.conn)
	if err != nil {
		return err
	}
	next := edge.Position(0)
	gap := func(end edge.Position) {
		if next > 0 && next < end && !apart.Contains(Span{next, end}) {
			v.add(Problem{Kind: ProblemGap, Position: next, Detail: fmt.Sprintf("messages %d to %d are in no frame", next, end-1)})
		}
	}
	err = v.conn.Query(SelectFrames+" ORDER BY id", func(row sqlite.Row) error {
		if err := v.pace.rest(); err != nil {
			return err
		}
		stored := ReadFrame(row)
		if v.Frames++; v.Frames == 1 {
			v.front(stored.First, apart)
		}
		gap(stored.First)
		if stored.First < next {
			v.add(Problem{Kind: ProblemGap, Position: stored.First, Detail: fmt.Sprintf("messages %d to %d are in two frames", stored.First, next-1)})
		}
		next = stored.End()
		frame, err := v.decoder.DecodeStored(stored)
		if err != nil {
			v.add(Problem{Kind: ProblemFrame, Position: stored.First, Detail: err.Error()})
			return nil
		}
		v.setsOf(frame)
		v.Records += int64(stored.Count)
		return nil
	})
	if err != nil {
		return err
	}
	if v.Frames == 0 {
		v.front(v.head+1, apart)
	}
	gap(v.head + 1)
	return nil
}

// setsOf looks for the sets that a frame names. Without its row nobody can tell what was
// owed to whom.
func (v *verifier) setsOf(frame *Frame) {
	for _, number := range frame.Owed {
		if _, known := v.rows[number]; !known {
			v.rows[number] = false
			v.add(Problem{Kind: ProblemRow, Position: frame.First, Detail: fmt.Sprintf("owed set %d, which messages name, has no row", number)})
		}
	}
}

// front looks for positions in front of all frames that retention cannot have removed.
func (v *verifier) front(first edge.Position, apart Spans) {
	for _, need := range v.needed {
		if need.first < first && !apart.Contains(Span{need.first, first}) {
			v.add(Problem{Kind: ProblemGap, Position: need.first, Sink: need.sink, Detail: fmt.Sprintf("messages from %d on are needed, and the first that is stored is %d", need.first, first)})
		}
	}
}

func (v *verifier) letters() error {
	return v.conn.Query(SelectLetters+" ORDER BY sink, position", func(row sqlite.Row) error {
		if err := v.pace.rest(); err != nil {
			return err
		}
		letter := ReadLetter(row)
		v.DeadLetters++
		if _, err := v.decoder.DecodeLetter(&letter); err != nil {
			name := cmp.Or(v.names[letter.Sink], fmt.Sprint(letter.Sink))
			v.add(Problem{Kind: ProblemLetter, Position: letter.Position, Sink: name, Detail: err.Error()})
		}
		return nil
	})
}

func (v *verifier) devices() error {
	return v.conn.Query(SelectDevices, func(row sqlite.Row) error {
		v.Devices++
		if _, err := checkDevice(edge.DeviceID(row.Text(0)), row.Bytes(1)); err != nil {
			v.add(Problem{Kind: ProblemDevice, Detail: fmt.Sprintf("%s: %v", row.Text(0), err)})
		}
		return nil
	})
}

func (v *verifier) counts() error {
	_, err := v.conn.One("SELECT count(*) FROM attempt", func(row sqlite.Row) { v.Attempts = row.Int(0) })
	return err
}

// recount compares the counters with what is stored. Where rows are damaged, what
// they count says nothing.
func (v *verifier) recount() error {
	if v.Structural > 0 {
		v.Notes = append(v.Notes, "the ledger was not recounted: what it counts cannot all be read")
		return nil
	}
	sameSnapshot := func(_ context.Context, look func(*sqlite.Conn) error) error {
		if err := v.pace.rest(); err != nil {
			return err
		}
		return look(v.conn)
	}
	recount, err := CountFile(context.Background(), sameSnapshot, v.decoder)
	if err != nil {
		return err
	}
	if recount.Damaged > 0 {
		v.Notes = append(v.Notes, "the ledger was not compared with the file: what lies in damaged frames is still counted as pending")
		return nil
	}
	for _, mismatch := range recount.Mismatches {
		if mismatch.Field == fieldChecksum && mismatch.Account != edge.LedgerTotal {
			continue // found with the sink
		}
		v.add(Problem{Kind: ProblemLedger, Sink: mismatch.Account, Detail: fmt.Sprintf("%s: the counter says %d, the file holds %d", mismatch.Field, mismatch.Counted, mismatch.Recounted)})
	}
	return nil
}
