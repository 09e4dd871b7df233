package e2e_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/google/go-cmp/cmp"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/gen/go/gateway/admin/v1/adminv1connect"
	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/test/harness"
)

// message is what every client publishes.
const message = `{"schema_version":1,"boot_id":"b1","sequence":42,"observed_at":"2026-11-22T18:00:00.123Z",` +
	`"metrics":{"temperature_c":23.5,"door_open":false,"mode":"eco","count":7},"attributes":{"firmware":"1.2.0"}}`

// door is one way in, used by a client that others have written.
type door struct {
	name    string // also the device
	source  string
	tool    string // program that must be there
	install string // what to do when it is not
	publish func(t *testing.T, gateway *harness.Gateway, device string)
}

// TestDoors publishes the same message through every door. Each copy arrives
// once at each sink, with the same content, and can be followed.
func TestDoors(t *testing.T) {
	receiver := newReceiver(t, nil)
	gateway := newGateway(t)
	gateway.SetSinks(gateway.FileSinkYAML(), harness.HTTPSinkYAML("analytics", receiver.Address()))
	harness.Must(t, gateway.Start(t.Context()))

	var published []door
	for _, door := range doors() {
		t.Run(door.name, func(t *testing.T) {
			if _, err := exec.LookPath(door.tool); door.tool != "" && err != nil {
				t.Skipf("%v: %s", err, door.install)
			}
			door.publish(t, gateway, door.name)
			published = append(published, door)
		})
	}
	if len(published) < 2 {
		t.Fatal("hardly any client is installed")
	}
	awaitDrained(t, gateway, 20*time.Second)

	filed := map[string][]harness.Record{}
	harness.Must(t, harness.ReadFileSink(gateway.OutDir(), func(record *harness.Record) error {
		filed[record.DeviceID] = append(filed[record.DeviceID], *record)
		return nil
	}))
	posted := map[string][]harness.Record{}
	for _, record := range receiver.Accepted() {
		record.ArrivedAt = time.Time{}
		posted[record.DeviceID] = append(posted[record.DeviceID], record)
	}
	for _, door := range published {
		if len(filed[door.name]) != 1 || len(posted[door.name]) != 1 {
			t.Errorf("%s: %d times in the file, %d times at the receiver, want once each", door.name, len(filed[door.name]), len(posted[door.name]))
			continue
		}
		record := filed[door.name][0]
		if diff := cmp.Diff(record, posted[door.name][0]); diff != "" {
			t.Errorf("%s: the sinks received different records (-file +http):\n%s", door.name, diff)
		}
		if diff := cmp.Diff(canonical(&record, door), record); diff != "" {
			t.Errorf("%s (-want +got):\n%s", door.name, diff)
		}
		checkJourney(t, gateway, record.CorrelationID, door.name)
	}
	stop(t, gateway)
}

// canonical is what sinks must receive of message; what the gateway decides is
// taken over.
func canonical(got *harness.Record, from door) harness.Record {
	sequence := uint64(42)
	return harness.Record{
		CorrelationID: got.CorrelationID, ReceiveTS: got.ReceiveTS, TraceParent: got.TraceParent,
		GatewayID: "e2e", DeviceID: from.name, Source: from.source, Delivery: "live",
		ObservedAt: "2026-11-22T18:00:00.123000Z", BootID: "b1", Sequence: &sequence, SchemaVersion: 1,
		Metrics:    map[string]any{"temperature_c": 23.5, "door_open": false, "mode": "eco", "count": 7.0},
		Attributes: map[string]string{"firmware": "1.2.0"},
	}
}

// checkJourney finds the message again by its correlation id.
func checkJourney(t *testing.T, gateway *harness.Gateway, correlation, device string) {
	t.Helper()
	client := adminv1connect.NewAdminServiceClient(http.DefaultClient, gateway.URL(""))
	request := &adminv1.GetMessageRequest{Identity: &adminv1.GetMessageRequest_CorrelationId{CorrelationId: correlation}}
	harness.Must(t, harness.Poll(harness.Within(t, 10*time.Second), "the journey of "+device, func() (bool, error) {
		response, err := client.GetMessage(t.Context(), request)
		if err != nil {
			return false, err
		}
		journey := response.Journey
		acked := 0
		for _, delivery := range journey.Deliveries {
			if delivery.State == sinkv1.DeliveryState_DELIVERY_STATE_ACKED && delivery.AttemptCount > 0 {
				acked++
			}
		}
		attempted := map[string]bool{}
		for _, attempt := range journey.Attempts {
			if attempt.Outcome == sinkv1.AttemptOutcome_ATTEMPT_OUTCOME_DELIVERED {
				attempted[attempt.SinkName] = true
			}
		}
		done := acked == 2 && attempted["archive"] && attempted["analytics"] && journey.Record.DeviceId == device && journey.Commit.GetPosition() > 0
		return done, fmt.Errorf("journey %v", journey)
	}))
}

func doors() []door {
	mosquitto := "apt-get install mosquitto-clients"
	buf := filepath.Join(binaries.Root(), "clients", "node_modules", ".bin", "buf")
	return []door{
		{"mosquitto-311", "mqtt", "mosquitto_pub", mosquitto, mosquittoPub("mqttv311")},
		{"mosquitto-5", "mqtt", "mosquitto_pub", mosquitto, mosquittoPub("mqttv5", "-D", "publish", "content-type", "application/json")},
		{"paho-golang", "mqtt", "", "", pahoPublish},
		{"mqtt-js", "mqtt", "node", "install Node.js", mqttJSPublish},
		{"curl", "http", "curl", "apt-get install curl", curlIngest},
		{"curl-connect", "rpc", "curl", "apt-get install curl", curlConnect},
		{"buf-connect", "rpc", buf, "npm ci in clients", bufCurl(buf, "connect")},
		{"buf-grpc", "rpc", buf, "npm ci in clients", bufCurl(buf, "grpc")},
		{"buf-grpcweb", "rpc", buf, "npm ci in clients", bufCurl(buf, "grpcweb")},
	}
}

// run runs a client to its end and returns what it printed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(harness.Within(t, time.Minute), name, args...)
	command.Dir = dir
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, output)
	}
	return string(output)
}

func mosquittoPub(version string, more ...string) func(*testing.T, *harness.Gateway, string) {
	return func(t *testing.T, gateway *harness.Gateway, device string) {
		host, port, _ := strings.Cut(gateway.MQTTAddr, ":")
		args := []string{"-V", version, "-h", host, "-p", port, "-q", "1", "-t", "devices/" + device + "/telemetry", "-m", message}
		run(t, "", "mosquitto_pub", append(args, more...)...)
	}
}

func pahoPublish(t *testing.T, gateway *harness.Gateway, device string) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	manager, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:   []*url.URL{{Scheme: "mqtt", Host: gateway.MQTTAddr}},
		ClientConfig: paho.ClientConfig{ClientID: device},
	})
	harness.Must(t, err)
	harness.Must(t, manager.AwaitConnection(ctx))
	_, err = manager.Publish(ctx, &paho.Publish{Topic: "devices/" + device + "/telemetry", QoS: 2, Payload: []byte(message)})
	harness.Must(t, err)
	harness.Must(t, manager.Disconnect(ctx))
}

func mqttJSPublish(t *testing.T, gateway *harness.Gateway, device string) {
	dir := filepath.Join(binaries.Root(), "test", "mqttjs")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "mqtt")); err != nil {
		t.Skipf("%v: npm ci in test/mqttjs", err)
	}
	run(t, dir, "node", "publish.mjs", "mqtt://"+gateway.MQTTAddr, "devices/"+device+"/telemetry", message)
}

func curlIngest(t *testing.T, gateway *harness.Gateway, device string) {
	answer := run(t, "", "curl", "--silent", "--show-error", "--fail-with-body", "--json", message, gateway.URL("/ingest/"+device))
	correlationID(t, answer)
}

// publishRequest is gateway.telemetry.v1.PublishRequest as ProtoJSON.
func publishRequest(device string) string {
	data := base64.StdEncoding.EncodeToString([]byte(message))
	return fmt.Sprintf(`{"messages":[{"deviceId":%q,"payload":{"data":%q,"encoding":"ENCODING_JSON"}}]}`, device, data)
}

const publishProcedure = "gateway.telemetry.v1.TelemetryService/Publish"

func curlConnect(t *testing.T, gateway *harness.Gateway, device string) {
	answer := run(t, "", "curl", "--silent", "--show-error", "--fail-with-body", "--json", publishRequest(device), gateway.URL("/"+publishProcedure))
	if !strings.Contains(answer, "correlationId") {
		t.Errorf("answer %s", answer)
	}
}

// bufCurl learns the contract from the gateway itself, by reflection.
func bufCurl(buf, protocol string) func(*testing.T, *harness.Gateway, string) {
	return func(t *testing.T, gateway *harness.Gateway, device string) {
		answer := run(t, "", buf, "curl", "--protocol", protocol, "--http2-prior-knowledge", "--data", publishRequest(device), gateway.URL("/"+publishProcedure))
		if !strings.Contains(answer, "correlationId") {
			t.Errorf("answer %s", answer)
		}
	}
}
