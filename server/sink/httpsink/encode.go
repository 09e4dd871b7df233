package httpsink

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

var contentTypes = map[Format]string{
	NDJSON:   "application/x-ndjson",
	JSON:     "application/json",
	Protobuf: "application/protobuf",
}

// Fields of gateway.analytics.v1.IngestRequest. The message is written field by
// field, so that a batch is never held twice as objects; a test reads it back
// with the generated code.
const (
	fieldGatewayID      protowire.Number = 1
	fieldSink           protowire.Number = 2
	fieldIdempotencyKey protowire.Number = 3
	fieldRecords        protowire.Number = 4
)

// stampsBytes is what the gateway's own fields add to a payload, about.
const stampsBytes = 256

// key names the batch, the same after a crash. It is empty for requeued
// records; see the package comment.
func (s *Sink) key(batch []edge.Delivery) string {
	if batch[0].Kind == edge.Requeue {
		return ""
	}
	return fmt.Sprintf("%s/%s/%d-%d", s.settings.Gateway, s.settings.Sink,
		batch[0].Record.Position, batch[len(batch)-1].Record.Position)
}

// encode writes the records of the batch, without those that cannot be written.
func (s *Sink) encode(batch []edge.Delivery, key string) (body []byte, unwritable []edge.Refused) {
	renderer := s.renderers.Get().(*wire.Renderer)
	defer s.renderers.Put(renderer)
	body = s.begin(make([]byte, 0, estimate(batch)), key)
	for i := range batch {
		extended, err := s.appendRecord(body, renderer, &batch[i])
		if err != nil {
			unwritable = append(unwritable, edge.Refused{Index: i, Status: edge.DeathEncoding, Reason: err.Error()})
			continue
		}
		body = extended
	}
	if s.settings.Format == JSON && len(unwritable) < len(batch) {
		body[len(body)-1] = ']' // in the place of the last comma
	}
	return body, unwritable
}

// estimate returns about how long the body will be, so that it is allocated
// once.
func estimate(batch []edge.Delivery) int {
	size := 0
	for i := range batch {
		size += len(batch[i].Record.Payload) + stampsBytes
	}
	return size
}

func (s *Sink) begin(body []byte, key string) []byte {
	switch s.settings.Format {
	case JSON:
		return append(body, '[')
	case Protobuf:
		body = protowire.AppendString(protowire.AppendTag(body, fieldGatewayID, protowire.BytesType), string(s.settings.Gateway))
		body = protowire.AppendString(protowire.AppendTag(body, fieldSink, protowire.BytesType), s.settings.Sink)
		return protowire.AppendString(protowire.AppendTag(body, fieldIdempotencyKey, protowire.BytesType), key)
	}
	return body
}

func (s *Sink) appendRecord(body []byte, renderer *wire.Renderer, delivery *edge.Delivery) ([]byte, error) {
	switch s.settings.Format {
	case Protobuf:
		message, err := renderer.Message(delivery)
		if err != nil {
			return body, err
		}
		record, err := proto.Marshal(message)
		if err != nil {
			return body, fmt.Errorf("encode record: %w", err)
		}
		return protowire.AppendBytes(protowire.AppendTag(body, fieldRecords, protowire.BytesType), record), nil
	case JSON:
		body, err := renderer.AppendRecord(body, delivery)
		return append(body, ','), err
	}
	body, err := renderer.AppendRecord(body, delivery)
	return append(body, '\n'), err
}

// setBody gives the request a body of known length that can be sent again.
func setBody(request *http.Request, body []byte) {
	request.ContentLength = int64(len(body))
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
}
