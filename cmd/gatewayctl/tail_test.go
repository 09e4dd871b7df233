package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

func TestTail(t *testing.T) {
	t.Parallel()
	event := func(dropped uint64) *telemetryv1.TailResponse {
		return &telemetryv1.TailResponse{DroppedCount: dropped, Event: &telemetryv1.TailResponse_Record{Record: record()}}
	}
	heartbeat := &telemetryv1.TailResponse{Event: &telemetryv1.TailResponse_Heartbeat{Heartbeat: &telemetryv1.TailHeartbeat{Time: at(0)}}}
	line := "2026-11-22T18:00:00.123Z  dev-1  mqtt  019a1b2c-3d4e-7f00-8a1b-2c3d4e5f6a7b  temperature_c=23.5 count=7 door_open=false mode=\"eco\"\n"

	t.Run("CountEndsIt", func(t *testing.T) {
		t.Parallel()
		g := &fakeGateway{events: []*telemetryv1.TailResponse{event(0), heartbeat, event(3), event(3)}, holding: make(chan struct{})}
		expect(t, result{Stdout: line + line, Stderr: "gatewayctl: 3 records were left out because this terminal did not keep up\n"},
			command(t, g, "", "tail", "--count", "2", "--device", "dev-1,dev-2", "--device", "dev-3"))
		if diff := cmp.Diff(&telemetryv1.TailRequest{DeviceIds: []string{"dev-1", "dev-2", "dev-3"}}, g.tailed, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("JSONIsOneObjectPerLine", func(t *testing.T) {
		t.Parallel()
		got := command(t, &fakeGateway{events: []*telemetryv1.TailResponse{event(0), event(0)}, holding: make(chan struct{})}, "", "tail", "-n", "2", "-o", "json")
		for line := range strings.Lines(got.Stdout) {
			var object struct{ DeviceID string }
			if err := json.Unmarshal([]byte(line), &object); err != nil || object.DeviceID != "dev-1" {
				t.Errorf("line %q: %v", line, err)
			}
		}
		if strings.Count(got.Stdout, "\n") != 2 {
			t.Errorf("got %q, want two lines", got.Stdout)
		}
	})

	t.Run("InterruptIsNoFailure", func(t *testing.T) {
		t.Parallel()
		for _, events := range [][]*telemetryv1.TailResponse{nil, {event(0)}} {
			ctx, interrupt := context.WithCancel(t.Context())
			g := &fakeGateway{holding: make(chan struct{}), events: events}
			go func() { <-g.holding; interrupt() }()
			got := runCommand(ctx, "", "--url", serve(t, g), "tail")
			if got.Code != exitDone || got.Stderr != "" {
				t.Errorf("got %+v, want no failure", got)
			}
		}
	})

	t.Run("StoppingGateway", func(t *testing.T) {
		t.Parallel()
		got := command(t, &fakeGateway{failWith: connect.NewError(connect.CodeUnavailable, errors.New("stopping"))}, "", "tail")
		expect(t, result{Code: exitFailed, Stderr: text(`
			gatewayctl: unavailable: stopping
			  hint: the gateway is full or stopping; gatewayctl status shows which
		`)}, got)
	})
}
