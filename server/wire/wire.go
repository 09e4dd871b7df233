// Package wire translates between the vocabulary of the gateway and what goes
// over the wire: telemetry in JSON and protobuf on the way in, the canonical
// record on the way out, and the words in which each protocol says no.
//
//	payload bytes -> Decoder -> edge.Telemetry -> Renderer -> canonical record (JSON, protobuf)
//	edge.Error    -> Connect error, problem+json, MQTT reason code
//
// Decoding is strict, because a gateway that guesses stores guesses: whatever
// is not exactly telemetry is an [edge.Error] with code Malformed (cannot be
// parsed) or Invalid (parsed, but a field is wrong), a reason of the closed list
// and the path of the field. Limits that concern meaning are checked by
// [edge.Telemetry.Check], limits that protect the decoder here. No input makes
// the package panic; the fuzz targets hold it to that.
//
// The canonical record is a pure function of the stored payload and the stamps
// of the gateway. It is computed at each delivery, years after the payload was
// accepted if need be, so what this package once decoded it decodes for ever and
// to the same values; proto/vectors pins them for four languages.
//
// A [Decoder] and a [Renderer] reuse their memory and serve one goroutine at a
// time. Everything else is a pure function. The package starts no goroutine and
// does no I/O.
package wire
