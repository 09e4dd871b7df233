package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// noteMissing lets the start know of a queue that was there and is not any more. What
// it would make in its place would begin at position 1, and receivers that know
// batches by their positions would take its messages for those they have.
func noteMissing(settings *Settings) error {
	if !settings.Known {
		return nil
	}
	for _, suffix := range []string{"", "-wal"} {
		if _, err := settings.Disk.Size(settings.Path + suffix); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return sqlite.MarkGone(settings.Disk, settings.Path)
}

// goOnAbove lets a file of which something was removed while nobody looked go on far
// above what it can have handed out, as a restored one does.
func goOnAbove(ctx context.Context, settings *Settings, observer *observe.Observer, db *sqlite.DB) error {
	if !db.Gone() {
		return nil
	}
	head, next, err := renew(ctx, db, queuefile.NewRenewal(settings.Path), Settings{
		Path: settings.Path, Disk: settings.Disk, BuiltAt: settings.BuiltAt, Uptime: settings.Uptime,
	})
	if err != nil {
		return fmt.Errorf("go on above what was removed: %w", err)
	}
	if err := db.AcceptGone(); err != nil {
		return fmt.Errorf("go on above what was removed: %w", err)
	}
	what := "the queue's WAL was removed or emptied after the gateway was killed: what was acknowledged last is lost, and what was delivered last is delivered again, unless a program such as the sqlite3 shell has moved the WAL into the file"
	if head == 0 {
		what = "the queue was removed, or its WAL before anything was moved out of it: whatever was in it is lost"
	}
	observer.Log.Error(what, "path", settings.Path, "messages_up_to", head, "goes_on_behind", next,
		"hint", "stop the gateway and put the files back if they are anywhere; docs/runbooks/damaged-queue.md")
	return nil
}
