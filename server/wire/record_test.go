package wire_test

import (
	"strings"
	"testing"

	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// TestMessages holds the numbers of the contract to those of edge, by the names
// that both give them.
func TestMessages(t *testing.T) {
	type named interface{ String() string }
	same := func(prefix string, message, word named) {
		t.Helper()
		if got, want := strings.ToLower(strings.TrimPrefix(message.String(), prefix)), word.String(); got != want {
			t.Errorf("%v stands for %s", message, want)
		}
	}
	for _, source := range edge.Sources {
		same("SOURCE_", wire.SourceMessage(source), source)
	}
	for kind := edge.Live; kind <= edge.Replay; kind++ {
		same("DELIVERY_KIND_", wire.DeliveryKindMessage(kind), kind)
	}
	for state := edge.Enqueued; state <= edge.Expired; state++ {
		same("DELIVERY_STATE_", wire.StateMessage(state), state)
	}
	for class := edge.Delivered; class <= edge.Rejected; class++ {
		same("ATTEMPT_OUTCOME_", wire.OutcomeMessage(class), class)
	}
	for _, encoding := range []edge.Encoding{edge.EncodingJSON, edge.EncodingProtobuf} {
		same("ENCODING_", wire.EncodingMessage(encoding), encoding)
		if got := wire.EncodingFrom(wire.EncodingMessage(encoding)); got != encoding {
			t.Errorf("%v becomes %v", encoding, got)
		}
	}
	if wire.EncodingFrom(99) != edge.EncodingAuto || wire.EncodingMessage(edge.EncodingAuto) != telemetryv1.Encoding_ENCODING_UNSPECIFIED {
		t.Error("what is not said is not auto")
	}
	if wire.StateMessage(0) != sinkv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED {
		t.Error("the zero state is said")
	}
}

func TestPayloadMessage(t *testing.T) {
	got := wire.PayloadMessage(&edge.Record{Encoding: edge.EncodingProtobuf, Payload: []byte("as received")})
	if string(got.GetData()) != "as received" || got.GetEncoding() != telemetryv1.Encoding_ENCODING_PROTOBUF {
		t.Errorf("got %v", got)
	}
}
