package e2e_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver

	"combotto.io/gateway/test/harness"
)

// queueFile is the database of a gateway that does not run.
func queueFile(gateway *harness.Gateway) string { return filepath.Join(gateway.DataDir(), "queue.db") }

// byHand changes the file of a gateway that does not run.
func byHand(t *testing.T, gateway *harness.Gateway, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", queueFile(gateway))
	harness.Must(t, err)
	_, err = db.Exec(statement)
	harness.Must(t, errors.Join(err, db.Close()))
}

// ctlExit runs gatewayctl and returns its exit code and what it printed.
func ctlExit(t *testing.T, gateway *harness.Gateway, args ...string) (int, string) {
	t.Helper()
	command := exec.CommandContext(harness.Within(t, 30*time.Second), binaries.Path("gatewayctl"), append([]string{"--url", gateway.URL("")}, args...)...)
	output, err := command.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(output)
}

// TestLedger counts what a gateway holds that is under load, then edits a counter
// by hand: the next start raises the alarm, and the command names it.
func TestLedger(t *testing.T) {
	harness.SkipShort(t, "10 s")
	receiver := newReceiver(t, nil)
	gateway := newGateway(t)
	gateway.SetSinks(gateway.FileSinkYAML(), harness.HTTPSinkYAML("analytics", receiver.Address()), harness.HTTPSinkYAML("away", freeAddress(t)))
	gateway.Config += "retention: {delivered: 1s}\n"
	harness.Must(t, gateway.Start(t.Context()))
	load := startLoad(t, gateway, "load", "--connections", "10", "--rate", "10000", "--duration", "4s")
	for verified := 0; ; verified++ {
		if code, said := ctlExit(t, gateway, "ledger", "verify"); code != 0 || !strings.Contains(said, "everything balances") {
			t.Fatalf("exit code %d under load: %s", code, said)
		}
		select {
		case <-load.Exited():
		default:
			continue
		}
		t.Logf("%d verifications", verified+1)
		break
	}
	if mismatches := metrics(t, gateway)["gateway_queue_ledger_mismatches"]; mismatches != 0 {
		t.Errorf("%v mismatches in a ledger that balances", mismatches)
	}
	stop(t, gateway)

	byHand(t, gateway, "UPDATE sink SET delivered = delivered + 1 WHERE name = 'analytics'")
	harness.Must(t, gateway.Start(t.Context()))
	if mismatches := metrics(t, gateway)["gateway_queue_ledger_mismatches"]; mismatches == 0 {
		t.Error("the start does not say that a counter was edited")
	}
	// A sink that has caught up waits for nothing, so that more is owed than is stored.
	wrong := regexp.MustCompile(`analytics +(pending|owed)_count`)
	if code, said := ctlExit(t, gateway, "ledger", "verify"); code != 4 || !wrong.MatchString(said) || !strings.Contains(said, "hint: ") {
		t.Errorf("exit code %d, want 4, and the counter: %s", code, said)
	}
	if code, said := ctlExit(t, gateway, "status"); code != 4 || !strings.Contains(said, "gatewayctl ledger verify") {
		t.Errorf("exit code %d: %s", code, said)
	}
	stop(t, gateway)
}

// TestDamage spoils a stored frame, which a lane meets, and then the file, which a
// start meets: everything else is delivered, and the metrics of the alarm are up.
func TestDamage(t *testing.T) {
	receiver := newReceiver(t, nil)
	harness.Must(t, receiver.Close())
	gateway := newGateway(t)
	gateway.SetSinks(harness.HTTPSinkYAML("analytics", receiver.Address()))
	harness.Must(t, gateway.Start(t.Context()))
	for i := range 3 {
		if status, answer := post(t, gateway.URL("/ingest/dev-1"), "application/x-ndjson", noise(i, 10)); status != 202 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	stop(t, gateway)
	byHand(t, gateway, "UPDATE frame SET body = CAST(substr(body, 1, 99) || iif(substr(body, 100, 1) = x'00', x'01', x'00') || substr(body, 101) AS BLOB) WHERE id = 11")
	harness.Must(t, receiver.Open())
	harness.Must(t, gateway.Start(t.Context()))
	awaitDrained(t, gateway, 20*time.Second)
	values := metrics(t, gateway)
	damaged := int(values["gateway_queue_quarantined_messages_total"]) // a request may be several commits
	if damaged < 1 || damaged > 10 || values["gateway_queue_salvaged_files_total"] != 0 {
		t.Errorf("after damage to a frame: %d quarantined, %v salvaged", damaged, values["gateway_queue_salvaged_files_total"])
	}
	if arrived := len(receiver.Accepted()); arrived != 30-damaged {
		t.Errorf("%d messages arrived, want %d", arrived, 30-damaged)
	}
	harness.Must(t, receiver.Close())
	if status, answer := post(t, gateway.URL("/ingest/dev-1"), "application/x-ndjson", noise(3, 10)); status != 202 {
		t.Fatalf("%d %s", status, answer)
	}
	stop(t, gateway)

	file, err := os.OpenFile(queueFile(gateway), os.O_RDWR, 0)
	harness.Must(t, err)
	_, err = file.WriteAt(bytes.Repeat([]byte{0xFF}, 64), 0)
	harness.Must(t, errors.Join(err, file.Close()))
	harness.Must(t, receiver.Open())
	harness.Must(t, gateway.Start(t.Context()))
	awaitDrained(t, gateway, 20*time.Second)
	if arrived := len(receiver.Accepted()); arrived < 40-damaged {
		t.Errorf("%d messages arrived, want %d", arrived, 40-damaged)
	}
	if salvaged := metrics(t, gateway)["gateway_queue_salvaged_files_total"]; salvaged != 1 {
		t.Errorf("%v files are salvaged, want 1", salvaged)
	}
	if code, said := ctlExit(t, gateway, "status"); code != 4 || !strings.Contains(said, "damaged") {
		t.Errorf("exit code %d: %s", code, said)
	}
	stop(t, gateway)
}

// TestFirstSchema goes on with the file of a gateway of the first schema: what was
// waiting is delivered under the ids that were answered then.
func TestFirstSchema(t *testing.T) {
	const testdata = "../../server/queue/crashtest/testdata/" // README.md tells how it was made
	gateway := newGateway(t)
	content, err := os.ReadFile(testdata + "schema1.db")
	harness.Must(t, err)
	harness.Must(t, os.MkdirAll(gateway.DataDir(), 0o700))
	harness.Must(t, os.WriteFile(queueFile(gateway), content, 0o600))
	analytics, upstream := newReceiver(t, nil), newReceiver(t, nil)
	gateway.SetSinks(gateway.FileSinkYAML(), harness.HTTPSinkYAML("analytics", analytics.Address()), harness.HTTPSinkYAML("upstream", upstream.Address()))
	harness.Must(t, gateway.Start(t.Context()))
	awaitDrained(t, gateway, 20*time.Second)

	answers, err := os.ReadFile(testdata + "schema1.jsonl")
	harness.Must(t, err)
	ids := map[string]bool{}
	for line := range bytes.Lines(answers) {
		var answer struct {
			ID string `json:"correlation_id"`
		}
		harness.Must(t, json.Unmarshal(line, &answer))
		ids[answer.ID] = true
	}
	for name, sink := range map[string]struct {
		receiver *harness.Receiver
		want     int
	}{"analytics": {analytics, 100}, "upstream": {upstream, 300}} {
		arrived := map[string]bool{}
		for _, record := range sink.receiver.Accepted() {
			if !ids[record.CorrelationID] {
				t.Errorf("%s: nobody was answered %s", name, record.CorrelationID)
			}
			arrived[record.CorrelationID] = true
		}
		if len(arrived) != sink.want {
			t.Errorf("%s: %d messages arrived, want %d", name, len(arrived), sink.want)
		}
	}
	if letters := deadLetters(t, gateway); len(letters) != 3 {
		t.Errorf("%d dead letters, want 3", len(letters))
	}
	if code, said := ctlExit(t, gateway, "ledger", "verify"); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	if _, err := os.Stat(queueFile(gateway) + ".schema-1"); err != nil {
		t.Errorf("the copy from before the migration: %v", err)
	}
	stop(t, gateway)

	byHand(t, gateway, "CREATE TABLE newer(a); PRAGMA user_version = 99")
	if code, log := exitOf(t, gateway, 10*time.Second); code != 2 || !strings.Contains(log, "newer program") {
		t.Errorf("a newer schema: exit code %d, want 2: %s", code, log)
	}
}
