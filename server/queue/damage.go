package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// openFile opens the file, and replaces it first when it is damaged. What looks
// damaged is looked at twice, because an error of the disk may pass for damage.
func openFile(ctx context.Context, settings Settings, observer *observe.Observer) (*Queue, error) {
	path, err := filepath.Abs(settings.Path)
	if err != nil {
		return nil, err
	}
	settings.Path = path
	moved, err := queuefile.FinishReplacements(ctx, settings.Disk, path)
	reportMoved(moved, observer)
	if err != nil {
		return nil, err
	}
	if err := noteMissing(&settings); err != nil {
		return nil, err
	}
	q, err := lookAndOpen(ctx, settings, observer)
	if queuefile.IsDamage(err) {
		observer.Log.Error("the queue's file looks damaged: it is looked at once more", "path", path, "error", err.Error())
		q, err = lookAndOpen(ctx, settings, observer)
	}
	if queuefile.IsDamage(err) {
		q, err = repairAndOpen(ctx, settings, observer, err)
	}
	if err != nil {
		return nil, err
	}
	if err := reportCopies(settings.Disk, path, observer); err != nil {
		observer.Log.Warn("whether there are copies of the queue's file is not known", "error", err)
	}
	return q, nil
}

// repairAndOpen mends a damaged file in place, or puts what can be read of it into
// a new one.
func repairAndOpen(ctx context.Context, settings Settings, observer *observe.Observer, why error) (*Queue, error) {
	disk, path := settings.Disk, settings.Path
	report, err := queuefile.MendFound(ctx, disk, path)
	if errors.Is(err, queuefile.ErrWhole) {
		observer.Log.Error("the disk has twice given back what is not in the queue's file", "error", why.Error(), "hint", "look at dmesg and smartctl; docs/runbooks/disk-errors.md")
		q, again := lookAndOpen(ctx, settings, observer)
		if !queuefile.IsDamage(again) {
			return q, again
		}
		why, err = again, queuefile.ErrNotMended // a start must not fail for ever
	}
	if err == nil {
		observer.Log.Error("rows of the queue's file were damaged, and were mended in place: no message is lost", "error", why.Error(),
			"messages", report.Records, "dead_letters", report.DeadLetters, "everything_is_sent_again", report.CursorsLost, "sent_to_more_sinks", report.SetsLost > 0,
			"hint", "look at the disk; docs/runbooks/damaged-queue.md")
	} else if !errors.Is(err, queuefile.ErrNotMended) {
		return nil, fmt.Errorf("mend a damaged file (%w): %w", why, err)
	} else if err := salvageAndTell(ctx, disk, path, observer, why); err != nil {
		return nil, err
	}
	if err := queuefile.ClearSuspect(disk, path); err != nil {
		return nil, err
	}
	return openOnce(ctx, settings, observer, nil)
}

func salvageAndTell(ctx context.Context, disk sqlite.Disk, path string, observer *observe.Observer, why error) error {
	report, old, err := queuefile.SalvageFile(ctx, disk, path)
	reportRemoved(old, observer)
	if err != nil {
		return fmt.Errorf("salvage a damaged file (%w): %w", why, err)
	}
	newest := "nothing that is known"
	if report.NewestLost {
		newest = "unknown"
	}
	observer.Log.Error("the queue's file was damaged: what could be read is in a new one, and the old one is kept",
		"error", why.Error(), "salvage_error", report.Failure, "kept", old.Kept, "messages", report.Records, "dead_letters", report.DeadLetters, "lost", report.Lost, "newest_lost", newest,
		"everything_is_sent_again", report.CursorsLost, "sent_to_more_sinks", report.SetsLost > 0, "unreadable_pages", report.Unreadable, "complete", report.Complete, "fault", report.Fault,
		"hint", "replace the disk when it fails; docs/runbooks/damaged-queue.md says what to do with the old file")
	return nil
}

// reportMoved says which files had the name of a replacement, also when the start gives up.
func reportMoved(moved []queuefile.MovedFile, observer *observe.Observer) {
	for _, file := range moved {
		reportRemoved(file.OldFiles, observer)
		if file.Unfit != "" {
			observer.Log.Error("a file that is no replacement of the queue's had the name of one: it was set aside, and does not take the place of the queue's own file", "file", file.Path, "kept", file.Kept, "reason", file.Unfit,
				"hint", "when a repair, a restore or a compaction was interrupted, look at the disk and do it again; docs/runbooks/damaged-queue.md")
			continue
		}
		observer.Log.Warn("a file has taken the place of the queue's: it stood where one does when a crash interrupts a repair, a restore or a compaction", "file", file.Path, "kept", file.Kept,
			"hint", "when nothing of that kind was going on somebody has put it there, and what was stored since it was made is in the file that is kept, or gone; docs/how-to/backup-and-restore.md")
	}
}

// reportRemoved says what was removed because newer files were set aside.
func reportRemoved(old queuefile.OldFiles, observer *observe.Observer) {
	if old.Removed != "" {
		observer.Log.Warn("an earlier file of the queue was removed: it was damaged, all that it held was salvaged, and there are newer ones", "removed", old.Removed)
	}
}

// reportCopies names the earlier versions of the file, and what else was set aside.
func reportCopies(disk sqlite.Disk, path string, observer *observe.Observer) error {
	files, err := queuefile.KeptFiles(disk, path)
	for _, file := range files {
		if file.Why == "" {
			observer.Log.Info("the queue's file was migrated, and a copy from before is kept", "copy", file.Path, "bytes", file.Bytes, "schema", file.Schema,
				"hint", "remove it when you will not go back to the program that wrote it")
			continue
		}
		observer.Log.Warn("a file that was moved aside is still kept", "kept", file.Path, "bytes", file.Bytes, "reason", file.Why,
			"hint", "remove it when nobody wants to look into it any more; docs/runbooks/damaged-queue.md")
	}
	return err
}

// lookAndOpen opens the file unless a look at it finds damage that SQLite would
// not see.
func lookAndOpen(ctx context.Context, settings Settings, observer *observe.Observer) (*Queue, error) {
	tail, err := queuefile.ReadTail(settings.Disk, settings.Path)
	if err != nil {
		return nil, err
	}
	if tail != nil && tail.Fault != nil {
		observer.Log.Error("a part of the WAL that a crash has cut off could not be looked at", "error", fmt.Errorf("%w: %w", queuefile.ErrFault, tail.Fault))
	}
	marked, err := queuefile.IsSuspect(settings.Disk, settings.Path)
	if err != nil {
		return nil, err
	}
	q, err := openOnce(ctx, settings, observer, tail)
	if err != nil || !marked {
		return q, err
	}
	verification, err := queuefile.VerifyOpen(ctx, q.settings.Path, q.db)
	if err == nil && verification.Structural > 0 {
		err = queuefile.NewRowError("%s", verification.Problems[0].Detail)
	}
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, queuefile.ClearSuspect(settings.Disk, settings.Path)
}

// explain checks that positions from a sink's cursor on, which are in no frame, are
// known to be gone: they are in quarantine, or lie in front of all frames, where
// retention removes what no sink waits for. Otherwise the file has lost them.
func (q *Queue) explain(ctx context.Context, a *account, gap queuefile.Span) error {
	inside, anywhere := false, false // positions are missing among the frames; or, perhaps, in front of them
	err := q.read(ctx, func(conn *sqlite.Conn) error {
		front, err := oldestStored(conn)
		if err != nil {
			return err
		}
		if front == 0 {
			front = gap.End
		}
		apart, err := queuefile.QuarantinedSpans(conn)
		if err != nil {
			return err
		}
		behind := queuefile.Span{First: max(gap.First, front), End: gap.End}
		inside = behind.First < behind.End && !apart.Contains(behind)
		anywhere = !apart.Contains(gap)
		return nil
	})
	if err == nil && (inside || anywhere && a.needs(gap.First)) {
		err = queuefile.NewRowError("positions %d to %d are in no frame", gap.First, gap.End-1)
	}
	return q.readFailed(err)
}

// needs reports whether a position that was undecided is so still, and the sink waits
// for something there or behind it. Then its frame was never removed: whoever has
// decided it meanwhile, and had it removed, has moved the cursor before.
func (a *account) needs(position edge.Position) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Pending() > 0 && !a.unsure && !a.decided(position)
}

// suspect lets the next start look at the whole file, when it may be damaged.
func (q *Queue) suspect(why error) {
	if !isCorrupt(why) {
		return
	}
	if err := queuefile.MarkSuspect(q.settings.Disk, q.settings.Path, why); err != nil {
		q.observer.Log.Warn("the next start does not know that the file may be damaged", "error", err)
	}
}
