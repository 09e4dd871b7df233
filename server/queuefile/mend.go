package queuefile

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// ErrNotMended says that a file is more than its rows, and has to be salvaged.
var ErrNotMended = errors.New("the rows cannot be mended where they are")

// ErrWhole says that nothing is wrong with a file, whatever it was taken for.
var ErrWhole = errors.New("nothing is wrong with the file")

// mendBytes bounds what mending writes: the rows of sinks, sets and totals.
const mendBytes = 1 << 20

// onlyRows reports whether nothing is wrong with a file but rows that follow from
// others, or that have an older version: its trees, its frames and its dead letters
// are whole.
func (v *Verification) onlyRows() bool {
	for i := range v.Problems {
		if kind := v.Problems[i].Kind; kind != ProblemRow && kind != ProblemLedger {
			return false
		}
	}
	return v.Found > 0 && v.Found == int64(len(v.Problems))
}

// MendFound looks at a file and mends it. The error is [ErrWhole] when there is
// nothing to mend, and [ErrNotMended] when that is not enough.
func MendFound(ctx context.Context, disk sqlite.Disk, path string) (Salvaged, error) {
	found, err := Verify(ctx, disk, path)
	if err != nil {
		if isPassing(err) || ctx.Err() != nil {
			return Salvaged{}, err
		}
		return Salvaged{}, fmt.Errorf("%w: %w", ErrNotMended, err)
	}
	if found.Found == 0 {
		return Salvaged{}, ErrWhole
	}
	return mendFile(ctx, disk, path, &found)
}

// mendFile mends a file in place whose frames are whole, instead of copying them
// all: what a salvage would write into a new file takes the place of the damaged
// rows, in one transaction, after it was verified. Where something would be given
// up by that, nothing is changed, and the error is ErrNotMended: a salvage keeps
// the old file. Nobody may work with the file meanwhile.
func mendFile(ctx context.Context, disk sqlite.Disk, path string, found *Verification) (report Salvaged, err error) {
	if !found.onlyRows() {
		return report, ErrNotMended
	}
	tail, err := ReadTail(disk, path)
	if err == nil && tail != nil { // a start has taken it; nobody else has
		err = ErrNotMended
	}
	if err == nil {
		err = makeRoom(disk, path, mendBytes)
	}
	if err != nil {
		return report, err
	}
	db, err := Open(ctx, disk, path)
	if err != nil {
		return report, err
	}
	findings, err := newFindings(ctx, db)
	// To close a file that is read as an image may let go of the locks of SQLite.
	if err := errors.Join(err, db.Close()); err != nil {
		return report, err
	}
	findings.save = func([]statement) error { return nil } // it is where it was
	if err := findings.takeFrom(ctx, disk, path); err != nil {
		return report, err
	}
	if db, err = Open(ctx, disk, path); err != nil {
		return report, err
	}
	rebuild := &rebuild{findings: findings}
	err = db.Write(ctx, func(conn *sqlite.Conn) error { return rebuild.mend(ctx, conn, path) })
	if err := errors.Join(err, db.Close()); IsDamage(err) {
		return report, fmt.Errorf("%w: %w", ErrNotMended, err)
	} else if err != nil {
		return report, err
	}
	return rebuild.report, nil
}

// takeFrom takes what a whole file holds, and what is left of older versions of its
// rows.
func (f *findings) takeFrom(ctx context.Context, disk sqlite.Disk, path string) error {
	image, err := sqlite.OpenImage(disk, path)
	if err != nil {
		return err
	}
	err = errors.Join(image.Rows(ctx, f.take), image.Close())
	if err == nil && (image.Unreadable > 0 || image.Fault != nil) {
		err = ErrNotMended
	}
	return err
}

// mend writes the rows anew.
func (r *rebuild) mend(ctx context.Context, conn *sqlite.Conn, path string) (err error) {
	defer func() { // as for a salvage, which comes next
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: %w: %v\n%s", ErrNotMended, ErrFault, fault, debug.Stack())
		}
	}()
	if err := r.dropUnknown(conn); err != nil {
		return err
	}
	letters, err := countLetters(conn)
	if err != nil {
		return err
	}
	for _, table := range []string{"ledger", "owed", "sink", "death", "earlier_log"} {
		if err := conn.Exec("DELETE FROM " + table); err != nil {
			return err
		}
	}
	if err := inOrder(conn, r.openSinks, r.recount); err != nil {
		return err
	}
	left, err := countLetters(conn)
	if err != nil {
		return err
	}
	if left != letters || r.lost > 0 || r.report.Lost > 0 {
		return fmt.Errorf("%w: %d messages and %d dead letters would be given up", ErrNotMended, max(r.lost, r.report.Lost), letters-left)
	}
	after := Verification{Path: path}
	err = after.look(func(look func(*sqlite.Conn) error) error { return look(conn) }, nil)
	if err == nil && after.Found > 0 {
		err = fmt.Errorf("%w: %w", ErrNotMended, &DamagedError{Verification: after})
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// dropUnknown forgets sinks that have no row any more: their ids are never used
// twice, and what is left of them lies in free space.
func (r *rebuild) dropUnknown(conn *sqlite.Conn) error {
	known := map[edge.SinkID]bool{}
	err := conn.Query("SELECT id FROM sink", func(row sqlite.Row) error {
		known[edge.SinkID(row.Int(0))] = true
		return nil
	})
	for id := range r.findings.sinks {
		if !known[id] {
			delete(r.findings.sinks, id)
		}
	}
	return err
}

func countLetters(conn *sqlite.Conn) (count int64, err error) {
	_, err = conn.One("SELECT count(*) FROM dead", func(row sqlite.Row) { count = row.Int(0) })
	return count, err
}
