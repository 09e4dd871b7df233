package httpsink

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

var contentTypes = map[Format]string{
	NDJSON:   "application/x-ndjson",
	JSON:     "application/json",
	Protobuf: "application/protobuf",
}

// stampsBytes is what the gateway's own fields add to a payload, about.
const stampsBytes = 256

// key names the batch by its positions (docs/adr/0010). It is empty for one that is
// not sealed, which might have other members next time; see the package comment.
func (s *Sink) key(batch []edge.Delivery) string {
	if !batch[0].Sealed {
		return ""
	}
	return fmt.Sprintf("%s/%s/%d-%d", s.settings.Gateway, s.settings.Sink,
		batch[0].Record.Position, batch[len(batch)-1].Record.Position)
}

// encode writes the records of the batch, without those that cannot be written.
func (s *Sink) encode(batch []edge.Delivery, key string) (body []byte, unwritable []edge.Refused) {
	renderer := s.renderers.Get().(*wire.Renderer)
	defer s.renderers.Put(renderer)
	body = s.begin(make([]byte, 0, estimate(batch)), renderer, key)
	for i := range batch {
		extended, err := s.appendRecord(body, renderer, &batch[i])
		if err != nil {
			unwritable = append(unwritable, edge.Refused{Index: i, Status: statusUnwritable, Excerpt: edge.Excerpt(err.Error()), Unwritable: true})
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

func (s *Sink) begin(body []byte, renderer *wire.Renderer, key string) []byte {
	switch s.settings.Format {
	case JSON:
		return append(body, '[')
	case Protobuf:
		return renderer.AppendBatch(body, s.settings.Sink, key)
	}
	return body
}

func (s *Sink) appendRecord(body []byte, renderer *wire.Renderer, delivery *edge.Delivery) ([]byte, error) {
	switch s.settings.Format {
	case Protobuf:
		return renderer.AppendBatchRecord(body, delivery)
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
