package crash_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/harness"
)

// killsPerPoint is how often the gateway dies at each point.
var killsPerPoint = flag.Int("kills-per-point", 3, "how often the gateway of TestPoint dies at each place")

// point is a place in the product's source at which the gateway kills itself:
// before a text that a file holds exactly once, or where instead says.
type point struct {
	name    string
	file    string // below the root of the product's module
	text    string
	instead string // what takes the text's place, with KILL for the call, or SOON for one that comes within 2 ms
	passes  int    // it dies at any of the first so many passes
	config  string // what makes the place reached soon
	load    []string
	when    moment
}

// moment is when a point is reached.
type moment int

const (
	underLoadOnly moment = iota
	duringStart          // after a crash
	firstStart           // where no file is yet
)

// What makes rare places come soon.
const (
	shortRetention = "retention: {delivered: 1s}\n"
	smallQueue     = "queue: {max_bytes: 64MiB}\n"
	// absentSink is one more line of the sinks: a sink for which everything expires.
	absentSink = "  - {name: absent, kind: http, ttl: 1s, http: {url: \"http://127.0.0.1:1/ingest\", format: ndjson}}\n"
)

// trickle makes small frames.
var trickle = []string{"--rate", "4000"}

var points = []point{
	{name: "before-append", file: "server/queue/transaction.go", text: "\t\trow := g.row()\n", passes: 30},
	{name: "after-frame", file: "server/queue/transaction.go", text: "\t\ttx.retention.appended(g)\n", passes: 30},
	{name: "before-commit", file: "server/sqlite/conn.go", text: "\t\terr = c.Exec(\"COMMIT\")\n", passes: 30},
	{name: "after-commit", file: "server/queue/commit.go", text: "\tc.endSave(tx.save, err)\n", passes: 30},
	{name: "before-replies", file: "server/queue/queue.go", text: "\t\tflush = g.reply(flush)\n", passes: 30},
	{name: "between-replies", file: "server/queue/group.go", text: "\t\tif entry.Replier.Reply(", passes: 2000},
	{name: "before-flush", file: "server/queue/group.go", text: "\t\treplier.Flush()\n", passes: 300},
	{name: "before-delivery", file: "server/dispatch/attempt.go", text: "\toutcome := sane(l.deliver(ctx, batch))\n", passes: 12},
	{name: "sink-accepted", file: "server/dispatch/attempt.go", text: "\tendedAt := time.Now()\n", passes: 12},
	{name: "file-written", file: "server/sink/filesink/files.go", text: "\tif err := f.file.Sync(); err != nil {\n", passes: 6},
	{name: "settled-not-saved", file: "server/queue/settle.go", text: "\tnudge(q.settled)\n", passes: 12},
	{name: "between-saves", file: "server/queue/save.go", text: "\t\tif err := c.writeAccount(conn, &s.accounts[i], tx); err != nil {\n", passes: 10},
	{name: "before-checkpoint", file: "server/sqlite/checkpoint.go", text: "\t_, err := db.checkpointer.One(\"PRAGMA wal_checkpoint(PASSIVE)\"", passes: 2, config: smallQueue},
	{name: "after-checkpoint", file: "server/sqlite/checkpoint.go", text: "\tif busy != 0 {\n", passes: 2, config: smallQueue},
	{
		name: "inside-checkpoint", file: "server/sqlite/checkpoint.go", text: "\tvar busy, pages, moved int64\n",
		instead: "\tvar busy, pages, moved int64\nSOON", passes: 2, config: smallQueue,
	},
	{name: "before-merge", file: "server/queue/merge.go", text: "\tif err := conn.Exec(\"DELETE FROM frame WHERE id >= ? AND id < ?\"", passes: 2, load: trickle},
	{name: "during-merge", file: "server/queue/merge.go", text: "\treturn row.Insert(conn)\n", passes: 2, load: trickle},
	{name: "after-merge", file: "server/queue/merge.go", text: "\tc.mergeNext()\n}\n\nfunc (c *committer) mergeNext", passes: 2, load: trickle},
	{name: "expired-not-saved", file: "server/queue/expire.go", text: "\tnudge(q.settled)\n", passes: 3, config: absentSink},
	{name: "loss-not-written", file: "server/queue/loss.go", text: "\t\tif err := added.Write(conn, sink); err != nil {\n", passes: 5, config: absentSink},
	{name: "before-retention", file: "server/queue/retention.go", text: "\treturn conn.Exec(\"DELETE FROM frame WHERE id <= ?\", last)\n", passes: 3, config: shortRetention},
	{
		name: "after-retention", file: "server/queue/retention.go", text: "\treturn conn.Exec(\"DELETE FROM frame WHERE id <= ?\", last)\n",
		instead: "\terr = conn.Exec(\"DELETE FROM frame WHERE id <= ?\", last)\nKILL\treturn err\n", passes: 3, config: shortRetention,
	},
	{name: "window-snapshot", file: "server/queue/transaction.go", text: "\t\tif err := tx.window.write(conn); err != nil {\n", passes: 1, config: shortRetention},
	{name: "wal-copied", file: "server/sqlite/wal.go", text: "\treturn frames, disk.Rename(fresh, wal)\n", passes: 1, when: duringStart},
	{name: "wal-renamed", file: "server/sqlite/sqlite.go", text: "\tdb := newDB(path, settings.Disk, roleReader, readersMax)\n", passes: 1, when: duringStart},
	{name: "before-mark", file: "server/sqlite/sqlite.go", text: "\treturn db.markRunning(ctx)\n", passes: 1, when: firstStart},
	{name: "during-recovery", file: "server/queue/recover.go", text: "\tif q.start.letters, err = queuefile.NewEncoder(); err != nil {\n", passes: 1, when: duringStart},
	{name: "migration-step", file: "server/sqlite/migrate.go", text: "\t\treturn conn.script(fmt.Sprintf(\"PRAGMA user_version=%d\", version))\n", passes: 2, when: firstStart},
	{name: "after-migration", file: "server/queue/recover.go", text: "\terr := q.db.Write(ctx, func(conn *sqlite.Conn) error {\n", passes: 1, when: firstStart},
}

// killCode is added to every package that has a point. KILL_AT holds the name of
// a point and the pass that is the last.
const killCode = `package %s

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

var killPasses atomic.Int64

func killHere(point string) {
	var pass int64
	if _, err := fmt.Sscanf(os.Getenv("KILL_AT"), point+":%%d", &pass); err != nil || killPasses.Add(1) != pass {
		return
	}
	fmt.Fprintln(os.Stderr, "killed at", point)
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}

// killSoon dies while the caller goes on.
func killSoon(point string) {
	go func() {
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		killHere(point)
	}()
}
`

// pointsOverlay puts every point into one gateway.
func pointsOverlay() harness.Overlay {
	overlay := overlayOf(slices.Concat(points, damagePoints, schemaPoints))
	overlay.Changes = append(overlay.Changes, harness.Change{File: "server/queue/merge.go", Old: "\tmergeRest = 5 * time.Second\n", New: "\tmergeRest = 100 * time.Millisecond\n"})
	return overlay
}

func overlayOf(points []point) harness.Overlay {
	overlay := harness.Overlay{Added: map[string]string{}}
	for _, point := range points {
		call := fmt.Sprintf("\tkillHere(%q)\n", point.name)
		instead := strings.Replace(cmp.Or(point.instead, "KILL"+point.text), "KILL", call, 1)
		instead = strings.Replace(instead, "SOON", fmt.Sprintf("\tkillSoon(%q)\n", point.name), 1)
		overlay.Changes = append(overlay.Changes, harness.Change{File: point.file, Old: point.text, New: instead})
		folder := path.Dir(point.file)
		overlay.Added[folder+"/kill_here.go"] = fmt.Sprintf(killCode, path.Base(folder))
	}
	return overlay
}

// buildPoints builds the gateway with every point, once for all tests.
var buildPoints = sync.OnceValues(func() (string, error) {
	return binaries.BuildOverlay(context.Background(), "points", pointsOverlay())
})

// TestPoint kills the gateway at every named place, again and again.
func TestPoint(t *testing.T) {
	harness.SkipShort(t, "half a minute")
	binary, err := buildPoints()
	harness.Must(t, err)
	for _, point := range points {
		t.Run(point.name, func(t *testing.T) {
			runs, kills := 1, *killsPerPoint
			if point.when == firstStart {
				runs, kills = *killsPerPoint, 1
			}
			for range runs {
				r := newRig(t, binary)
				r.gateway.Config += point.config
				for range kills {
					r.dieAt(&point)
				}
				r.finishWell()
			}
		})
	}
}

// dieAt runs the gateway until it dies at a point. When that is not under load,
// it is under load before or after it.
func (r *rig) dieAt(point *point) {
	r.t.Helper()
	if point.when == duringStart {
		r.cycle()
	}
	r.dieAtPass(point, 1+r.random.IntN(point.passes))
	if point.when == firstStart {
		r.cycle()
	}
}

// dieAtPass starts the gateway and waits until it dies at the given pass.
func (r *rig) dieAtPass(point *point, pass int) {
	r.t.Helper()
	r.gateway.Env = []string{fmt.Sprintf("KILL_AT=%s:%d", point.name, pass)}
	r.launch()
	if point.when == underLoadOnly {
		r.lives = append(r.lives, life{began: acklog.Now()})
		if r.load == nil {
			r.startLoad(point.load...)
		}
		r.awaitDeath(point)
		r.noteEnd()
		r.awaitCut()
	} else {
		r.awaitDeath(point)
	}
	r.gateway.Env = nil
}

// awaitDeath waits until the gateway has killed itself, and nothing else has.
func (r *rig) awaitDeath(point *point) {
	r.t.Helper()
	process, exited := r.gateway.Process(), (<-chan struct{})(nil)
	if r.load != nil {
		exited = r.load.Exited()
	}
	select {
	case <-process.Exited():
	case <-exited:
		r.t.Fatalf("the generator ended before the gateway died at %s: %s", point.name, r.load.LogTail())
	case <-time.After(patience):
		r.t.Fatalf("%v were not enough to reach %s: %+v\n%s", patience, point.name, r.load.Progress(), process.LogTail())
	}
	code, err := process.Wait(r.t.Context())
	harness.Must(r.t, err)
	if code != -1 || !strings.HasSuffix(strings.TrimSpace(process.Log()), "killed at "+point.name) {
		r.t.Fatalf("exit code %d without a kill at %s: %s", code, point.name, process.LogTail())
	}
}
