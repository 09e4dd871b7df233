package wire

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
)

// Message returns the canonical record of a delivery as protobuf. Where the
// payload cannot be decoded it returns the stamps alone, beside the error.
func (r *Renderer) Message(delivery *edge.Delivery) (*telemetryv1.Record, error) {
	telemetry, _, err := r.decoder.Decode(delivery.Record.Encoding, delivery.Record.Payload)
	if err != nil {
		return RecordMessage(r.gateway, delivery, &edge.Telemetry{Identity: delivery.Record.Identity}), err
	}
	return RecordMessage(r.gateway, delivery, telemetry), nil
}

// RecordMessage is [AppendCanonical] in protobuf.
func RecordMessage(gateway edge.GatewayID, delivery *edge.Delivery, telemetry *edge.Telemetry) *telemetryv1.Record {
	record := &delivery.Record
	identity := identityOf(record, telemetry)
	message := &telemetryv1.Record{
		CorrelationId: record.Correlation.String(),
		GatewayId:     string(gateway),
		DeviceId:      string(record.Device),
		ReceiveTs:     timestamp(record.ReceivedAt),
		ObservedAt:    timestamp(telemetry.ObservedAt),
		BootId:        identity.BootID,
		MessageId:     identity.MessageID,
		SchemaVersion: telemetry.SchemaVersion,
		Metrics:       make([]*telemetryv1.Metric, len(telemetry.Metrics)),
		Source:        SourceMessage(record.Source),
		Traceparent:   record.TraceParent,
		Verified:      record.Verified,
		Delivery:      DeliveryKindMessage(delivery.Kind),
		Revision:      uint32(record.Revision),
	}
	if identity.HasSequence {
		message.Sequence = &identity.Sequence
	}
	for i := range telemetry.Metrics {
		message.Metrics[i] = metricMessage(&telemetry.Metrics[i])
	}
	for _, attribute := range telemetry.Attributes {
		message.Attributes = append(message.Attributes, &telemetryv1.Attribute{Name: attribute.Name, Value: attribute.Value})
	}
	return message
}

func metricMessage(metric *edge.Metric) *telemetryv1.Metric {
	message := &telemetryv1.Metric{Name: metric.Name}
	switch metric.Value.Kind {
	case edge.KindNumber:
		message.Value = &telemetryv1.Metric_Number{Number: metric.Value.Number}
	case edge.KindInteger:
		message.Value = &telemetryv1.Metric_Integer{Integer: metric.Value.Integer}
	case edge.KindBool:
		message.Value = &telemetryv1.Metric_Boolean{Boolean: metric.Value.Bool}
	case edge.KindText:
		message.Value = &telemetryv1.Metric_Text{Text: metric.Value.Text}
	}
	return message
}

// timestamp returns nil for the zero time, which is absent.
func timestamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

// TelemetryPayload encodes telemetry that arrived in typed form, as it will be
// stored: the same message always gives the same bytes.
func TelemetryPayload(message *telemetryv1.Telemetry) ([]byte, error) {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		refused := edge.Refuse(edge.Malformed, edge.ReasonEncoding, "telemetry", "cannot be encoded")
		refused.Err = fmt.Errorf("encode telemetry: %w", err)
		return nil, refused
	}
	return payload, nil
}

// PayloadMessage returns the payload of a record as it was received.
func PayloadMessage(record *edge.Record) *telemetryv1.Payload {
	return &telemetryv1.Payload{Data: record.Payload, Encoding: EncodingMessage(record.Encoding)}
}

// The contract numbers sources, encodings, kinds, states and outcomes as edge
// does, except where it reserves 0 for what was not said and edge does not.

// SourceMessage returns the contract's name of a door.
func SourceMessage(source edge.Source) telemetryv1.Source { return telemetryv1.Source(source) }

// EncodingMessage returns the contract's name of an encoding.
func EncodingMessage(encoding edge.Encoding) telemetryv1.Encoding {
	return telemetryv1.Encoding(encoding)
}

// EncodingFrom returns the encoding that a message names, auto when it names
// none that is known.
func EncodingFrom(message telemetryv1.Encoding) edge.Encoding {
	switch message {
	case telemetryv1.Encoding_ENCODING_JSON:
		return edge.EncodingJSON
	case telemetryv1.Encoding_ENCODING_PROTOBUF:
		return edge.EncodingProtobuf
	}
	return edge.EncodingAuto
}

// DeliveryKindMessage returns the contract's name of a kind.
func DeliveryKindMessage(kind edge.DeliveryKind) telemetryv1.DeliveryKind {
	return telemetryv1.DeliveryKind(kind) + telemetryv1.DeliveryKind_DELIVERY_KIND_LIVE
}

// StateMessage returns the contract's name of a state.
func StateMessage(state edge.State) sinkv1.DeliveryState { return sinkv1.DeliveryState(state) }

// OutcomeMessage returns the contract's name of a class.
func OutcomeMessage(class edge.Class) sinkv1.AttemptOutcome { return sinkv1.AttemptOutcome(class) }
