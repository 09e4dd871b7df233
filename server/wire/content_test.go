package wire_test

import (
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// contentTypes maps a content type to its encoding; 0xff is a refusal.
var contentTypes = map[string]edge.Encoding{
	"":                                     edge.EncodingAuto,
	"application/json":                     edge.EncodingJSON,
	"Application/JSON ; charset=UTF-8":     edge.EncodingJSON,
	"application/json; charset=utf-8":      edge.EncodingJSON,
	"application/json; charset=iso-8859-1": 0xff,
	"application/protobuf":                 edge.EncodingProtobuf,
	"application/x-protobuf":               edge.EncodingProtobuf,
	"application/x-protobuf; proto=gateway.telemetry.v1.Telemetry": edge.EncodingProtobuf,
	"text/plain":            0xff,
	"application/x-ndjson":  0xff,
	"application/cbor":      0xff,
	"application/json; ;;":  0xff,
	"application/json\x00":  0xff,
	"json":                  0xff,
	"application/json, a/b": 0xff,
}

func TestEncodingOf(t *testing.T) {
	for contentType, want := range contentTypes {
		t.Run(contentType, func(t *testing.T) {
			got, err := wire.EncodingOf(contentType)
			if err != nil {
				got = 0xff
				if refused := edge.AsError(err); refused.Code != edge.Unsupported || refused.Reason != edge.ReasonEncoding {
					t.Errorf("refused with %+v", refused)
				}
			}
			if got != want {
				t.Errorf("got %v (%v), want %v", got, err, want)
			}
		})
	}
}
