package rpc_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"combotto.io/gateway/server/rpc"
)

// built is, on purpose, written out again: a method that is answered for real is
// added here when it is.
var built = []string{
	"gateway.admin.v1.AdminService/BackupQueue",
	"gateway.admin.v1.AdminService/GetConfig",
	"gateway.admin.v1.AdminService/GetForecast",
	"gateway.admin.v1.AdminService/GetMessage",
	"gateway.admin.v1.AdminService/GetStatus",
	"gateway.admin.v1.AdminService/ListLosses",
	"gateway.admin.v1.AdminService/VerifyLedger",
	"gateway.dlq.v1.DLQService/GetDeadLetter",
	"gateway.dlq.v1.DLQService/ListDeadLetters",
	"gateway.dlq.v1.DLQService/RequeueDeadLetters",
	"gateway.sink.v1.SinkService/DeleteSink",
	"gateway.sink.v1.SinkService/ListSinks",
	"gateway.telemetry.v1.TelemetryService/Publish",
	"gateway.telemetry.v1.TelemetryService/PublishStream",
	"gateway.telemetry.v1.TelemetryService/Tail",
}

// TestServer_Built asks every method of every contract, with an empty request
// from a caller who may nothing, whether it is built.
func TestServer_Built(t *testing.T) {
	b := newBench(t, func(d *rpc.Dependencies) { d.Authenticator = admit{} })
	var answering, all []string
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			if !strings.HasPrefix(string(service.FullName()), "gateway.") {
				continue
			}
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				name := string(service.FullName()) + "/" + string(method.Name())
				all = append(all, name)
				if !strings.Contains(b.call(t, name, method), "unimplemented") {
					answering = append(answering, name)
				}
			}
		}
		return true
	})
	slices.Sort(answering)
	if diff := cmp.Diff(built, answering); diff != "" {
		t.Error(diff)
	}
	if len(all) < 60 {
		t.Errorf("only %d methods were asked: %v", len(all), all)
	}
}

// call makes an empty call over the Connect protocol and returns the answer. A
// bidirectional stream is refused over HTTP/1.1 before anything is asked, which
// is no "unimplemented" either.
func (b *bench) call(t *testing.T, name string, method protoreflect.MethodDescriptor) string {
	t.Helper()
	if !method.IsStreamingServer() && !method.IsStreamingClient() {
		return b.do(t, "POST", "/"+name, "{}", "Content-Type", jsonType).body
	}
	envelope := binary.BigEndian.AppendUint32([]byte{0}, 2)
	return b.do(t, "POST", "/"+name, string(envelope)+"{}", "Content-Type", "application/connect+json", "Connect-Protocol-Version", "1").body
}
