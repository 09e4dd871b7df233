package crash_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"combotto.io/gateway/test/harness"
)

// operationPoints are the places at which a gatewayctl dies that works on files: each
// step of an operation ends with one of them, whatever the operation is.
var operationPoints = []point{
	{name: "before-rename", file: "server/sqlite/disk.go", text: "\tif err := d.files().Rename(from, to); err != nil {\n"},
	{name: "after-rename", file: "server/sqlite/disk.go", text: "\treturn d.SyncFolder(filepath.Dir(to))\n"},
	{name: "after-remove", file: "server/sqlite/disk.go", text: "\treturn d.SyncFolder(filepath.Dir(path))\n"},
	{name: "before-commit", file: "server/sqlite/conn.go", text: "\t\terr = c.Exec(\"COMMIT\")\n"},
	{
		name: "while-copying", file: "server/sqlite/copy.go", text: "\t\terr = db.syncMeanwhile(path, func()",
		instead: "SOON\t\terr = db.syncMeanwhile(path, func()",
	},
}

func operationsOverlay() harness.Overlay {
	overlay := overlayOf(operationPoints)
	overlay.Program = "gatewayctl"
	return overlay
}

// fileOperation is a command that works on the file of a stopped gateway.
type fileOperation struct {
	name    string
	spoil   func(t *testing.T, path string)
	line    []string // of gatewayctl queue
	reaches string   // the points that it comes to
}

var fileOperations = []fileOperation{
	{"Repair", spoilFirst, []string{"repair", "--yes"}, "before-rename after-rename before-commit"},
	{"Mend", spoilCounter, []string{"repair", "--yes"}, "before-commit"},
	{"Compact", nil, []string{"compact"}, "before-rename after-rename after-remove while-copying"},
	{"Restore", nil, []string{"restore", "--force", "BACKUP"}, "before-rename after-rename before-commit while-copying"},
}

// TestPoint_Operation kills gatewayctl at every step of repair, compact and restore.
// The same command ends well then, and so does a start without it, which delivers all
// that was waiting.
func TestPoint_Operation(t *testing.T) {
	harness.SkipShort(t, "half a minute")
	binary, err := binaries.BuildOverlay(t.Context(), "operations", operationsOverlay())
	harness.Must(t, err)
	backup := waitingFile(t)
	for _, operation := range fileOperations {
		for _, point := range operationPoints {
			if !strings.Contains(operation.reaches, point.name) {
				continue
			}
			t.Run(operation.name+"/"+point.name, func(t *testing.T) {
				passes := 0
				for tries := 0; passes == 0 && tries < 5; tries++ { // what dies a moment later may have ended before
					for dieIn(t, binary, &operation, fmt.Sprintf("%s:%d", point.name, passes+1), backup) {
						passes++
					}
				}
				if passes == 0 {
					t.Error("the operation does not come there")
				}
				t.Logf("%d kills", passes)
			})
		}
	}
}

// dieIn lets gatewayctl die at a place, and looks at what that leaves. It reports
// whether gatewayctl has come there.
func dieIn(t *testing.T, binary string, operation *fileOperation, place, backup string) (killed bool) {
	t.Helper()
	r := newRig(t, binaries.Path("gateway"))
	copyFile(t, backup, r.queueFile())
	if operation.spoil != nil {
		operation.spoil(t, r.queueFile())
	}
	code := operation.run(t, binary, r.gateway.DataDir(), backup, "KILL_AT="+place)
	if killed = code == -1; !killed && code != 0 {
		t.Fatalf("exit code %d without a kill at %s", code, place)
	}
	again := filepath.Join(t.TempDir(), "data")
	harness.Must(t, os.CopyFS(again, os.DirFS(r.gateway.DataDir())))
	if code := operation.run(t, binaries.Path("gatewayctl"), again, backup); code != 0 {
		t.Errorf("after a kill at %s the same command ends with %d", place, code)
	} else if version := schemaOf(t, filepath.Join(again, "queue.db")); version != 2 {
		t.Errorf("after a kill at %s the file has schema %d", place, version)
	}
	upstream, err := harness.NewReceiver(nil)
	harness.Must(t, err)
	defer upstream.Close()
	r.setSinks(harness.HTTPSinkYAML("upstream", upstream.Address()))
	harness.Must(t, r.gateway.Start(t.Context()))
	r.awaitDrained(patience)
	checkFirstSchema(t, r, upstream)
	if code, err := r.gateway.Stop(t.Context()); err != nil || code != 0 {
		t.Errorf("after a kill at %s the gateway ends with %d, %v", place, code, err)
	}
	if t.Failed() {
		t.FailNow()
	}
	return killed
}

// run returns how gatewayctl ends, -1 when it was killed.
func (o *fileOperation) run(t *testing.T, binary, dir, backup string, env ...string) (code int) {
	t.Helper()
	line := []string{"queue"}
	for _, word := range o.line {
		line = append(line, strings.Replace(word, "BACKUP", backup, 1))
	}
	command := exec.Command(binary, append(line, "--data-dir", dir)...)
	command.Env = append(os.Environ(), env...)
	process, err := harness.Start("gatewayctl", filepath.Join(t.TempDir(), "gatewayctl.log"), command)
	harness.Must(t, err)
	code, err = process.Wait(harness.Within(t, patience))
	harness.Must(t, err)
	if code > 0 {
		t.Log(process.LogTail())
	}
	return code
}

// waitingFile returns a file that is closed and for whose sinks messages wait: one of
// the first schema, which a gateway has migrated.
func waitingFile(t *testing.T) string {
	t.Helper()
	r := newRig(t, binaries.Path("gateway"))
	harness.Must(t, r.receiver.Kill())
	away, err := harness.FreeAddress()
	harness.Must(t, err)
	r.setSinks(harness.HTTPSinkYAML("upstream", away))
	copyFile(t, firstSchema+".db", r.queueFile())
	harness.Must(t, r.gateway.Start(t.Context()))
	code, err := r.gateway.Stop(t.Context())
	harness.Must(t, err)
	if version := schemaOf(t, r.queueFile()); code != 0 || version != 2 {
		t.Fatalf("exit code %d, schema %d", code, version)
	}
	return r.queueFile()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	harness.Must(t, err)
	harness.Must(t, os.MkdirAll(filepath.Dir(to), 0o700))
	harness.Must(t, os.WriteFile(to, content, 0o600))
}

// spoilFirst overwrites the beginning of a file, which holds no message.
func spoilFirst(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	harness.Must(t, err)
	copy(content, bytes.Repeat([]byte{0xFF}, 64))
	harness.Must(t, os.WriteFile(path, content, 0o600))
}

// spoilCounter changes a row that follows from others, and not its checksum.
func spoilCounter(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	harness.Must(t, err)
	_, err = db.Exec("UPDATE death SET ever = ever + 1")
	harness.Must(t, errors.Join(err, db.Close()))
}
