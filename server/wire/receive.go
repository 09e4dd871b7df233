package wire

import (
	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
)

// AppendMessage appends the canonical JSON of a record that was received as
// protobuf: the same bytes that the gateway sends in JSON. A correlation id that
// is none becomes zeros, which no reader takes for one.
func AppendMessage(dst []byte, message *telemetryv1.Record) []byte {
	correlation, _ := edge.ParseCorrelationID(message.GetCorrelationId())
	delivery := edge.Delivery{
		Kind: edge.DeliveryKind(max(0, message.GetDelivery()-telemetryv1.DeliveryKind_DELIVERY_KIND_LIVE)),
		Record: edge.Record{
			Correlation: correlation,
			Device:      edge.DeviceID(message.GetDeviceId()),
			Source:      edge.Source(message.GetSource()),
			ReceivedAt:  message.GetReceiveTs().AsTime(),
			TraceParent: message.GetTraceparent(),
			Verified:    message.GetVerified(),
			Revision:    int(message.GetRevision()),
		},
	}
	return appendCanonical(dst, edge.GatewayID(message.GetGatewayId()), &delivery, telemetryFrom(message), message.GetReplayId())
}

// telemetryFrom returns what the payload of a record said.
func telemetryFrom(message *telemetryv1.Record) *edge.Telemetry {
	telemetry := &edge.Telemetry{
		SchemaVersion: message.GetSchemaVersion(),
		Identity: edge.Identity{
			MessageID: message.GetMessageId(), BootID: message.GetBootId(),
			Sequence: message.GetSequence(), HasSequence: message.Sequence != nil,
		},
	}
	if message.GetObservedAt() != nil {
		telemetry.ObservedAt = message.GetObservedAt().AsTime()
	}
	for _, metric := range message.GetMetrics() {
		telemetry.Metrics = append(telemetry.Metrics, edge.Metric{Name: metric.GetName(), Value: valueFrom(metric)})
	}
	for _, attribute := range message.GetAttributes() {
		telemetry.Attributes = append(telemetry.Attributes, edge.Attribute{Name: attribute.GetName(), Value: attribute.GetValue()})
	}
	return telemetry
}

func valueFrom(metric *telemetryv1.Metric) edge.Value {
	switch value := metric.GetValue().(type) {
	case *telemetryv1.Metric_Number:
		return edge.Value{Kind: edge.KindNumber, Number: value.Number}
	case *telemetryv1.Metric_Integer:
		return edge.Value{Kind: edge.KindInteger, Integer: value.Integer}
	case *telemetryv1.Metric_Boolean:
		return edge.Value{Kind: edge.KindBool, Bool: value.Boolean}
	}
	return edge.Value{Kind: edge.KindText, Text: metric.GetText()}
}
