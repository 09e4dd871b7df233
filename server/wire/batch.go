package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/server/edge"
)

// The fields of gateway.analytics.v1.IngestRequest.
const (
	fieldGatewayID      protowire.Number = 1
	fieldSink           protowire.Number = 2
	fieldIdempotencyKey protowire.Number = 3
	fieldRecords        protowire.Number = 4
)

// AppendBatch begins a gateway.analytics.v1.IngestRequest, to which
// [Renderer.AppendBatchRecord] adds the records. The message is written field by
// field, so that a batch is never held twice, as objects and as bytes.
func (r *Renderer) AppendBatch(dst []byte, sink, idempotencyKey string) []byte {
	dst = protowire.AppendString(protowire.AppendTag(dst, fieldGatewayID, protowire.BytesType), string(r.gateway))
	dst = protowire.AppendString(protowire.AppendTag(dst, fieldSink, protowire.BytesType), sink)
	return protowire.AppendString(protowire.AppendTag(dst, fieldIdempotencyKey, protowire.BytesType), idempotencyKey)
}

// AppendBatchRecord adds a delivery to a batch. Like [Renderer.AppendRecord] it
// fails only where the payload cannot be decoded, and then adds nothing.
func (r *Renderer) AppendBatchRecord(dst []byte, delivery *edge.Delivery) ([]byte, error) {
	message, err := r.Message(delivery)
	if err != nil {
		return dst, err
	}
	record, err := proto.Marshal(message)
	if err != nil {
		return dst, fmt.Errorf("encode record: %w", err)
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, fieldRecords, protowire.BytesType), record), nil
}
