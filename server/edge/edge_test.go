package edge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
)

func TestCorrelationID(t *testing.T) {
	t.Run("RoundTrip", rapid.MakeCheck(func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(0, 1<<48-1).Draw(t, "ms")).UTC()
		position := edge.Position(rapid.Int64Range(1, 1<<48-1).Draw(t, "position"))
		log := uint16(rapid.IntRange(0, 1023).Draw(t, "log"))
		id := edge.NewCorrelationID(at, position, uint16(rapid.IntRange(0, 65535).Draw(t, "index")), log)

		parsed, ok := edge.ParseCorrelationID(strings.ToUpper(id.String()))
		if !ok || parsed != id {
			t.Fatalf("%s parses to %s, %v", id, parsed, ok)
		}
		if parsed.Position() != position || parsed.Log() != log || !parsed.ReceivedAt().Equal(at) {
			t.Fatalf("%s carries %d %d %v, want %d %d %v", id, parsed.Position(), parsed.Log(), parsed.ReceivedAt(), position, log, at)
		}
	}))
	t.Run("HasTheShapeOfUUIDVersion7", func(t *testing.T) {
		id := edge.NewCorrelationID(time.UnixMilli(0x0123456789AB), 0xABCDEF012345, 0xFFFF, 0x3FF).String()
		if id != "01234567-89ab-7abc-b7bc-048d17ffffff" {
			t.Errorf("got %s", id)
		}
	})
	t.Run("RefusesWhatIsNone", func(t *testing.T) {
		valid := edge.NewCorrelationID(time.UnixMilli(1), 1, 0, 1).String()
		for _, text := range []string{"", "x", valid[:35], valid + "0", strings.Replace(valid, "-7", "-4", 1), strings.ReplaceAll(valid, "-", "0"), "g" + valid[1:], valid[:19] + "0" + valid[20:]} {
			if _, ok := edge.ParseCorrelationID(text); ok {
				t.Errorf("%q parses", text)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	long := strings.Repeat("a", 65)
	for _, test := range []struct {
		name         string
		valid        func(string) bool
		good, refuse []string
	}{
		{"device id", edge.ValidDeviceID[string], []string{"a", "0", "dev-1", "A._-z", long[:64]}, []string{"", "-a", ".a", "_a", "a/b", "a b", "+", "#", "ä", "a\x00", long}},
		{"message id", edge.ValidMessageID[string], []string{"!", "~", "01JC/0", long[:64]}, []string{"", " ", "a b", "ä", "\x7f", long}},
		{"boot id", edge.ValidBootID[string], []string{"-", "a91f", long[:32]}, []string{"", "a/b", long[:33]}},
		{"metric name", edge.ValidMetricName[string], []string{"_", "a.b", "T9", long[:64]}, []string{"", "9a", ".a", "a-b", "a b", long}},
		{"sink name", edge.ValidSinkName, []string{"a", "a-9", long[:63]}, []string{"", "9a", "A", "a_b", "_ingress", long[:64]}},
	} {
		for _, text := range test.good {
			if !test.valid(text) {
				t.Errorf("%s %q is refused", test.name, text)
			}
		}
		for _, text := range test.refuse {
			if test.valid(text) {
				t.Errorf("%s %q is accepted", test.name, text)
			}
		}
	}
}

func TestSlotOf(t *testing.T) {
	// Recorded attempts are read with this function later: its values are fixed.
	want := map[edge.DeviceID]int{"dev-1": 6, "dev-2": 3, "a": 4, "": 5}
	got := map[edge.DeviceID]int{}
	for device := range want {
		got[device] = edge.SlotOf(device, 8)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for slots := range 2 {
		if got := edge.SlotOf("dev-1", slots); got != 0 {
			t.Errorf("%d slots: slot %d", slots, got)
		}
	}
}

func TestAttempt_Covers(t *testing.T) {
	attempt := edge.Attempt{First: 10, Last: 20, Slots: 8, Slot: edge.SlotOf("dev-1", 8)}
	for _, test := range []struct {
		position edge.Position
		device   edge.DeviceID
		want     bool
	}{{10, "dev-1", true}, {20, "dev-1", true}, {9, "dev-1", false}, {21, "dev-1", false}, {15, "dev-2", false}} {
		if got := attempt.Covers(test.position, test.device); got != test.want {
			t.Errorf("%s at %d: %v", test.device, test.position, got)
		}
	}
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("x", edge.MaxExcerptBytes)
	for text, want := range map[string]string{
		"": "", "short": "short", "a\xffb\xc3": "ab", long: long, long + "y": long, long[1:] + "é": long[1:], long[2:] + "éé": long[2:] + "é",
	} {
		if diff := cmp.Diff(want, edge.Excerpt(text)); diff != "" {
			t.Errorf("%d bytes: %s", len(text), diff)
		}
	}
	t.Run("AnyText", rapid.MakeCheck(func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.Byte(), 0, 2*edge.MaxExcerptBytes).Draw(t, "text"))
		if got := edge.Excerpt(text); len(got) > edge.MaxExcerptBytes || !utf8.ValidString(got) {
			t.Fatalf("%d bytes: %q", len(got), got)
		}
	}))
}

// TestErrors holds the errors that many packages answer with to what their
// senders rely on: they may come again, and the table of package wire says when.
func TestErrors(t *testing.T) {
	for _, err := range []*edge.Error{edge.NewFull(), edge.NewStopping()} {
		if err.Permanent() || err.RetryAfter != 0 || err.Message == "" || err.Hint == "" {
			t.Errorf("got %+v", err)
		}
	}
	if full, stopping := edge.NewFull(), edge.NewStopping(); full.Code != edge.Full || full.Reason != edge.ReasonFull ||
		stopping.Code != edge.Stopping || stopping.Reason != edge.ReasonStopping {
		t.Errorf("got %+v and %+v", full, stopping)
	}
}

func TestAsError(t *testing.T) {
	refusal := edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "metrics", "%d too many", 3)
	if got := edge.AsError(fmt.Errorf("wrap: %w", refusal)); got != refusal {
		t.Errorf("a wrapped Error becomes %v", got)
	}
	secret := errors.New("password 1234")
	hidden := edge.AsError(secret)
	if hidden.Code != edge.Internal || strings.Contains(hidden.Message, "1234") || !errors.Is(hidden, secret) {
		t.Errorf("got %+v", hidden)
	}
	if edge.AsError(nil) != nil {
		t.Error("nil becomes an error")
	}
}

func TestTelemetry_Check(t *testing.T) {
	valid := func() *edge.Telemetry {
		return &edge.Telemetry{SchemaVersion: 1, Metrics: []edge.Metric{{Name: "t", Value: edge.Value{Kind: edge.KindInteger}}}}
	}
	metrics := func(n int) (all []edge.Metric) {
		for range n {
			all = append(all, edge.Metric{Name: "t"})
		}
		return all
	}
	for name, test := range map[string]struct {
		change func(*edge.Telemetry)
		want   edge.Reason
	}{
		"valid":                  {func(*edge.Telemetry) {}, ""},
		"own device":             {func(t *edge.Telemetry) { t.Device = "dev-1" }, ""},
		"other device":           {func(t *edge.Telemetry) { t.Device = "dev-2" }, edge.ReasonDevice},
		"no version":             {func(t *edge.Telemetry) { t.SchemaVersion = 0 }, edge.ReasonMissingField},
		"unknown version":        {func(t *edge.Telemetry) { t.SchemaVersion = 2 }, edge.ReasonSchemaVersion},
		"no metric":              {func(t *edge.Telemetry) { t.Metrics = nil }, edge.ReasonMissingField},
		"256 metrics":            {func(t *edge.Telemetry) { t.Metrics = metrics(256) }, ""},
		"257 metrics":            {func(t *edge.Telemetry) { t.Metrics = metrics(257) }, edge.ReasonOutOfRange},
		"64 attributes":          {func(t *edge.Telemetry) { t.Attributes = slicesOf(64) }, ""},
		"65 attributes":          {func(t *edge.Telemetry) { t.Attributes = slicesOf(65) }, edge.ReasonOutOfRange},
		"metric name":            {func(t *edge.Telemetry) { t.Metrics[0].Name = "9" }, edge.ReasonOutOfRange},
		"text of 1024":           {func(t *edge.Telemetry) { t.Metrics[0].Value.Text = strings.Repeat("x", 1024) }, ""},
		"text of 1025":           {func(t *edge.Telemetry) { t.Metrics[0].Value.Text = strings.Repeat("x", 1025) }, edge.ReasonOutOfRange},
		"attribute of 256":       {func(t *edge.Telemetry) { t.Attributes = []edge.Attribute{{"a", strings.Repeat("x", 256)}} }, ""},
		"attribute of 257":       {func(t *edge.Telemetry) { t.Attributes = []edge.Attribute{{"a", strings.Repeat("x", 257)}} }, edge.ReasonOutOfRange},
		"attribute without name": {func(t *edge.Telemetry) { t.Attributes = []edge.Attribute{{"", "x"}} }, edge.ReasonOutOfRange},
		"message id":             {func(t *edge.Telemetry) { t.Identity.MessageID = "a b" }, edge.ReasonOutOfRange},
		"boot id":                {func(t *edge.Telemetry) { t.Identity.BootID = "a b" }, edge.ReasonOutOfRange},
		"largest sequence":       {func(t *edge.Telemetry) { t.Identity.Sequence = 1<<53 - 1 }, ""},
		"sequence too large":     {func(t *edge.Telemetry) { t.Identity.Sequence = 1 << 53 }, edge.ReasonOutOfRange},
	} {
		t.Run(name, func(t *testing.T) {
			telemetry := valid()
			test.change(telemetry)
			var got edge.Reason
			if err := telemetry.Check("dev-1"); err != nil {
				got = edge.AsError(err).Reason
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func slicesOf(n int) (all []edge.Attribute) {
	for range n {
		all = append(all, edge.Attribute{Name: "a"})
	}
	return all
}
