package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// TestServe_FilesTakenAway removes files from under a gateway that takes messages. It
// says so and ends by itself, and everything that it has acknowledged is there when
// it is started again, as long as the database file was left alone.
func TestServe_FilesTakenAway(t *testing.T) {
	for _, test := range []struct {
		name  string
		files []string
		kept  bool
	}{
		{"Log", []string{"queue.db-wal", "queue.db-shm"}, true},
		{"Lock", []string{"gateway.lock"}, true},
		{"LogAndLock", []string{"queue.db-wal", "queue.db-shm", "gateway.lock"}, true},
		{"Folder", []string{""}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			gateway := newGateway(t)
			gateway.SetSinks(harness.HTTPSinkYAML("away", freeAddress(t)))
			harness.Must(t, gateway.Start(t.Context()))
			acknowledged := 0
			for acknowledge(t, gateway, acknowledged) {
				if acknowledged++; acknowledged != 20 {
					continue
				}
				for _, file := range test.files {
					harness.Must(t, os.RemoveAll(filepath.Join(gateway.DataDir(), file)))
				}
			}
			code, err := gateway.Process().Wait(harness.Within(t, 30*time.Second))
			harness.Must(t, err)
			if log := gateway.Process().Log(); code != 1 || !strings.Contains(log, gateway.DataDir()) || !strings.Contains(log, "was removed or replaced") {
				t.Errorf("exit code %d, want 1, and a word of what was taken away: %s", code, log)
			}
			harness.Must(t, gateway.Start(t.Context()))
			waiting := int(metrics(t, gateway)[`gateway_queue_depth_messages{sink="away"}`])
			if test.kept && (waiting < acknowledged || waiting > acknowledged+1) || !test.kept && waiting != 0 {
				t.Errorf("%d messages wait of %d that were acknowledged", waiting, acknowledged)
			}
			t.Logf("%d acknowledged, %d of them after the files were gone", acknowledged, acknowledged-20)
		})
	}
}

// acknowledge sends a message and reports whether the gateway has taken it.
func acknowledge(t *testing.T, gateway *harness.Gateway, number int) bool {
	t.Helper()
	body := fmt.Sprintf(`{"schema_version":1,"boot_id":"b1","sequence":%d,"metrics":{"a":1}}`, number)
	request, err := http.NewRequestWithContext(harness.Within(t, 30*time.Second), http.MethodPost, gateway.URL("/ingest/d1"), strings.NewReader(body))
	harness.Must(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false // it has closed its doors
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusAccepted
}
