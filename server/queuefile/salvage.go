package queuefile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"syscall"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// Salvaged is what a rebuilt file holds, and what it could not get back.
type Salvaged struct {
	Records     int64    `json:"messages"` // in frames
	DeadLetters int64    `json:"dead_letters"`
	Lost        int64    `json:"lost"` // records that some sink was still owed, and that are gone
	Sinks       []string `json:"sinks"`
	CursorsLost bool     `json:"cursors_lost"`     // a sink's row is gone: sinks that are new get everything again
	SetsLost    int      `json:"sets_lost"`        // sets of sinks that records name and whose rows are gone
	Unreadable  int      `json:"unreadable_pages"` // that the disk did not give back
	NewestLost  bool     `json:"newest_lost"`      // the WAL is damaged: how much of what was committed last is lost, nobody can say
	Complete    bool     `json:"complete"`         // for all that the old file says of itself, nothing of it is missing
	Fault       error    `json:"-"`                // of the program, which has left out a page
	Failure     error    `json:"-"`                // why nothing at all was salvaged
}

// positionsSkipped lie between what was read of a damaged file and what is stored
// next: receivers may know by its positions what the file has handed out and does not
// hold any more. Where all of a WAL may be gone, which holds any number of them while
// somebody reads it, they are as many as a restored file skips; see [Renewal].
const positionsSkipped = 1 << 20

// Where nothing says how many positions a file has given out, the next one lies
// above as many as 65,536 a second since 1970 would be, at a place of its own: two
// such files in a row share no positions either.
const (
	positionsPerSecond = 1 << 16
	positionsApart     = 1 << 40
	earliest           = 1_760_000_000 // Unix seconds, of 2025: clocks that are earlier are not believed here
)

func positionUnknown(now time.Time) edge.Position {
	return edge.Position(max(now.Unix(), earliest)*positionsPerSecond + rand.Int64N(positionsApart))
}

// salvage writes a fresh file from everything in an old one that is what was
// written, whatever else is wrong with it. The old one is only read. The fresh
// one has a log of its own, so that no correlation id is given twice.
//
// It trusts no structure of the old file: rows are carved out of its pages, and
// each is believed for its checksum. Rows that were deleted may come back that
// way, as far as there is room: dead letters, and what explains.
func salvage(ctx context.Context, disk sqlite.Disk, from, to string) (Salvaged, error) {
	report, err := salvageOnce(ctx, disk, from, to, false)
	if (sqlite.IsFull(err) || errors.Is(err, syscall.ENOSPC)) && ctx.Err() == nil {
		report, err = salvageOnce(ctx, disk, from, to, true)
	}
	return report, err
}

func salvageOnce(ctx context.Context, disk sqlite.Disk, from, to string, frugal bool) (Salvaged, error) {
	if err := removeDatabase(disk, to); err != nil {
		return Salvaged{}, err
	}
	image, err := sqlite.OpenImage(disk, from)
	if err != nil {
		return Salvaged{}, fmt.Errorf("read %s: %w", from, err)
	}
	fresh, err := Open(ctx, disk, to)
	if err != nil {
		return Salvaged{}, errors.Join(err, image.Close())
	}
	report, err := salvageInto(ctx, fresh, image, frugal)
	if err := errors.Join(err, image.Close(), closeWhole(fresh)); err != nil {
		return report, fmt.Errorf("salvage %s: %w", from, err)
	}
	return report, nil
}

func salvageInto(ctx context.Context, fresh *sqlite.DB, image *sqlite.Image, frugal bool) (report Salvaged, err error) {
	defer func() { // a start must not end with a fault of the program: the next one would, too
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrFault, fault, debug.Stack())
		}
	}()
	found, err := newFindings(ctx, fresh)
	if err != nil {
		return report, err
	}
	found.frugal = frugal
	if err := image.Rows(ctx, found.take); err != nil {
		return report, err
	}
	if found.flush(); found.err != nil {
		return report, found.err
	}
	rebuild := &rebuild{findings: found, lostRound: image.LostRound()}
	if err := fresh.Write(ctx, rebuild.run); err != nil {
		return report, err
	}
	rebuild.report.Unreadable, rebuild.report.Fault = image.Unreadable, image.Fault
	rebuild.report.NewestLost = image.WALDamaged()
	rebuild.report.Complete = rebuild.isComplete() && image.Unreadable == 0 && image.Fault == nil && !image.WALDamaged() && !image.HasTail()
	return rebuild.report, nil
}

// SalvageFile replaces a damaged file by what can be read of it, or by an empty
// one when not even that works. The damaged one is kept beside it. After an error the
// replacement may have begun; [FinishReplacements] goes on with it.
func SalvageFile(ctx context.Context, disk sqlite.Disk, path string) (report Salvaged, old OldFiles, err error) {
	building := path + suffixBuilding
	if err := roomToSalvage(disk, path, true); err != nil {
		return report, old, err
	}
	report, err = salvage(ctx, disk, path, building)
	if err != nil && isHopeless(err) && ctx.Err() == nil {
		// A read of the fresh file that fails passes for damage of that one.
		report, err = salvage(ctx, disk, path, building)
	}
	if err != nil && isHopeless(err) && ctx.Err() == nil {
		// Nothing is better than a gateway that never starts.
		report = Salvaged{CursorsLost: true, Failure: err}
		if err = buildEmpty(ctx, disk, building); err != nil {
			err = errors.Join(report.Failure, err)
		}
	}
	if err != nil {
		return report, old, errors.Join(err, removeDatabase(disk, building))
	}
	old, err = becauseSalvaged(&report).replace(disk, path)
	return report, old, err
}

// buildEmpty makes a queue that knows it is not the first.
func buildEmpty(ctx context.Context, disk sqlite.Disk, path string) error {
	if err := removeDatabase(disk, path); err != nil {
		return err
	}
	fresh, err := Open(ctx, disk, path)
	if err != nil {
		return err
	}
	found, err := newFindings(ctx, fresh)
	if err == nil {
		err = fresh.Write(ctx, (&rebuild{findings: found}).run)
	}
	return errors.Join(err, closeWhole(fresh))
}
