package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"combotto.io/gateway/server/fleet"
	"combotto.io/gateway/server/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func observer() *observe.Observer { return observe.NewDiscard() }

// identity is what makes a message recognisable.
type identity struct {
	BootID   string `json:"boot_id"`
	Sequence int    `json:"sequence"`
}

func identities(t *testing.T, messages []received) []identity {
	t.Helper()
	var found []identity
	for _, message := range messages {
		var one identity
		if err := json.Unmarshal([]byte(message.Payload), &one); err != nil {
			t.Fatalf("payload %q: %v", message.Payload, err)
		}
		found = append(found, one)
	}
	return found
}

// sequences checks that all messages are of one boot and returns their numbers.
func sequences(t *testing.T, messages []received) []int {
	t.Helper()
	var numbers []int
	for _, one := range identities(t, messages) {
		if first := identities(t, messages[:1])[0]; one.BootID == "" || one.BootID != first.BootID {
			t.Fatalf("boot id %q after %q", one.BootID, first.BootID)
		}
		numbers = append(numbers, one.Sequence)
	}
	return numbers
}

func upTo(first, last int) []int {
	var numbers []int
	for number := first; number <= last; number++ {
		numbers = append(numbers, number)
	}
	return numbers
}

// runFor lets the fleet work for a while of bubble time.
func runFor(t *testing.T, boards *fleet.Fleet, duration time.Duration) fleet.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	if err := boards.Run(ctx); err != nil {
		t.Fatal(err)
	}
	stats := boards.Stats()
	if sum := stats.Acknowledged + stats.Refused + stats.Abandoned + stats.Dropped; stats.Pending != 0 || stats.Produced != sum || stats.Connected != 0 {
		t.Fatalf("the account does not close: %+v", stats)
	}
	return stats
}

func TestFleet_Run(t *testing.T) {
	t.Run("NormalBoardPublishesOncePerInterval", testNormalBoardPublishesOncePerInterval)
	t.Run("UnacknowledgedMessageIsSentAgainUnderItsIdentity", testUnacknowledgedMessageIsSentAgainUnderItsIdentity)
	t.Run("OldestMessagesAreLostWhenTheBoardIsFull", testOldestMessagesAreLostWhenTheBoardIsFull)
	t.Run("FullGatewayIsAskedAgain", testFullGatewayIsAskedAgain)
	t.Run("RefusedMessageIsNotSentAgain", testRefusedMessageIsNotSentAgain)
	t.Run("SilentBrokerHoldsNobodyBeyondTheDrainLimit", testSilentBrokerHoldsNobodyBeyondTheDrainLimit)
	t.Run("SameSeedSameFleet", testSameSeedSameFleet)
}

func testNormalBoardPublishesOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &scriptedBroker{}
		stats := runFor(t, broker.newFleet(t, fleet.Settings{Devices: 2}), time.Minute)

		came := broker.on("sim-001", "telemetry")
		if len(came) < 54 || len(came) > 67 {
			t.Errorf("%d messages in a minute", len(came))
		}
		if diff := cmp.Diff(upTo(1, len(came)), sequences(t, came)); diff != "" {
			t.Errorf("sequences (-want +got):\n%s", diff)
		}
		for _, message := range came {
			if message.QoS != 1 || message.Retain || message.ContentType != "application/json" {
				t.Errorf("published as %+v", message)
			}
		}
		online := received{Topic: "devices/sim-001/status", Payload: "online", Retain: true, QoS: 1}
		offline := online
		offline.Payload = "offline"
		if diff := cmp.Diff([]received{online, offline}, broker.on("sim-001", "status")); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		want := fleet.Stats{Devices: 2, Connects: 2, Produced: stats.Produced, Acknowledged: stats.Produced}
		if diff := cmp.Diff(want, stats); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	})
}

func testUnacknowledgedMessageIsSentAgainUnderItsIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var telemetry atomic.Int32
		broker := &scriptedBroker{answer: func(came received) reply {
			if strings.HasSuffix(came.Topic, "/telemetry") && telemetry.Add(1) == 3 {
				return replyHangUp
			}
			return replySuccess
		}}
		stats := runFor(t, broker.newFleet(t, fleet.Settings{Devices: 1}), 10*time.Second)

		came := sequences(t, broker.on("sim-001", "telemetry"))
		want := append([]int{1, 2, 3}, upTo(3, int(stats.Produced))...)
		if diff := cmp.Diff(want, came); diff != "" {
			t.Errorf("sequences (-want +got):\n%s", diff)
		}
		if stats.Resent != 1 || stats.Connects != 2 || stats.Acknowledged != stats.Produced {
			t.Errorf("stats %+v", stats)
		}
	})
}

func testOldestMessagesAreLostWhenTheBoardIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &scriptedBroker{}
		broker.hangUp()
		boards := broker.newFleet(t, fleet.Settings{Devices: 1, Buffer: 10})
		time.AfterFunc(100*time.Second, broker.open)
		stats := runFor(t, boards, 200*time.Second)

		came := sequences(t, broker.on("sim-001", "telemetry"))
		first := int(stats.Produced) - len(came) + 1
		if diff := cmp.Diff(upTo(first, int(stats.Produced)), came); diff != "" {
			t.Errorf("sequences (-want +got):\n%s", diff)
		}
		if stats.Dropped < 70 || int(stats.Dropped) != first-1 || stats.ConnectErrors == 0 {
			t.Errorf("first sequence %d, stats %+v", first, stats)
		}
	})
}

func testFullGatewayIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := time.Now().Add(5 * time.Second)
		broker := &scriptedBroker{answer: func(came received) reply {
			if strings.HasSuffix(came.Topic, "/telemetry") && time.Now().Before(full) {
				return replyFull
			}
			return replySuccess
		}}
		stats := runFor(t, broker.newFleet(t, fleet.Settings{Devices: 1}), 20*time.Second)
		if stats.Acknowledged != stats.Produced || stats.Resent < 10 || stats.Connects != 1 {
			t.Errorf("stats %+v", stats)
		}
	})
}

func testRefusedMessageIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &scriptedBroker{answer: func(came received) reply {
			if strings.HasSuffix(came.Topic, "/telemetry") {
				return replyInvalid
			}
			return replySuccess
		}}
		stats := runFor(t, broker.newFleet(t, fleet.Settings{Devices: 1}), 10*time.Second)
		want := fleet.Stats{Devices: 1, Connects: 1, Produced: stats.Produced, Refused: stats.Produced}
		if diff := cmp.Diff(want, stats); diff != "" || stats.Produced == 0 {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	})
}

func testSilentBrokerHoldsNobodyBeyondTheDrainLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &scriptedBroker{answer: func(received) reply { return replyNothing }}
		boards, began := broker.newFleet(t, fleet.Settings{Devices: 3}), time.Now()
		stats := runFor(t, boards, 10*time.Second)
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("the fleet stopped after %v", took)
		}
		if stats.Acknowledged != 0 || stats.Dropped != stats.Produced {
			t.Errorf("stats %+v", stats)
		}
	})
}

func testSameSeedSameFleet(t *testing.T) {
	var runs [2][]received
	for i := range runs {
		synctest.Test(t, func(t *testing.T) {
			broker := &scriptedBroker{}
			settings := fleet.Settings{Devices: 4, Seed: 7, Behaviours: []fleet.Behaviour{fleet.Normal, fleet.Bursty, fleet.Faulty, fleet.Offline}}
			runFor(t, broker.newFleet(t, settings), 2*time.Minute)
			for _, device := range []string{"sim-001", "sim-002", "sim-003", "sim-004"} {
				runs[i] = append(runs[i], broker.on(device, "telemetry")...)
			}
		})
	}
	if diff := cmp.Diff(runs[0], runs[1]); diff != "" || len(runs[0]) < 200 {
		t.Errorf("%d messages, first run and second (-first +second):\n%s", len(runs[0]), diff)
	}
}

func TestNew(t *testing.T) {
	t.Run("RefusesSettingsThatMakeNoSense", testRefusesSettingsThatMakeNoSense)
}

func testRefusesSettingsThatMakeNoSense(t *testing.T) {
	good := fleet.Settings{Broker: "mqtt://127.0.0.1:1883", Devices: 1}
	for name, spoil := range map[string]func(*fleet.Settings){
		"devices":  func(s *fleet.Settings) { s.Devices = 0 },
		"interval": func(s *fleet.Settings) { s.Interval = time.Microsecond },
		"buffer":   func(s *fleet.Settings) { s.Buffer = -1 },
		"prefix":   func(s *fleet.Settings) { s.Prefix = "a/b" },
		"broker":   func(s *fleet.Settings) { s.Broker = "http://127.0.0.1:80" },
	} {
		settings := good
		spoil(&settings)
		if _, err := fleet.New(settings, observer()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	boards, err := fleet.New(good, observer())
	if err != nil || boards.Seed() == 0 {
		t.Errorf("seed %d, error %v", boards.Seed(), err)
	}
}

func TestParseBehaviours(t *testing.T) {
	got, err := fleet.ParseBehaviours("normal, faulty,normal")
	if diff := cmp.Diff([]fleet.Behaviour{fleet.Normal, fleet.Faulty, fleet.Normal}, got); diff != "" || err != nil {
		t.Errorf("error %v, behaviours (-want +got):\n%s", err, diff)
	}
	if _, err := fleet.ParseBehaviours("normal,lazy"); err == nil || !strings.Contains(err.Error(), `"lazy"`) {
		t.Errorf("lazy: %v", err)
	}
}

func ExampleNew() {
	boards, err := fleet.New(fleet.Settings{
		Broker:     "mqtt://127.0.0.1:1883",
		Devices:    5,
		Behaviours: []fleet.Behaviour{fleet.Normal, fleet.Faulty},
		Seed:       1, // the same boards send the same readings again
	}, observe.NewDiscard())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(boards.Stats().Devices, "boards, seed", boards.Seed())
	// Run connects them, and ends with its context.
	// Output: 5 boards, seed 1
}
