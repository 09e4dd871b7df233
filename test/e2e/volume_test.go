//go:build linux

package e2e_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// onVolume puts the data folder of a gateway on a file system of so many bytes.
func onVolume(t *testing.T, gateway *harness.Gateway, size string) {
	t.Helper()
	harness.Must(t, os.MkdirAll(gateway.DataDir(), 0o700))
	if err := syscall.Mount("gateway-test", gateway.DataDir(), "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small volume cannot be mounted here (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(gateway.Kill(), syscall.Unmount(gateway.DataDir(), 0)); err != nil {
			t.Error(err)
		}
	})
}

// takeRoom writes a file of somebody else to a volume: of so many bytes, or of
// all that are left.
func takeRoom(t *testing.T, gateway *harness.Gateway, bytes int64) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(gateway.DataDir(), "somebody-else"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	harness.Must(t, err)
	defer file.Close()
	for piece := make([]byte, 64<<10); bytes > 0 && err == nil; bytes -= int64(len(piece)) {
		_, err = file.Write(piece)
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestFull_Disk fills the disk below a gateway under load, first by itself and
// then by somebody else to the last byte. It refuses, lives, goes on delivering,
// takes messages again as soon as there is room, and has lost nothing.
func TestFull_Disk(t *testing.T) {
	harness.SkipShort(t, "20 s")
	const everything = 1 << 40
	receiver := newReceiver(t, nil)
	gateway := newGateway(t)
	onVolume(t, gateway, "32m")
	fullConfig(gateway, receiver, "1GiB")
	harness.Must(t, receiver.Close())
	harness.Must(t, gateway.Start(t.Context()))
	takeRoom(t, gateway, 22<<20)
	load := startLoad(t, gateway, "load", "--connections", "10", "--reconnect")
	awaitMetric(t, gateway, "gateway_queue_accepting", 0, time.Minute)
	status, answer := post(t, gateway.URL("/ingest/dev-1"), "application/json", []byte(single))
	if status != http.StatusServiceUnavailable {
		t.Errorf("on a full disk: %d %s", status, answer)
	}
	takeRoom(t, gateway, everything)

	// While the disk is full to the last byte the backlog is delivered.
	before := metrics(t, gateway)[`gateway_sink_delivered_messages_total{sink="analytics"}`]
	waiting := metrics(t, gateway)[`gateway_queue_depth_messages{sink="analytics"}`]
	harness.Must(t, receiver.Open())
	ctx := harness.Within(t, time.Minute)
	harness.Must(t, harness.Poll(ctx, "the backlog delivered", func() (bool, error) {
		values, err := gateway.Metrics(ctx)
		delivered := values[`gateway_sink_delivered_messages_total{sink="analytics"}`] - before
		return delivered >= waiting, errors.Join(err, fmt.Errorf("%.0f of %.0f are delivered", delivered, waiting))
	}))

	harness.Must(t, os.Remove(filepath.Join(gateway.DataDir(), "somebody-else")))
	expectTaken(t, gateway)
	values := awaitMetric(t, gateway, "gateway_queue_accepting", 1, resumeMax)
	if values["gateway_queue_reserve_bytes"] == 0 {
		t.Error("messages are taken without a reserve")
	}
	harness.Must(t, load.Signal(syscall.SIGTERM))
	_, err := load.Finish(harness.Within(t, time.Minute))
	harness.Must(t, err)
	awaitDrained(t, gateway, time.Minute)
	expectArrived(t, load, receiver)
	stop(t, gateway)
}

// TestFull_SmallVolume runs with the default limit on a volume of 64 MiB: the sink
// is away until messages are refused, and back again.
func TestFull_SmallVolume(t *testing.T) {
	receiver := newReceiver(t, nil)
	gateway := newGateway(t)
	onVolume(t, gateway, "64m")
	fullConfig(gateway, receiver, "80%")
	harness.Must(t, receiver.Close())
	harness.Must(t, gateway.Start(t.Context()))
	stored, full := 0, false
	for batch := 0; batch < 1000 && !full; batch++ {
		body := noise(batch, 100)
		switch status, answer := post(t, gateway.URL("/ingest/dev-1"), "application/x-ndjson", body); status {
		case http.StatusAccepted:
			stored += 100
		case http.StatusMultiStatus: // it became full within the batch
			stored += strings.Count(answer, `"correlation_id"`)
			full = true
		case http.StatusServiceUnavailable:
			full = true
		default:
			t.Fatalf("%d %s", status, answer)
		}
	}
	values := metrics(t, gateway)
	limit, used := values["gateway_queue_limit_bytes"], values["gateway_queue_bytes"]
	if !full || limit == 0 || used > limit || used < limit*0.9 {
		t.Errorf("full is %v with %.0f of %.0f bytes in use", full, used, limit)
	}
	harness.Must(t, receiver.Open())
	awaitDrained(t, gateway, time.Minute)
	expectTaken(t, gateway)
	awaitDrained(t, gateway, time.Minute)
	arrived := harness.NewArrivals()
	for _, record := range receiver.Accepted() {
		harness.Must(t, arrived.Add(&record))
	}
	if arrived.Distinct() != stored+1 {
		t.Errorf("%d messages arrived, want %d", arrived.Distinct(), stored+1)
	}
	stop(t, gateway)
}

// noise is a batch of messages of some KiB that hardly compress.
func noise(batch, messages int) []byte {
	var body bytes.Buffer
	random := rand.NewChaCha8([32]byte{byte(batch), byte(batch >> 8)})
	text := make([]byte, 750)
	for i := range messages {
		fmt.Fprintf(&body, `{"schema_version":1,"boot_id":"b%d","sequence":%d,"metrics":{`, batch, i)
		for metric := range 5 {
			_, _ = random.Read(text) // never fails
			fmt.Fprintf(&body, `"m%d":%q,`, metric, base64.StdEncoding.EncodeToString(text))
		}
		body.WriteString("\"last\":1}}\n")
	}
	return body.Bytes()
}
