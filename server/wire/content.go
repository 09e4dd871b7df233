package wire

import (
	"mime"

	"combotto.io/gateway/server/edge"
)

// EncodingOf reads a content type. An empty one says nothing, which is
// [edge.EncodingAuto].
func EncodingOf(contentType string) (edge.Encoding, error) {
	if contentType == "" {
		return edge.EncodingAuto, nil
	}
	mediaType, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return edge.EncodingAuto, unsupported("the content type %.80q cannot be read", contentType)
	}
	switch mediaType {
	case "application/json":
		if charset := parameters["charset"]; charset != "" && charset != "utf-8" && charset != "UTF-8" {
			return edge.EncodingAuto, unsupported("JSON is UTF-8, not %.80q", charset)
		}
		return edge.EncodingJSON, nil
	case "application/protobuf", "application/x-protobuf":
		return edge.EncodingProtobuf, nil
	}
	return edge.EncodingAuto, unsupported("the content type %.80q is not supported; use application/json or application/protobuf", mediaType)
}

func unsupported(format string, args ...any) error {
	return edge.Refuse(edge.Unsupported, edge.ReasonEncoding, "", format, args...)
}
