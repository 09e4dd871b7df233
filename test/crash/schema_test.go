package crash_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/verify"
)

// schemaPoints are the places at which a gateway dies that migrates its file.
var schemaPoints = []point{
	{name: "schema-read", file: "server/sqlite/copy.go", text: "\tif err := db.Copy(ctx, SchemaCopy(db.path, version)); err != nil {\n", passes: 1, when: firstStart},
	{
		name: "schema-copying", file: "server/sqlite/copy.go", text: "\t\terr = db.syncMeanwhile(path, func()",
		instead: "SOON\t\terr = db.syncMeanwhile(path, func()", passes: 1, when: firstStart,
	},
	{name: "schema-copied", file: "server/sqlite/copy.go", text: "\treturn db.disk.Rename(building, to)\n", passes: 1, when: firstStart},
	{name: "schema-kept", file: "server/sqlite/migrate.go", text: "\tfor ; version < steps.newest(); version++ {\n", passes: 1, when: firstStart},
	{name: "schema-changing", file: "server/sqlite/migrate.go", text: "\t\tif err := conn.script(step.text); err != nil {\n", passes: 1, when: firstStart},
	{
		name: "schema-changed", file: "server/sqlite/migrate.go", text: "\t\t\treturn fmt.Errorf(\"migrate %s: %w\", steps.list[version].name, err)\n\t\t}\n",
		instead: "\t\t\treturn fmt.Errorf(\"migrate %s: %w\", steps.list[version].name, err)\n\t\t}\nKILL", passes: 1, when: firstStart,
	},
}

// TestPoint_FirstSchema kills a gateway at each step of the migration of a file
// that one of the first schema has written. What is there after it is old or new,
// and the start after it delivers what was waiting.
func TestPoint_FirstSchema(t *testing.T) {
	harness.SkipShort(t, "10 s")
	binary, err := buildPoints()
	harness.Must(t, err)
	both := []point{{name: "migration-step"}, {name: "after-migration"}} // of points
	for _, point := range append(both, schemaPoints...) {
		t.Run(point.name, func(t *testing.T) {
			point.when = firstStart
			r := newRig(t, binary)
			upstream, err := harness.NewReceiver(nil)
			harness.Must(t, err)
			harness.AtEnd(t, upstream.Close)
			r.setSinks(harness.HTTPSinkYAML("upstream", upstream.Address()))
			content, err := os.ReadFile(firstSchema + ".db")
			harness.Must(t, err)
			harness.Must(t, os.MkdirAll(r.gateway.DataDir(), 0o700))
			harness.Must(t, os.WriteFile(r.queueFile(), content, 0o600))

			r.dieAtPass(&point, 1)
			version := schemaOf(t, r.queueFile())
			if want := map[string]int{"schema-changed": 2, "after-migration": 2}[point.name]; version != max(want, 1) && point.name != "schema-copying" {
				t.Errorf("killed at %s, the file has schema %d", point.name, version)
			}
			if version == 1 { // the next start comes to the same place
				r.dieAtPass(&point, 1)
				schemaOf(t, r.queueFile())
			}
			harness.Must(t, r.gateway.Start(t.Context()))
			r.awaitDrained(patience)
			checkFirstSchema(t, r, upstream)
			code, err := r.gateway.Stop(t.Context())
			harness.Must(t, err)
			if version := schemaOf(t, r.queueFile()); code != 0 || version != 2 {
				t.Errorf("exit code %d, schema %d", code, version)
			}
			if version := schemaOf(t, r.queueFile()+".schema-1"); version != 1 {
				t.Errorf("the copy from before has schema %d", version)
			}
		})
	}
}

// firstSchema names a file of the first schema and what its gateway has answered;
// the README.md beside them tells how they were made.
const firstSchema = "../../server/queue/crashtest/testdata/schema1"

// schemaOf returns the version of a file's schema. What the file holds is all that
// it held before, and the copy that was made of it is whole, or not there.
func schemaOf(t *testing.T, path string) (version int) {
	t.Helper()
	look := func(db *sql.DB) error {
		var sound string
		var messages, letters int
		err := db.QueryRow("SELECT (SELECT sum(n) FROM frame), (SELECT count(*) FROM dead)").Scan(&messages, &letters)
		if err == nil {
			err = db.QueryRow("PRAGMA integrity_check").Scan(&sound)
		}
		if err == nil && (messages != 300 || letters != 3 || sound != "ok") {
			err = fmt.Errorf("%s: %d messages, %d dead letters, integrity_check: %s", path, messages, letters, sound)
		}
		return errors.Join(err, db.QueryRow("PRAGMA user_version").Scan(&version))
	}
	if _, err := os.Stat(path + ".schema-1"); err == nil {
		harness.Must(t, verify.WithCopy(path+".schema-1", look))
		if version != 1 {
			t.Errorf("the copy from before has schema %d", version)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	harness.Must(t, verify.WithCopy(path, look))
	return version
}

// checkFirstSchema judges what has arrived by the correlation ids that the gateway
// of the first schema answered with.
func checkFirstSchema(t *testing.T, r *rig, upstream *harness.Receiver) {
	t.Helper()
	answers, err := os.ReadFile(firstSchema + ".jsonl")
	harness.Must(t, err)
	answered := map[string]bool{}
	for line := range bytes.Lines(answers) {
		var answer struct {
			ID string `json:"correlation_id"`
		}
		harness.Must(t, json.Unmarshal(line, &answer))
		answered[answer.ID] = true
	}
	arrived := map[string]map[string]int{"analytics": {}, "upstream": {}}
	harness.Must(t, harness.ReadReceived(r.received, func(record *harness.Record) error {
		arrived["analytics"][record.CorrelationID]++
		return nil
	}))
	for _, record := range upstream.Accepted() {
		arrived["upstream"][record.CorrelationID]++
	}
	for sink, want := range map[string]int{"analytics": 100, "upstream": 300} {
		if len(arrived[sink]) != want {
			t.Errorf("%s: %d messages arrived, want %d", sink, len(arrived[sink]), want)
		}
		for id, times := range arrived[sink] {
			if !answered[id] || times != 1 {
				t.Errorf("%s: %s arrived %d times, answered: %v", sink, id, times, answered[id])
			}
		}
	}
	harness.Must(t, harness.ReadFileSink(r.gateway.OutDir(), func(record *harness.Record) error {
		return fmt.Errorf("archive had %s before", record.CorrelationID)
	}))
}
