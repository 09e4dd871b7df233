package wire_test

import (
	"fmt"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

func ExampleDecoder_Decode() {
	decoder := wire.NewDecoder()
	telemetry, encoding, err := decoder.Decode(edge.EncodingAuto, []byte(`{"schema_version":1,"metrics":{"temperature_c":23.5}}`))
	fmt.Println(telemetry.Metrics[0].Name, telemetry.Metrics[0].Value.Number, encoding, err)

	_, _, err = decoder.Decode(edge.EncodingAuto, []byte(`{"schema_version":1,"metrics":{"temperature_c":null}}`))
	fmt.Println(err)
	// Output:
	// temperature_c 23.5 json <nil>
	// metrics.temperature_c: must be a number, a boolean or a string
}

func ExampleRenderer_AppendRecord() {
	receivedAt := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	line, _ := wire.NewRenderer("site-7").AppendRecord(nil, &edge.Delivery{Record: edge.Record{
		Correlation: edge.NewCorrelationID(receivedAt, 1, 0, 1), Device: "dev-1", Source: edge.SourceMQTT, ReceivedAt: receivedAt,
		Encoding: edge.EncodingJSON, Payload: []byte(`{"schema_version":1,"metrics":{"temperature_c":23.5}}`),
	}})
	fmt.Println(string(line))
	// Output:
	// {"correlation_id":"01a2046a-3900-7000-8000-000004000001","gateway_id":"site-7","device_id":"dev-1","receive_ts":"2026-11-22T18:00:00.000000Z","schema_version":1,"metrics":{"temperature_c":23.5},"source":"mqtt","delivery":"live"}
}
