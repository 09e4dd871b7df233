package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
)

func TestForecast(t *testing.T) {
	t.Parallel()
	forecast := &adminv1.Forecast{
		IngestRate: 120.04, GrowthBytesPerSecond: 1.5 * (1 << 20), Window: durationpb.New(5 * time.Minute),
		TimeToFull: durationpb.New(2 * time.Hour),
		Sinks: []*adminv1.SinkForecast{
			{SinkId: "1", SinkName: "analytics"},
			{SinkId: "2", SinkName: "archive", DeliveryRate: 200, TimeToDrain: durationpb.New(90 * time.Second)},
			{
				SinkId: "3", SinkName: "lake", DeliveryRate: 120, TimeToDrain: durationpb.New(0),
				FirstLossCorrelationId: "019a1b2c-3d4e-7f00-8a1b-2c3d4e5f6a7b", FirstLossTime: at(time.Hour),
			},
		},
	}

	t.Run("Table", func(t *testing.T) {
		asked := &fakeGateway{forecast: forecast}
		expect(t, result{Stdout: text(`
			measured over  5m0s
			ingest         120.0 messages/s
			growth         1.5 MiB/s
			full           in 2h0m0s

			SINK       DELIVERED/S  CAUGHT UP         FIRST LOSS                MESSAGE
			analytics  0.0          not at this rate  -                         -
			archive    200.0        in 1m30s          -                         -
			lake       120.0        now               2026-11-22T19:00:00.123Z  019a1b2c-3d4e-7f00-8a1b-2c3d4e5f6a7b
		`)}, trimmed(command(t, asked, "", "forecast", "--window", "1h")))
		if got := asked.forecasted.GetWindow().AsDuration(); got != time.Hour {
			t.Errorf("asked for %v, want an hour", got)
		}
	})

	t.Run("Shrinks", func(t *testing.T) {
		t.Parallel()
		shrinking := &adminv1.Forecast{GrowthBytesPerSecond: -2048, Window: durationpb.New(time.Minute)}
		expect(t, result{Stdout: text(`
			measured over  1m0s
			ingest         0.0 messages/s
			growth         -2.0 KiB/s
			full           not at this rate

			SINK  DELIVERED/S  CAUGHT UP  FIRST LOSS  MESSAGE
		`)}, trimmed(command(t, &fakeGateway{forecast: shrinking}, "", "forecast")))
	})

	t.Run("TooEarly", func(t *testing.T) {
		t.Parallel()
		expect(t, result{Stdout: "the gateway has not run long enough to tell\n"}, command(t, &fakeGateway{forecast: &adminv1.Forecast{}}, "", "forecast"))
	})

	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		got := command(t, &fakeGateway{forecast: forecast}, "", "forecast", "-o", "json")
		var object struct{ TimeToFull string }
		if err := json.Unmarshal([]byte(got.Stdout), &object); err != nil || object.TimeToFull != "7200s" {
			t.Errorf("got %q, %v", got.Stdout, err)
		}
	})

	t.Run("WindowOutOfBoundsIsUsage", func(t *testing.T) {
		t.Parallel()
		for _, window := range []string{"59s", "24h1s"} {
			got := command(t, &fakeGateway{forecast: forecast}, "", "forecast", "--window", window)
			if diff := cmp.Diff(exitUsage, got.Code); diff != "" || got.Stderr == "" {
				t.Errorf("%s: %s, stderr %q", window, diff, got.Stderr)
			}
		}
	})
}
