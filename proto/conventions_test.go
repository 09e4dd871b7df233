package proto_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "combotto.io/gateway/gen/go/gateway/access/v1"
	_ "combotto.io/gateway/gen/go/gateway/admin/v1"
	_ "combotto.io/gateway/gen/go/gateway/analytics/v1"
	_ "combotto.io/gateway/gen/go/gateway/control/v1"
	_ "combotto.io/gateway/gen/go/gateway/device/v1"
	"combotto.io/gateway/gen/go/gateway/dlq/v1"
	_ "combotto.io/gateway/gen/go/gateway/operation/v1"
	_ "combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

var (
	readMethod   = regexp.MustCompile(`^(Get|List|Watch|Tail|Export|Verify|Diagnose|Ping)`)
	createMethod = regexp.MustCompile(`^(Create|Issue|Send|Start|Import|Requeue|Discard)`)
	bulkMethod   = regexp.MustCompile(`^(Import|Requeue|Discard|StartReplay)`)
	updateMethod = regexp.MustCompile(`^Update`)
	listMethod   = regexp.MustCompile(`^List`)
)

// requestless names the creations that are harmless to repeat without a
// request_id: a second login link is as good as the first.
var requestless = map[protoreflect.Name]bool{"CreateLoginLink": true}

// Every method keeps the conventions of its kind.
func TestMethods_Conventions(t *testing.T) {
	methods := 0
	eachFile(func(file protoreflect.FileDescriptor) {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				methods++
				checkMethod(t, service.Methods().Get(j))
			}
		}
	})
	if methods < 60 {
		t.Fatalf("only %d methods were looked at", methods)
	}
}

func checkMethod(t *testing.T, method protoreflect.MethodDescriptor) {
	t.Helper()
	name := string(method.Name())
	need := func(message protoreflect.MessageDescriptor, fields ...protoreflect.Name) {
		t.Helper()
		for _, field := range fields {
			if message.Fields().ByName(field) == nil {
				t.Errorf("%s: %s has no %s", method.FullName(), message.Name(), field)
			}
		}
	}
	options := method.Options().(*descriptorpb.MethodOptions)
	harmless := options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	if harmless != readMethod.MatchString(name) {
		t.Errorf("%s: NO_SIDE_EFFECTS is %t", method.FullName(), harmless)
	}
	if listMethod.MatchString(name) {
		need(method.Input(), "page_size", "page_token", "filter")
		need(method.Output(), "next_page_token")
	}
	if createMethod.MatchString(name) && !requestless[method.Name()] {
		need(method.Input(), "request_id")
	}
	if bulkMethod.MatchString(name) {
		need(method.Input(), "validate_only")
	}
	if updateMethod.MatchString(name) {
		need(method.Input(), "update_mask", "etag")
	}
}

// Every rule compiles.
func TestRules_Compile(t *testing.T) {
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	eachFile(func(file protoreflect.FileDescriptor) {
		for i := range file.Messages().Len() {
			message := file.Messages().Get(i)
			var compilation *protovalidate.CompilationError
			if err := validator.Validate(dynamicpb.NewMessage(message)); errors.As(err, &compilation) {
				t.Errorf("%s: %v", message.FullName(), err)
			}
		}
	})
}

// Rules of telemetry are predefined ones: custom CEL allocates for every message.
func TestRules_NoCELOnIngest(t *testing.T) {
	fields := 0
	eachFile(func(file protoreflect.FileDescriptor) {
		if file.Package() != "gateway.telemetry.v1" {
			return
		}
		for i := range file.Messages().Len() {
			message := file.Messages().Get(i)
			for j := range message.Fields().Len() {
				fields++
				field := message.Fields().Get(j)
				rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
				if len(rules.GetCel()) > 0 || len(rules.GetCelExpression()) > 0 {
					t.Errorf("%s has a rule in CEL", field.FullName())
				}
			}
		}
	})
	if fields == 0 {
		t.Fatal("no field was looked at")
	}
}

// Rules guard the shape of a request. What one message of a batch says is
// answered for that message, so it must not fail the request.
func TestRules_Shape(t *testing.T) {
	for _, request := range []struct {
		name    string
		message proto.Message
		valid   bool
	}{
		{"no message", &telemetryv1.PublishRequest{}, false},
		{"1,001 messages", &telemetryv1.PublishRequest{Messages: make([]*telemetryv1.PublishMessage, 1001)}, false},
		{"a message that is refused by itself", &telemetryv1.PublishRequest{Messages: []*telemetryv1.PublishMessage{{DeviceId: "/", Content: &telemetryv1.PublishMessage_Telemetry{Telemetry: &telemetryv1.Telemetry{}}}}}, true},
		{"a message of a stream that is refused by itself", &telemetryv1.PublishStreamRequest{StreamId: "s", Messages: []*telemetryv1.PublishMessage{{}}}, true},
		{"a stream without a name", &telemetryv1.PublishStreamRequest{Messages: []*telemetryv1.PublishMessage{{}}}, false},
		{"a tail of everything", &telemetryv1.TailRequest{}, true},
		{"a tail of no device", &telemetryv1.TailRequest{DeviceIds: []string{""}}, false},
		{"a requeue of nothing", &dlqv1.RequeueDeadLettersRequest{}, false},
		{"a requeue by name", &dlqv1.RequeueDeadLettersRequest{DeadLetterIds: []string{"1"}}, true},
		{"a requeue by filter", &dlqv1.RequeueDeadLettersRequest{Filter: "*"}, true},
		{"a requeue by both", &dlqv1.RequeueDeadLettersRequest{Filter: "*", DeadLetterIds: []string{"1"}}, false},
		{"a negative page", &dlqv1.ListDeadLettersRequest{PageSize: -1}, false},
		{"a large page", &dlqv1.ListDeadLettersRequest{PageSize: 5000}, true},
	} {
		if err := protovalidate.Validate(request.message); (err == nil) != request.valid {
			t.Errorf("%s: %v", request.name, err)
		}
	}
}

// eachFile visits the contracts.
func eachFile(visit func(protoreflect.FileDescriptor)) {
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(file.Package()), "gateway.") {
			visit(file)
		}
		return true
	})
}
