package analytics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	analyticsv1 "combotto.io/gateway/gen/go/gateway/analytics/v1"
	"combotto.io/gateway/gen/go/gateway/analytics/v1/analyticsv1connect"
	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/analytics"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// delivery returns record number n of all records, which is the one with a
// sequence of a device.
func delivery(n int, device edge.DeviceID, boot string, sequence int) *edge.Delivery {
	received := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	return &edge.Delivery{Record: edge.Record{
		Position: edge.Position(n), Correlation: edge.NewCorrelationID(received, edge.Position(n), 0, 1),
		Device: device, Source: edge.SourceMQTT, Encoding: edge.EncodingJSON, ReceivedAt: received,
		Payload: fmt.Appendf(nil, `{"schema_version":1,"metrics":{"temperature_c":%d.5,"door_open":true,"count":7,"mode":"eco"},"boot_id":%q,"sequence":%d,"observed_at":"2026-11-22T17:59:59Z","attributes":{"firmware":"1.2.0"}}`, n, boot, sequence),
	}}
}

func lines(t *testing.T, deliveries ...*edge.Delivery) []byte {
	t.Helper()
	var body []byte
	for _, delivery := range deliveries {
		line, err := wire.NewRenderer("gw-1").AppendRecord(body, delivery)
		if err != nil {
			t.Fatal(err)
		}
		body = append(line, '\n')
	}
	return body
}

func message(t *testing.T, deliveries ...*edge.Delivery) *analyticsv1.IngestRequest {
	t.Helper()
	request := &analyticsv1.IngestRequest{GatewayId: "gw-1", Sink: "cloud"}
	for _, delivery := range deliveries {
		record, err := wire.NewRenderer("gw-1").Message(delivery)
		if err != nil {
			t.Fatal(err)
		}
		request.Records = append(request.Records, record)
	}
	return request
}

// call asks a handler as a client on this machine.
func call(handler http.Handler, method, target, contentType string, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, target, bytes.NewReader(body))
	request.RemoteAddr = "127.0.0.1:50000"
	request.Header.Set("Content-Type", contentType)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

// post sends records as NDJSON and expects a status.
func post(t *testing.T, handler http.Handler, status int, deliveries ...*edge.Delivery) map[string]any {
	t.Helper()
	reply := call(handler, "POST", "/ingest", "application/x-ndjson", lines(t, deliveries...))
	if reply.Code != status {
		t.Fatalf("status %d, want %d: %s", reply.Code, status, reply.Body)
	}
	var body map[string]any
	if status == http.StatusOK {
		if err := json.Unmarshal(reply.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
	}
	return body
}

func TestReceiver_Formats(t *testing.T) {
	one, two := delivery(1, "dev-1", "b", 1), delivery(2, "dev-1", "b", 2)
	want := lines(t, one, two)
	array := "[\n  " + strings.ReplaceAll(strings.TrimSpace(string(want)), "\n", " ,\n  ") + "\n]"
	encoded, err := proto.Marshal(message(t, one, two))
	if err != nil {
		t.Fatal(err)
	}
	for contentType, body := range map[string][]byte{
		"application/x-ndjson":            append(bytes.Clone(want), "\n  \n"...),
		"application/json; charset=utf-8": []byte(array),
		"application/protobuf":            encoded,
	} {
		t.Run(contentType, func(t *testing.T) {
			var recorded bytes.Buffer
			handler := analytics.New(analytics.Settings{Record: &recorded}).Handler()
			reply := call(handler, "POST", "/", contentType, body)
			if reply.Code != http.StatusOK || !strings.Contains(reply.Body.String(), `"accepted": 2`) {
				t.Errorf("%d: %s", reply.Code, reply.Body)
			}
			// Whatever the format, the same canonical lines are recorded.
			if diff := cmp.Diff(string(want), recorded.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReceiver_Refuses(t *testing.T) {
	handler := analytics.New(analytics.Settings{}).Handler()
	for name, test := range map[string]struct {
		contentType, body string
		want              int
	}{
		"HalfALine":   {"application/x-ndjson", `{"correlation_id"`, 400},
		"NoID":        {"application/x-ndjson", `{"device_id":"dev-1"}`, 400},
		"WrongID":     {"application/x-ndjson", `{"device_id":"dev-1","correlation_id":"1"}`, 400},
		"NotAnArray":  {"application/json", `{"correlation_id":"1"}`, 400},
		"NotProtobuf": {"application/protobuf", "\xff\xff", 400},
		"OtherType":   {"text/plain", "hello", 415},
		"TooLong":     {"application/x-ndjson", strings.Repeat(" ", 32<<20+1), 413},
	} {
		t.Run(name, func(t *testing.T) {
			if reply := call(handler, "POST", "/ingest", test.contentType, []byte(test.body)); reply.Code != test.want {
				t.Errorf("status %d, want %d: %s", reply.Code, test.want, reply.Body)
			}
		})
	}
}

func TestReceiver_Duplicates(t *testing.T) {
	receiver := analytics.New(analytics.Settings{Remember: 2})
	handler := receiver.Handler()
	first := delivery(1, "dev-1", "b", 1)
	edited := *first
	edited.Record.Revision = 1
	post(t, handler, 200, first, first)
	post(t, handler, 200, first, &edited) // another revision is another record
	want := analytics.Counts{Requests: 2, Received: 4, Unique: 2, Duplicates: 2}
	if diff := cmp.Diff(want, receiver.Stats().Counts); diff != "" {
		t.Error(diff)
	}
	// The memory holds two ids, so that a third one makes it forget the first.
	post(t, handler, 200, delivery(2, "dev-1", "b", 2), first)
	want = analytics.Counts{Requests: 3, Received: 6, Unique: 4, Duplicates: 2}
	if diff := cmp.Diff(want, receiver.Stats().Counts); diff != "" {
		t.Error(diff)
	}
}

func TestReceiver_Gaps(t *testing.T) {
	receiver := analytics.New(analytics.Settings{})
	handler := receiver.Handler()
	n := 0
	arrive := func(device edge.DeviceID, boot string, sequences ...int) {
		for _, sequence := range sequences {
			n++
			post(t, handler, 200, delivery(n, device, boot, sequence))
		}
	}
	arrive("dev-1", "b1", 10, 11, 15, 12, 12) // 13 and 14 are missing, 12 is late, and there twice
	arrive("dev-1", "b2", 0, 1, 2)            // another boot counts anew
	arrive("dev-2", "b1", 5, 3)               // 4 is missing, 3 is late
	n++
	requeued := delivery(n, "dev-2", "b1", 4)
	requeued.Kind = edge.Requeue // fills the gap, and nobody promised its order
	post(t, handler, 200, requeued)
	n++
	unnumbered := delivery(n, "dev-3", "", 0)
	unnumbered.Record.Payload = []byte(`{"schema_version":1,"metrics":{"n":1}}`)
	post(t, handler, 200, unnumbered)
	want := analytics.Stats{
		Counts:  analytics.Counts{Requests: 12, Received: 12, Unique: 12, Untracked: 1},
		Missing: 2, Inversions: 3, Repeated: 1,
		Devices: []analytics.DeviceStats{
			{DeviceID: "dev-1", Records: 8, Missing: 2, Inversions: 2, Repeated: 1, BootID: "b2", Last: 2},
			{DeviceID: "dev-2", Records: 3, Inversions: 1, BootID: "b1", Last: 5},
			{DeviceID: "dev-3", Records: 1},
		},
	}
	if diff := cmp.Diff(want, receiver.Stats()); diff != "" {
		t.Error(diff)
	}
	var served analytics.Stats
	if err := json.Unmarshal(call(handler, "GET", "/stats", "", nil).Body.Bytes(), &served); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, served); diff != "" {
		t.Error(diff)
	}
	page := call(handler, "GET", "/", "", nil).Body.String()
	if !strings.Contains(page, "2 missing, 3 out of order") || strings.Index(page, "dev-1 ") > strings.Index(page, "dev-2 ") {
		t.Errorf("page:\n%s", page)
	}
	// More boots than are kept: what was missing stays missing.
	for boot := range 20 {
		arrive("dev-1", fmt.Sprint("later-", boot), 1)
	}
	if got := receiver.Stats().Missing; got != 2 {
		t.Errorf("%d missing after 20 more boots, want 2", got)
	}
}

// put scripts faults from now on.
func put(t *testing.T, handler http.Handler, faults string) {
	t.Helper()
	if reply := call(handler, "PUT", "/faults", "application/json", []byte(faults)); reply.Code != http.StatusOK {
		t.Fatalf("%d: %s", reply.Code, reply.Body)
	}
}

func TestReceiver_Faults(t *testing.T) {
	t.Run("StatusForAWhile", statusForAWhile)
	t.Run("Delay", delay)
	t.Run("RejectsRecords", rejectsRecords)
	t.Run("RejectsRequests", rejectsRequests)
	t.Run("OnlyFromHere", onlyFromHere)
	t.Run("RefusesNonsense", refusesNonsense)
}

func statusForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		receiver := analytics.New(analytics.Settings{})
		handler := receiver.Handler()
		put(t, handler, `{"status":503,"for":"60s","retry_after":"5s"}`)
		reply := call(handler, "POST", "/ingest", "application/x-ndjson", lines(t, delivery(1, "dev-1", "b", 1)))
		if reply.Code != 503 || reply.Header().Get("Retry-After") != "5" {
			t.Errorf("%d, Retry-After %q", reply.Code, reply.Header().Get("Retry-After"))
		}
		<-time.After(time.Minute)
		post(t, handler, 200, delivery(1, "dev-1", "b", 1))
		want := analytics.Counts{Requests: 2, Failed: 1, Received: 1, Unique: 1}
		if diff := cmp.Diff(want, receiver.Stats().Counts); diff != "" {
			t.Error(diff)
		}
	})
}

func delay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := analytics.New(analytics.Settings{Faults: analytics.Faults{Delay: analytics.Duration(3 * time.Second)}}).Handler()
		began := time.Now()
		post(t, handler, 200, delivery(1, "dev-1", "b", 1))
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("answered after %v, want 3 s", took)
		}
	})
}

func rejectsRecords(t *testing.T) {
	good, bad := delivery(1, "dev-1", "b", 1), delivery(2, "dev-2", "b", 1)
	for _, faults := range []string{`{"reject_device":"dev-2"}`, `{"reject_metric":"poison"}`} {
		bad.Record.Payload = bytes.Replace(bad.Record.Payload, []byte("door_open"), []byte("poison"), 1)
		receiver := analytics.New(analytics.Settings{})
		handler := receiver.Handler()
		put(t, handler, faults)
		reply := post(t, handler, 200, good, bad)
		rejected, _ := reply["rejected"].([]any)
		if len(rejected) != 1 || rejected[0].(map[string]any)["correlation_id"] != bad.Record.Correlation.String() || reply["accepted"] != 1.0 {
			t.Errorf("%s: got %v, want the second record rejected", faults, reply)
		}
		if got := receiver.Stats().Rejected; got != 1 {
			t.Errorf("%s: %d rejected, want 1", faults, got)
		}
		// Mended: the same record is taken.
		if code := call(handler, "DELETE", "/faults", "", nil).Code; code != http.StatusOK {
			t.Errorf("DELETE /faults: %d", code)
		}
		post(t, handler, 200, bad)
	}
}

func rejectsRequests(t *testing.T) {
	receiver := analytics.New(analytics.Settings{Faults: analytics.Faults{RejectDevice: "dev-2", Whole: true}})
	post(t, receiver.Handler(), 422, delivery(1, "dev-1", "b", 1), delivery(2, "dev-2", "b", 1))
	if got := receiver.Stats().Unique; got != 0 {
		t.Errorf("%d records of a refused request were taken", got)
	}
}

func onlyFromHere(t *testing.T) {
	handler := analytics.New(analytics.Settings{}).Handler()
	for name, change := range map[string]func(*http.Request){
		"OtherMachine": func(r *http.Request) { r.RemoteAddr = "192.0.2.1:50000" },
		"Proxy":        func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
	} {
		request := httptest.NewRequest("PUT", "/faults", strings.NewReader(`{"status":503}`))
		request.RemoteAddr = "127.0.0.1:50000"
		change(request)
		recorder := httptest.NewRecorder()
		if handler.ServeHTTP(recorder, request); recorder.Code != http.StatusForbidden {
			t.Errorf("%s: status %d, want 403", name, recorder.Code)
		}
	}
	post(t, handler, 200, delivery(1, "dev-1", "b", 1))
}

func refusesNonsense(t *testing.T) {
	handler := analytics.New(analytics.Settings{}).Handler()
	for _, faults := range []string{``, `{"stauts":503}`, `{"status":200}`, `{"for":"-1s"}`, `{"delay":"1h"}`, `{"for":5}`} {
		if reply := call(handler, "PUT", "/faults", "application/json", []byte(faults)); reply.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", faults, reply.Code)
		}
	}
}

// failing is a file on a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestReceiver_RecordsBeforeItAnswers(t *testing.T) {
	receiver := analytics.New(analytics.Settings{Record: failing{}})
	post(t, receiver.Handler(), 500, delivery(1, "dev-1", "b", 1))
	if diff := cmp.Diff(analytics.Counts{Requests: 1, Failed: 1}, receiver.Stats().Counts); diff != "" {
		t.Error(diff)
	}
}

func TestReceiver_Service(t *testing.T) {
	var recorded bytes.Buffer
	receiver := analytics.New(analytics.Settings{Record: &recorded})
	server := httptest.NewUnstartedServer(receiver.Handler())
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	for name, option := range map[string]connect.ClientOption{
		"Connect": connect.WithProtoJSON(), "gRPC": connect.WithGRPC(), "gRPCWeb": connect.WithGRPCWeb(),
	} {
		t.Run(name, func(t *testing.T) {
			recorded.Reset()
			client := analyticsv1connect.NewAnalyticsServiceClient(server.Client(), server.URL, option)
			one, two := delivery(1, "dev-1", "b", 1), delivery(2, "dev-2", "b", 1)
			call(receiver.Handler(), "PUT", "/faults", "", []byte(`{"reject_device":"dev-2"}`))
			response, err := client.Ingest(context.Background(), message(t, one, two))
			if err != nil {
				t.Fatal(err)
			}
			want := &analyticsv1.IngestResponse{Accepted: 1, Rejected: []*analyticsv1.RejectedRecord{{
				CorrelationId: two.Record.Correlation.String(), Status: 422, Reason: "device dev-2 is rejected by a scripted fault",
			}}}
			if !proto.Equal(want, response) || recorded.String() != string(lines(t, one)) {
				t.Errorf("got %v, recorded %s", response, recorded.String())
			}
			for status, code := range map[int]connect.Code{
				503: connect.CodeUnavailable, 429: connect.CodeResourceExhausted, 401: connect.CodeUnauthenticated,
				403: connect.CodePermissionDenied, 404: connect.CodeNotFound, 422: connect.CodeInvalidArgument, 501: connect.CodeUnimplemented,
			} {
				call(receiver.Handler(), "PUT", "/faults", "", fmt.Appendf(nil, `{"status":%d}`, status))
				if _, err := client.Ingest(context.Background(), message(t, one)); connect.CodeOf(err) != code {
					t.Errorf("status %d: got %v, want %v", status, err, code)
				}
			}
			call(receiver.Handler(), "DELETE", "/faults", "", nil)
			nameless := &analyticsv1.IngestRequest{Records: []*telemetryv1.Record{{DeviceId: "dev-1"}}}
			if _, err := client.Ingest(context.Background(), nameless); connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("without correlation id: got %v", err)
			}
		})
	}
}
