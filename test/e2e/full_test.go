package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/rawmqtt"
)

const (
	fullRate  = 5000            // messages per second
	fullGrace = time.Second     // mqtt.full_grace
	resumeMax = 5 * time.Second // from room to the first message that is taken
)

// single is a message of any device.
const single = `{"schema_version":1,"boot_id":"b1","sequence":1,"metrics":{"a":1}}`

// fullConfig bounds a queue and names its only sink.
func fullConfig(gateway *harness.Gateway, receiver *harness.Receiver, limit string) {
	gateway.Config = fmt.Sprintf("gateway_id: e2e\nqueue: {max_bytes: %q}\nmqtt: {full_grace: %v}\nsinks:\n%s",
		limit, fullGrace, harness.HTTPSinkYAML("analytics", receiver.Address()))
}

// awaitMetric waits until a metric has a value, and returns all.
func awaitMetric(t *testing.T, gateway *harness.Gateway, name string, want float64, limit time.Duration) map[string]float64 {
	t.Helper()
	var values map[string]float64
	ctx := harness.Within(t, limit)
	harness.Must(t, harness.Poll(ctx, name, func() (done bool, err error) {
		if values, err = gateway.Metrics(ctx); err != nil {
			return false, err
		}
		return values[name] == want, fmt.Errorf("%s is %v, want %v", name, values[name], want)
	}))
	return values
}

// TestFull_Limit fills a queue at a constant rate while its sink is away. The
// time that was foretold comes true, every door refuses as the contracts say and
// names the sink, and when the sink is back messages are taken again.
func TestFull_Limit(t *testing.T) {
	harness.SkipShort(t, "30 s")
	receiver := newReceiver(t, nil)
	gateway := newGateway(t)
	fullConfig(gateway, receiver, "8MiB")
	harness.Must(t, receiver.Close())
	harness.Must(t, gateway.Start(t.Context()))
	load := startLoad(t, gateway, "load", "--connections", "10", "--rate", fmt.Sprint(fullRate), "--reconnect")

	foretold := map[time.Time]float64{}
	ctx := harness.Within(t, 2*time.Minute)
	harness.Must(t, harness.Poll(ctx, "a full queue", func() (bool, error) {
		values, err := gateway.Metrics(ctx)
		if headroom := values["gateway_queue_headroom_seconds"]; err == nil && headroom > 0 {
			foretold[time.Now()] = headroom
		}
		return err == nil && values["gateway_queue_accepting"] == 0, err
	}))
	expectForetold(t, foretold, time.Now())
	expectRefusals(t, gateway)
	harness.Must(t, load.Signal(15)) // what it could not send is not acknowledged
	_, err := load.Finish(harness.Within(t, time.Minute))
	harness.Must(t, err)

	harness.Must(t, receiver.Open())
	awaitDrained(t, gateway, time.Minute)
	expectTaken(t, gateway)
	expectArrived(t, load, receiver)
	stop(t, gateway)
}

// expectForetold compares what was said with what came. The machine is shared, and
// the rate not constant: the queue's own test has a constant one and allows 10 %;
// this is about the metric, most of the time.
func expectForetold(t *testing.T, foretold map[time.Time]float64, full time.Time) {
	t.Helper()
	var ratios []float64
	for told, headroom := range foretold {
		if left := full.Sub(told).Seconds(); left > 1 && left < 12 {
			ratios = append(ratios, headroom/left)
		}
	}
	slices.Sort(ratios)
	if len(ratios) == 0 {
		t.Fatal("nobody was told that the queue is about to be full")
	}
	median := ratios[len(ratios)/2]
	t.Logf("foretold / happened, %d times: %.2f, median %.2f, %.2f", len(ratios), ratios[0], median, ratios[len(ratios)-1])
	if median < 0.5 || median > 2 {
		t.Errorf("half of the time %.2f of what happened was foretold", median)
	}
}

// expectArrived fails when an acknowledged message did not arrive.
func expectArrived(t *testing.T, load *harness.Load, receiver *harness.Receiver) {
	t.Helper()
	acknowledged, _, err := load.Acknowledged()
	harness.Must(t, err)
	arrived := harness.NewArrivals()
	for _, record := range receiver.Accepted() {
		harness.Must(t, arrived.Add(&record))
	}
	if missing := arrived.Missing(acknowledged); len(missing) > 0 || len(acknowledged) == 0 {
		t.Errorf("%d of %d acknowledged messages did not arrive", len(missing), len(acknowledged))
	}
	t.Logf("%d acknowledged, all arrived", len(acknowledged))
}

// expectTaken fails unless a message is taken within the limit.
func expectTaken(t *testing.T, gateway *harness.Gateway) {
	t.Helper()
	began := time.Now()
	ctx := harness.Within(t, 20*time.Second)
	harness.Must(t, harness.Poll(ctx, "a message that is taken", func() (bool, error) {
		status, answer := post(t, gateway.URL("/ingest/after"), "application/json", []byte(single))
		return status == http.StatusAccepted, errors.New(answer)
	}))
	if took := time.Since(began); took > resumeMax {
		t.Errorf("messages are taken again after %v, want %v", took, resumeMax)
	}
}

// expectRefusals asks every door of a full gateway.
func expectRefusals(t *testing.T, gateway *harness.Gateway) {
	t.Helper()
	response, err := http.Post(gateway.URL("/ingest/dev-1"), "application/json", strings.NewReader(single))
	harness.Must(t, err)
	defer response.Body.Close()
	var problem struct{ Type, Detail, Hint string }
	harness.Must(t, json.NewDecoder(response.Body).Decode(&problem))
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "5" || problem.Type != "urn:combotto:problem:full" ||
		!strings.Contains(problem.Detail, "sink analytics holds ") || !strings.Contains(problem.Hint, "gatewayctl status") {
		t.Errorf("HTTP: %s, Retry-After %q, %+v", response.Status, response.Header.Get("Retry-After"), problem)
	}

	expectConnectRefusals(t, gateway)
	for _, path := range []string{"/readyz", "/healthz"} {
		want := map[string]int{"/readyz": http.StatusServiceUnavailable, "/healthz": http.StatusOK}[path]
		response, err := http.Get(gateway.URL(path))
		harness.Must(t, err)
		text, err := io.ReadAll(response.Body)
		harness.Must(t, errors.Join(err, response.Body.Close()))
		if response.StatusCode != want || path == "/readyz" && !bytes.Contains(text, []byte("sink analytics holds ")) {
			t.Errorf("%s: %s %s", path, response.Status, text)
		}
	}
	expectMQTTRefusals(t, gateway, []byte(single))
}

func expectConnectRefusals(t *testing.T, gateway *harness.Gateway) {
	t.Helper()
	request, err := json.Marshal(map[string]any{"messages": []any{
		map[string]any{"deviceId": "dev-1", "payload": map[string]any{"data": []byte(single), "encoding": "ENCODING_JSON"}},
	}})
	harness.Must(t, err)
	status, body := post(t, gateway.URL("/gateway.telemetry.v1.TelemetryService/Publish"), "application/json", request)
	var answer struct {
		Code, Message string
		Details       []struct {
			Type  string
			Debug struct {
				Reason, RetryDelay string
				Metadata           map[string]string
			}
		}
	}
	harness.Must(t, json.Unmarshal([]byte(body), &answer))
	if status != http.StatusServiceUnavailable || answer.Code != "unavailable" || !strings.Contains(answer.Message, "sink analytics holds ") ||
		len(answer.Details) != 2 || answer.Details[0].Debug.Reason != "FULL" || answer.Details[0].Debug.Metadata["sink"] != "analytics" ||
		!strings.Contains(answer.Details[0].Debug.Metadata["hint"], "gatewayctl status") || answer.Details[1].Debug.RetryDelay != "5s" {
		t.Errorf("Connect: %d %s", status, body)
	}
}

func expectMQTTRefusals(t *testing.T, gateway *harness.Gateway, body []byte) {
	t.Helper()
	const topic = "devices/dev-1/telemetry"
	dropped := metrics(t, gateway)[`gateway_mqtt_dropped_total{reason="full"}`]
	five, err := rawmqtt.Dial(gateway.MQTTAddr, rawmqtt.Version5, "five", 20*time.Second)
	harness.Must(t, err)
	defer five.Close()
	began := time.Now()
	_, err = five.Write(rawmqtt.Publish(rawmqtt.Version5, topic, 1, body))
	harness.Must(t, err)
	kind, answer, err := five.Read()
	harness.Must(t, err)
	if kind != rawmqtt.KindPuback || answer[2] != 0x97 || !bytes.Contains(answer, []byte("sink analytics holds ")) {
		t.Errorf("MQTT 5: packet %#x %q, want PUBACK 0x97 that names the sink", kind, answer)
	}
	if took := time.Since(began); took < fullGrace {
		t.Errorf("MQTT 5: refused after %v, want %v of patience", took, fullGrace)
	}
	atMostOnce := rawmqtt.Publish(rawmqtt.Version5, topic, 1, body)
	atMostOnce[0] = 0x30
	atMostOnce = append(atMostOnce[:2+2+len(topic)], atMostOnce[2+2+len(topic)+2:]...) // no packet id
	atMostOnce[1] -= 2
	_, err = five.Write(atMostOnce)
	harness.Must(t, err)
	awaitMetric(t, gateway, `gateway_mqtt_dropped_total{reason="full"}`, dropped+1, 10*time.Second)

	four, err := rawmqtt.Dial(gateway.MQTTAddr, rawmqtt.Version311, "four", 20*time.Second)
	harness.Must(t, err)
	defer four.Close()
	if _, err := four.Publish(topic, body); !errors.Is(err, io.EOF) {
		t.Errorf("MQTT 3.1.1: %v, want the connection closed", err)
	}
}
