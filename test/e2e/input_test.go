package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/rawmqtt"
)

// maxPayload is the default of ingest.max_payload.
const maxPayload = 64 << 10

// badPayload is a payload that no door may accept.
type badPayload struct {
	name    string
	payload string
	reason  string // of gateway_ingest_rejected_total
	status  int    // over HTTP
	code    telemetryv1.ErrorCode
}

func badPayloads() []badPayload {
	const (
		malformed = telemetryv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT
		invalid   = telemetryv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT
	)
	random := make([]byte, 300)
	source := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(source.Uint32())
	}
	return []badPayload{
		{"truncated", message[:len(message)-20], "malformed", 400, malformed},
		{"random", "{" + string(random), "", 400, malformed}, // not JSON, or not UTF-8: whichever comes first
		{"wrong-type", `{"schema_version":1,"metrics":"many"}`, "wrong_type", 422, invalid},
		{"nested-metric", `{"schema_version":1,"metrics":{"a":[1]}}`, "wrong_type", 422, invalid},
		{"no-metrics", `{"schema_version":1}`, "missing_field", 422, invalid},
		{"no-version", `{"metrics":{"a":1}}`, "missing_field", 422, invalid},
		{"future-version", `{"schema_version":2,"metrics":{"a":1}}`, "schema_version", 422, invalid},
		{"deep", `{"schema_version":1,"metrics":{"a":1},"extra":{"b":{"c":{"d":{"e":1}}}}}`, "depth", 400, malformed},
		{"deep-attack", `{"schema_version":1,"metrics":{"a":1},"extra":` + strings.Repeat("[", 30_000) + `}`, "depth", 400, malformed},
		{"duplicate-key", `{"schema_version":1,"metrics":{"a":1},"metrics":{"a":2}}`, "duplicate_key", 400, malformed},
		{"invalid-utf8", "{\"schema_version\":1,\"metrics\":{\"mode\":\"\xFF\xFE\"}}", "encoding", 400, malformed},
		{"wrong-device", `{"schema_version":1,"device_id":"somebody-else","metrics":{"a":1}}`, "device", 422, invalid},
		{"truncated-protobuf", "\x08\x01\x3a\x05\x0a\x01t", "malformed", 400, malformed},
		{"random-protobuf", string(random[1:]), "", 400, malformed},
		{"too-large", padded(maxPayload + 1), "too_large", 413, 0},
	}
}

// padded returns a valid payload of so many bytes.
func padded(bytes int) string {
	const head, tail = `{"schema_version":1,`, `"metrics":{"a":1}}`
	return head + strings.Repeat(" ", bytes-len(head)-len(tail)) + tail
}

// TestBadInput offers what can never be valid at every door. Each answer is in
// the words of the protocol, is counted with its reason, and disturbs nobody.
func TestBadInput(t *testing.T) {
	gateway := newGateway(t)
	gateway.SetSinks(gateway.FileSinkYAML())
	harness.Must(t, gateway.Start(t.Context()))
	witness := newWitness(t, gateway)

	t.Run("HTTP", func(t *testing.T) { badInputOverHTTP(t, gateway, witness) })
	t.Run("RPC", func(t *testing.T) { badInputOverRPC(t, gateway, witness) })
	t.Run("MQTT5", func(t *testing.T) { badInputOverMQTT5(t, gateway, witness) })
	t.Run("MQTT311", func(t *testing.T) { badInputOverMQTT311(t, gateway, witness) })
	t.Run("BytesThatAreNotThePackets", func(t *testing.T) { badBytes(t, gateway, witness) })
	t.Run("TopicOfNobody", func(t *testing.T) { badTopics(t, gateway, witness) })
	witness.check(t, gateway)
}

func badInputOverHTTP(t *testing.T, gateway *harness.Gateway, witness *witness) {
	for _, bad := range badPayloads() {
		witness.publish(t)
		checkProblem(t, gateway, bad)
	}
	for _, size := range []int{maxPayload - 1, maxPayload} {
		if status, answer := post(t, gateway.URL("/ingest/http-limit"), "application/json", []byte(padded(size))); status != http.StatusAccepted {
			t.Errorf("%d bytes: status %d, %s", size, status, answer)
		}
	}
	if status, answer := post(t, gateway.URL("/ingest/dev-1"), "text/plain", []byte(message)); status != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: status %d, %s", status, answer)
	}
	if status, answer := post(t, gateway.URL("/ingest/bad%20id"), "application/json", []byte(message)); status != http.StatusUnprocessableEntity && status != http.StatusBadRequest {
		t.Errorf("bad device id: status %d, %s", status, answer)
	}
	checkRejected(t, gateway, "http")
}

func badInputOverRPC(t *testing.T, gateway *harness.Gateway, witness *witness) {
	client := telemetryv1connect.NewTelemetryServiceClient(http.DefaultClient, gateway.URL(""))
	for _, bad := range badPayloads() {
		witness.publish(t)
		result := publishRPC(t, client, bad.payload)
		if result.GetReceipt() != nil || bad.code != 0 && result.GetRefusal().GetCode() != bad.code ||
			bad.reason != "" && result.GetRefusal().GetReason() != bad.reason || result.GetRefusal().GetMessage() == "" {
			t.Errorf("%s: %v", bad.name, result)
		}
	}
	for _, size := range []int{maxPayload - 1, maxPayload} {
		if result := publishRPC(t, client, padded(size)); result.GetReceipt() == nil {
			t.Errorf("%d bytes: %v", size, result)
		}
	}
	checkRejected(t, gateway, "rpc")
}

func badInputOverMQTT5(t *testing.T, gateway *harness.Gateway, witness *witness) {
	conn := dial(t, gateway, rawmqtt.Version5, "bad-5")
	for _, bad := range badPayloads() {
		witness.publish(t)
		reason, err := conn.Publish("devices/bad-5/telemetry", []byte(bad.payload))
		ended, disconnected := errors.AsType[rawmqtt.Disconnected](err)
		switch {
		case disconnected && ended == 0x95 && bad.name == "too-large":
			conn = dial(t, gateway, rawmqtt.Version5, "bad-5")
		case err != nil:
			t.Fatalf("%s: %v", bad.name, err)
		case reason != 0x99 && bad.name != "too-large" || reason < 0x80:
			t.Errorf("%s: PUBACK %#x", bad.name, reason)
		}
	}
	// The connection is none the worse for it.
	for _, size := range []int{200, maxPayload - 1, maxPayload} {
		if reason, err := conn.Publish("devices/bad-5/telemetry", []byte(padded(size))); reason != 0 || err != nil {
			t.Errorf("%d bytes: PUBACK %#x, %v", size, reason, err)
		}
	}
}

func badInputOverMQTT311(t *testing.T, gateway *harness.Gateway, witness *witness) {
	conn := dial(t, gateway, rawmqtt.Version311, "bad-311")
	kept := 0
	for _, bad := range badPayloads() {
		witness.publish(t)
		if _, err := conn.Publish("devices/bad-311/telemetry", []byte(bad.payload)); err != nil {
			if bad.name != "too-large" {
				t.Fatalf("%s: %v", bad.name, err)
			}
			conn = dial(t, gateway, rawmqtt.Version311, "bad-311") // a packet too large closes the connection
			continue
		}
		kept++
	}
	ingress := ctl(t, gateway, "dlq", "list", "--sink", "_ingress", "--device", "bad-311", "--limit", "0", "--output", "json")
	if got := strings.Count(ingress, "\n"); got != kept {
		t.Errorf("%d messages were acknowledged, %d are kept as rejected", kept, got)
	}
	for _, size := range []int{maxPayload - 1, maxPayload} {
		if _, err := conn.Publish("devices/bad-311/telemetry", []byte(padded(size))); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	checkRejected(t, gateway, "mqtt")
}

func badBytes(t *testing.T, gateway *harness.Gateway, witness *witness) {
	for name, bytes := range rawInput() {
		witness.publish(t)
		checkHangsUp(t, gateway.MQTTAddr, name, bytes)
	}
}

func badTopics(t *testing.T, gateway *harness.Gateway, witness *witness) {
	conn := dial(t, gateway, rawmqtt.Version5, "topic-5")
	for _, topic := range []string{"devices//telemetry", "devices/bad id/telemetry", "devices/" + strings.Repeat("x", 65) + "/telemetry"} {
		reason, err := conn.Publish(topic, []byte(message))
		if reason < 0x80 && err == nil {
			t.Errorf("%s: accepted", topic)
		}
		if err != nil {
			conn = dial(t, gateway, rawmqtt.Version5, "topic-5")
		}
		witness.publish(t)
	}
}

// checkProblem posts a bad payload and reads the problem.
func checkProblem(t *testing.T, gateway *harness.Gateway, bad badPayload) {
	t.Helper()
	status, answer := post(t, gateway.URL("/ingest/bad-http"), "application/json", []byte(bad.payload))
	var problem struct {
		Type, Title, Detail string
		Status              int
		RequestID           string `json:"request_id"`
	}
	err := json.Unmarshal([]byte(answer), &problem)
	if err != nil || status != bad.status || problem.Status != bad.status || problem.Type == "" || problem.Title == "" || problem.Detail == "" || problem.RequestID == "" {
		t.Errorf("%s: status %d, want %d: %s", bad.name, status, bad.status, answer)
	}
}

// checkRejected looks for every reason among the counters of a door.
func checkRejected(t *testing.T, gateway *harness.Gateway, source string) {
	t.Helper()
	values := metrics(t, gateway)
	for _, bad := range badPayloads() {
		name := fmt.Sprintf("gateway_ingest_rejected_total{reason=%q,source=%q}", bad.reason, source)
		if bad.reason != "" && values[name] < 1 {
			t.Errorf("%s is %v after %s", name, values[name], bad.name)
		}
	}
}

func publishRPC(t *testing.T, client telemetryv1connect.TelemetryServiceClient, payload string) *telemetryv1.PublishResult {
	t.Helper()
	response, err := client.Publish(harness.Within(t, 10*time.Second), &telemetryv1.PublishRequest{Messages: []*telemetryv1.PublishMessage{{
		DeviceId: "bad-rpc",
		Content:  &telemetryv1.PublishMessage_Payload{Payload: &telemetryv1.Payload{Data: []byte(payload), Encoding: telemetryv1.Encoding_ENCODING_JSON}},
	}}})
	if err != nil || len(response.Results) != 1 {
		t.Fatalf("Publish: %v, %v", response, err)
	}
	return response.Results[0]
}

func dial(t *testing.T, gateway *harness.Gateway, version byte, client string) *rawmqtt.Conn {
	t.Helper()
	conn, err := rawmqtt.Dial(gateway.MQTTAddr, version, client, time.Minute)
	harness.Must(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // Closed already where the gateway hung up.
	return conn
}

// rawInput are first bytes after which no server may wait for more.
func rawInput() map[string][]byte {
	connect := rawmqtt.Connect(rawmqtt.Version5, "raw")
	whole := append(append([]byte{}, connect...), rawmqtt.Publish(rawmqtt.Version5, "devices/raw/telemetry", 1, []byte(message))...)
	input := map[string][]byte{
		"HTTP request":                       []byte("GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"),
		"length of five bytes":               {0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F},
		"PUBLISH first":                      rawmqtt.Publish(rawmqtt.Version5, "devices/raw/telemetry", 1, []byte(message)),
		"protocol MQIsdpX":                   {0x10, 0x10, 0, 7, 'M', 'Q', 'I', 's', 'd', 'p', 'X', 9, 2, 0, 0, 0, 1, 'a'},
		"reserved packet":                    append(append([]byte{}, connect...), 0x00, 0x00),
		"SUBSCRIBE with a body of 1 byte":    append(append([]byte{}, connect...), 0x82, 0x01, 0x00),
		"PUBLISH with QoS 3":                 append(append([]byte{}, connect...), 0x36, 0x05, 0, 1, 'a', 0, 1),
		"PUBLISH whose topic ends elsewhere": append(append([]byte{}, connect...), 0x32, 0x04, 0xFF, 0xFF, 'a', 'b'),
		"second CONNECT":                     append(append([]byte{}, connect...), connect...),
		"cut in PUBLISH":                     whole[:len(whole)-30],
		"cut in CONNECT":                     connect[:7],
	}
	source := rand.New(rand.NewPCG(3, 4))
	for i := range 20 {
		noise := make([]byte, 200)
		for j := range noise {
			noise[j] = byte(source.Uint32())
		}
		input[fmt.Sprintf("noise %d", i)] = noise
		mutated := append([]byte{}, whole...)
		mutated[source.IntN(len(connect))] ^= 1 << source.IntN(8)
		input[fmt.Sprintf("mutation %d", i)] = mutated
	}
	return input
}

// checkHangsUp sends bytes, says that no more will come, and expects the end of
// the connection soon after.
func checkHangsUp(t *testing.T, address, name string, bytes []byte) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	harness.Must(t, err)
	defer conn.Close()
	harness.Must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	if _, err := conn.Write(bytes); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: %v", name, err)
	}
	_ = conn.(*net.TCPConn).CloseWrite() // The gateway may have hung up already.
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: the connection is still open: %v", name, err)
	}
}

// witness is somebody who publishes in good order while others do not.
type witness struct {
	conn *rawmqtt.Conn
	sent int
}

func newWitness(t *testing.T, gateway *harness.Gateway) *witness {
	t.Helper()
	return &witness{conn: dial(t, gateway, rawmqtt.Version5, "witness")}
}

func (w *witness) publish(t *testing.T) {
	t.Helper()
	w.sent++
	payload := fmt.Sprintf(`{"schema_version":1,"boot_id":"w","sequence":%d,"metrics":{"a":1}}`, w.sent)
	if reason, err := w.conn.Publish("devices/witness/telemetry", []byte(payload)); reason != 0 || err != nil {
		t.Fatalf("the witness was disturbed: PUBACK %#x, %v", reason, err)
	}
}

// check finds every message of the witness at the sink, and of the others only
// what was in order.
func (w *witness) check(t *testing.T, gateway *harness.Gateway) {
	t.Helper()
	awaitDrained(t, gateway, 20*time.Second)
	stop(t, gateway)
	devices := map[string]int{}
	harness.Must(t, harness.ReadFileSink(gateway.OutDir(), func(record *harness.Record) error {
		devices[record.DeviceID]++
		return nil
	}))
	for device, want := range map[string]int{"witness": w.sent, "http-limit": 2, "bad-http": 0, "bad-rpc": 2, "bad-5": 3, "bad-311": 2} {
		if devices[device] != want {
			t.Errorf("%s: %d records arrived, want %d", device, devices[device], want)
		}
	}
}
