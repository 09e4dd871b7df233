package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// ctl runs gatewayctl against a gateway and returns what it printed.
func ctl(t *testing.T, gateway *harness.Gateway, args ...string) string {
	t.Helper()
	command := exec.CommandContext(harness.Within(t, 30*time.Second), binaries.Path("gatewayctl"), append([]string{"--url", gateway.URL("")}, args...)...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("gatewayctl %v: %v\n%s%s", args, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// shownDeadLetter is what the test reads of gatewayctl dlq list --output json.
type shownDeadLetter struct {
	ID      string `json:"deadLetterId"`
	Sink    string `json:"sinkName"`
	Reason  string `json:"reason"`
	Status  string `json:"status"`
	Excerpt string `json:"excerpt"`
	Record  struct {
		Device        string `json:"deviceId"`
		CorrelationID string `json:"correlationId"`
	} `json:"record"`
}

func listDeadLetters(t *testing.T, gateway *harness.Gateway) []shownDeadLetter {
	t.Helper()
	var letters []shownDeadLetter
	for line := range strings.Lines(ctl(t, gateway, "dlq", "list", "--output", "json")) {
		var letter shownDeadLetter
		if err := json.Unmarshal([]byte(line), &letter); err != nil {
			t.Fatalf("gatewayctl dlq list prints %q: %v", line, err)
		}
		letters = append(letters, letter)
	}
	return letters
}

const refusalText = "temperature_c is outside of the calibrated range"

// refusePoison answers 422 to every batch that holds a record of the device
// "poison", until mended.
func refusePoison(mended *atomic.Bool) func(harness.Request) harness.Answer {
	return func(request harness.Request) harness.Answer {
		for _, record := range request.Records {
			if record.DeviceID == "poison" && !mended.Load() {
				return harness.Answer{Status: http.StatusUnprocessableEntity, Body: refusalText}
			}
		}
		return harness.Accept
	}
}

// TestDeadLetter follows a record that the receiver refuses from the refusal to
// its delivery after the receiver was mended.
func TestDeadLetter(t *testing.T) {
	var mended atomic.Bool
	receiver := newReceiver(t, refusePoison(&mended))
	gateway := newGateway(t)
	gateway.SetSinks(gateway.FileSinkYAML(), harness.HTTPSinkYAML("analytics", receiver.Address()))
	harness.Must(t, gateway.Start(t.Context()))

	var poison string
	for _, device := range []string{"good-1", "poison", "good-2", "good-3"} {
		status, answer := post(t, gateway.URL("/ingest/"+device), "application/json", []byte(`{"schema_version":1,"boot_id":"b1","sequence":7,"metrics":{"temperature_c":999}}`))
		if status != http.StatusAccepted {
			t.Fatalf("%s: status %d: %s", device, status, answer)
		}
		if device == "poison" {
			poison = correlationID(t, answer)
		}
	}
	awaitDrained(t, gateway, 20*time.Second)

	letters := listDeadLetters(t, gateway)
	if len(letters) != 1 {
		t.Fatalf("dead letters: %+v, want one", letters)
	}
	letter := letters[0]
	if letter.Sink != "analytics" || letter.Status != "422" || letter.Excerpt != refusalText || letter.Record.Device != "poison" || letter.Record.CorrelationID != poison {
		t.Errorf("dead letter %+v", letter)
	}
	if table := ctl(t, gateway, "dlq", "list"); !strings.Contains(table, "422") || !strings.Contains(table, "poison") {
		t.Errorf("gatewayctl dlq list prints\n%s", table)
	}
	if shown := ctl(t, gateway, "dlq", "show", letter.ID); !strings.Contains(shown, "calibrated range") {
		t.Errorf("gatewayctl dlq show prints\n%s", shown)
	}
	if got := devicesOf(receiver.Accepted()); got != "good-1 good-2 good-3" {
		t.Errorf("the others: %s", got)
	}

	// Requeued too early it is refused once more and stays one dead letter.
	ctl(t, gateway, "dlq", "requeue", letter.ID)
	harness.Must(t, harness.Poll(harness.Within(t, 20*time.Second), "the second refusal", func() (bool, error) {
		refused := 0
		for _, request := range receiver.Requests() {
			if len(request.Records) == 1 && request.Records[0].DeviceID == "poison" {
				refused++
			}
		}
		return refused >= 2, fmt.Errorf("%d refusals of the record alone", refused)
	}))
	harness.Must(t, harness.Poll(harness.Within(t, 20*time.Second), "the dead letter's return", func() (bool, error) {
		letters = listDeadLetters(t, gateway)
		return len(letters) == 1 && !strings.Contains(ctl(t, gateway, "dlq", "show", letters[0].ID), "requeued  yes"), fmt.Errorf("dead letters %+v", letters)
	}))

	mended.Store(true)
	if out := ctl(t, gateway, "dlq", "requeue", "--sink", "analytics", "--yes"); !strings.Contains(out, "1 dead letters") {
		t.Errorf("gatewayctl dlq requeue prints %q", out)
	}
	harness.Must(t, harness.Poll(harness.Within(t, 20*time.Second), "the delivery", func() (bool, error) {
		return len(receiver.Accepted()) == 4 && len(listDeadLetters(t, gateway)) == 0, fmt.Errorf("accepted: %s", devicesOf(receiver.Accepted()))
	}))
	accepted := receiver.Accepted()
	if last := accepted[len(accepted)-1]; last.DeviceID != "poison" || last.Delivery != "requeue" || last.CorrelationID != poison {
		t.Errorf("delivered as %+v", last)
	}
	stop(t, gateway)
	if archive := readFileSink(t, gateway); archive.Records != 4 {
		t.Errorf("the file sink holds %d records, want 4: the refusal of one sink is none of another's business", archive.Records)
	}
}

// correlationID reads the receipt of POST /ingest.
func correlationID(t *testing.T, answer string) string {
	t.Helper()
	var receipt struct {
		CorrelationID string `json:"correlation_id"`
	}
	if err := json.Unmarshal([]byte(answer), &receipt); err != nil || receipt.CorrelationID == "" {
		t.Fatalf("receipt %s: %v", answer, err)
	}
	return receipt.CorrelationID
}

// devicesOf lists who sent the records, sorted.
func devicesOf(records []harness.Record) string {
	var devices []string
	for _, record := range records {
		devices = append(devices, record.DeviceID)
	}
	slices.Sort(devices) // order holds within a device only
	return strings.Join(devices, " ")
}
