package fleet_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/fleet"
)

func TestBehaviour(t *testing.T) {
	t.Run("BurstyMakesTwoHundredAtOnce", testBurstyMakesTwoHundredAtOnce)
	t.Run("FaultyBreaksSomeAndRepeatsSome", testFaultyBreaksSomeAndRepeatsSome)
	t.Run("BrokenMessageThatEndsTheConnectionIsAbandoned", testBrokenMessageThatEndsTheConnectionIsAbandoned)
	t.Run("OfflineLeavesAndLosesNothing", testOfflineLeavesAndLosesNothing)
}

func testBurstyMakesTwoHundredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &scriptedBroker{}
		settings := fleet.Settings{Devices: 1, Behaviours: []fleet.Behaviour{fleet.Bursty}}
		stats := runFor(t, broker.newFleet(t, settings), 10*time.Minute)
		if stats.Produced%200 != 1 || stats.Produced < 2000 || stats.Acknowledged != stats.Produced {
			t.Errorf("stats %+v", stats)
		}
	})
}

func testFaultyBreaksSomeAndRepeatsSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &scriptedBroker{answer: refuseBroken}
		settings := fleet.Settings{Devices: 1, Behaviours: []fleet.Behaviour{fleet.Faulty}}
		stats := runFor(t, broker.newFleet(t, settings), 10*time.Minute)

		var kinds faultKinds
		seen := map[identity]string{}
		for _, message := range broker.on("sim-001", "telemetry") {
			kinds.count(message.Payload, seen)
		}
		if kinds.truncated == 0 || kinds.wrongType == 0 || kinds.wrongDevice == 0 || kinds.oversize == 0 || kinds.twice == 0 {
			t.Errorf("a fault is missing: %+v", kinds)
		}
		if share := float64(kinds.fine) / float64(stats.Produced); share < 0.55 || share > 0.8 {
			t.Errorf("%.0f %% of the messages are in order", share*100)
		}
		broken := kinds.truncated + kinds.wrongType + kinds.wrongDevice + kinds.oversize
		if int(stats.Refused) != broken || int(stats.Acknowledged) != kinds.fine+kinds.twice {
			t.Errorf("%d broken, %+v, stats %+v", broken, kinds, stats)
		}
	})
}

func testBrokenMessageThatEndsTheConnectionIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &scriptedBroker{answer: func(came received) reply {
			if refuseBroken(came) != replySuccess {
				return replyHangUp
			}
			return replySuccess
		}}
		settings := fleet.Settings{Devices: 1, Behaviours: []fleet.Behaviour{fleet.Faulty}}
		stats := runFor(t, broker.newFleet(t, settings), time.Minute)
		if stats.Abandoned == 0 || stats.Abandoned != stats.Connects-1 || stats.Acknowledged+stats.Abandoned != stats.Produced {
			t.Errorf("stats %+v", stats)
		}
	})
}

func testOfflineLeavesAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &scriptedBroker{}
		settings := fleet.Settings{Devices: 1, Behaviours: []fleet.Behaviour{fleet.Offline}}
		stats := runFor(t, broker.newFleet(t, settings), 10*time.Minute)
		if stats.Connects < 10 || stats.Acknowledged != stats.Produced {
			t.Errorf("stats %+v", stats)
		}
		var online, offline int64
		for _, status := range broker.on("sim-001", "status") {
			switch status.Payload {
			case "online":
				online++
			case "offline":
				offline++
			}
		}
		// Half of the departures are announced, for the others speaks the will:
		// each connection says online once and offline once.
		if online != stats.Connects || offline != stats.Connects {
			t.Errorf("%d times online, %d times offline, stats %+v", online, offline, stats)
		}
		if diff := cmp.Diff(upTo(1, int(stats.Produced)), sequences(t, broker.on("sim-001", "telemetry"))); diff != "" {
			t.Errorf("sequences (-want +got):\n%s", diff)
		}
	})
}

func TestBoard_Protobuf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &scriptedBroker{}
		stats := runFor(t, broker.newFleet(t, fleet.Settings{Devices: 3}), 10*time.Second)
		came := broker.on("sim-003", "telemetry")
		if stats.Acknowledged != stats.Produced || len(came) < 9 {
			t.Fatalf("%d messages, stats %+v", len(came), stats)
		}
		for i, message := range came {
			var telemetry telemetryv1.Telemetry
			if err := proto.Unmarshal([]byte(message.Payload), &telemetry); err != nil || message.ContentType != "application/protobuf" {
				t.Fatalf("content type %q, %v", message.ContentType, err)
			}
			if telemetry.SchemaVersion != 1 || telemetry.GetSequence() != uint64(i+1) || len(telemetry.BootId) != 8 || len(telemetry.Metrics) != 6 {
				t.Errorf("message %d is %v", i+1, &telemetry)
			}
		}
	})
}

// parsed is what the tests look at in a payload.
type parsed struct {
	identity
	SchemaVersion any    `json:"schema_version"`
	Device        string `json:"device_id"`
}

// refuseBroken is a gateway that checks its input.
func refuseBroken(came received) reply {
	if came.ContentType == "" {
		return replySuccess // status
	}
	var message parsed
	if err := json.Unmarshal([]byte(came.Payload), &message); err != nil {
		return replyInvalid
	}
	if message.SchemaVersion != float64(1) || message.Device != "" || len(came.Payload) > edge.MaxPayloadBytes {
		return replyInvalid
	}
	return replySuccess
}

type faultKinds struct{ fine, truncated, wrongType, wrongDevice, oversize, twice int }

func (k *faultKinds) count(payload string, seen map[identity]string) {
	var message parsed
	switch err := json.Unmarshal([]byte(payload), &message); {
	case err != nil:
		k.truncated++
	case message.SchemaVersion != float64(1):
		k.wrongType++
	case message.Device != "":
		k.wrongDevice++
	case len(payload) > edge.MaxPayloadBytes:
		k.oversize++
	case seen[message.identity] == payload:
		k.twice++
	default:
		k.fine++
		seen[message.identity] = payload
	}
}
