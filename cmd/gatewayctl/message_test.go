package main

import (
	"errors"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

func TestMessage(t *testing.T) {
	t.Parallel()
	journey := &adminv1.MessageJourney{
		Record: record(), Payload: &telemetryv1.Payload{Data: []byte("{\"a\":\x01}"), Encoding: telemetryv1.Encoding_ENCODING_JSON},
		Commit: &adminv1.MessageCommit{Position: 42, Frame: 40, FrameMessages: 12, CommitTime: at(time.Millisecond)},
		Deliveries: []*adminv1.MessageDelivery{
			{SinkName: "archive", State: sinkv1.DeliveryState_DELIVERY_STATE_ACKED, AttemptCount: 1},
			{SinkName: "analytics", State: sinkv1.DeliveryState_DELIVERY_STATE_IN_FLIGHT, AttemptCount: 2},
		},
		Attempts: attempts(),
	}

	t.Run("Table", func(t *testing.T) {
		t.Parallel()
		expect(t, result{Stdout: text(`
			message    019a1b2c-3d4e-7f00-8a1b-2c3d4e5f6a7b
			device     dev-1
			identity   boot a91f, sequence 42
			metrics    temperature_c=23.5 count=7 door_open=false mode="eco"
			payload    7 bytes of json: {"a":\x01}
			received   2026-11-22T18:00:00.123Z over mqtt
			committed  2026-11-22T18:00:00.124Z, position 42, with 12 messages from 40 on

			SINK       STATE      ATTEMPTS  REASON  DEAD LETTER
			archive    acked      1
			analytics  in_flight  2

			STARTED                   SINK       TRY  OUTCOME  STATUS  TOOK  BATCH  REPLY
			2026-11-22T18:00:01.123Z  analytics  1    busy     503     12ms  40     over\x1b[2Jloaded
			2026-11-22T18:00:03.123Z  analytics  2    running                40
		`)}, trimmed(command(t, &fakeGateway{journey: journey}, "", "message", journey.Record.CorrelationId)))
	})

	for name, row := range map[string]struct {
		arguments []string
		want      *adminv1.GetMessageRequest
	}{
		"ByCorrelationID": {[]string{"x-1"}, &adminv1.GetMessageRequest{Identity: &adminv1.GetMessageRequest_CorrelationId{CorrelationId: "x-1"}}},
		"ByMessageID": {[]string{"--device", "d", "--message-id", "m"}, &adminv1.GetMessageRequest{
			Identity: &adminv1.GetMessageRequest_MessageId{MessageId: &adminv1.DeviceMessageId{DeviceId: "d", MessageId: "m"}}}},
		"BySequenceZero": {[]string{"--device", "d", "--boot-id", "b", "--sequence", "0"}, &adminv1.GetMessageRequest{
			Identity: &adminv1.GetMessageRequest_Sequence{Sequence: &adminv1.DeviceSequence{DeviceId: "d", BootId: "b"}}}},
		"Nothing":              {nil, nil},
		"TwoIdentities":        {[]string{"x-1", "--device", "d"}, nil},
		"DeviceAlone":          {[]string{"--device", "d"}, nil},
		"SequenceWithoutBoot":  {[]string{"--device", "d", "--sequence", "1"}, nil},
		"MessageIDAndSequence": {[]string{"--device", "d", "--message-id", "m", "--sequence", "1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &fakeGateway{journey: journey}
			got := command(t, g, "", append([]string{"message"}, row.arguments...)...)
			if code := map[bool]int{true: exitUsage}[row.want == nil]; got.Code != code {
				t.Errorf("got %+v, want code %d", got, code)
			}
			if diff := cmp.Diff(row.want, g.message, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}

	t.Run("NotFoundSaysWhatToType", func(t *testing.T) {
		t.Parallel()
		got := command(t, &fakeGateway{failWith: connect.NewError(connect.CodeNotFound, errors.New("no such message"))}, "", "message", "x-1")
		expect(t, result{Code: exitFailed, Stderr: text(`
			gatewayctl: not_found: no such message
			  hint: it was never accepted, or retention.delivered has passed; gatewayctl dlq list shows what was refused, gatewayctl tail what comes in
		`)}, got)
	})
}
