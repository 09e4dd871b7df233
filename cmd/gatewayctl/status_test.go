package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
)

func TestStatus(t *testing.T) {
	t.Parallel()

	t.Run("Healthy", func(t *testing.T) {
		t.Parallel()
		expect(t, result{Stdout: text(`
			gateway              site-7, ready, in development mode, up 1h30m0s, version 0.1.0
			http                 http://127.0.0.1:8080
			queue                3 waiting, 120 stored, oldest 250ms, 3.0 MiB of 40.0 GiB, WAL 1.5 KiB
			mqtt clients         5
			refused at the door  4 kept

			COMPONENT  STATE  DETAIL
			queue      ready

			SINK     KIND  STATE   WAITING  IN FLIGHT  DELIVERED  DEAD  LOST  OLDEST  LAST SUCCESS
			archive  file  active  3        2          117        0     0     250ms   2026-11-22T18:00:00.123Z

			DOOR  RESULT    MESSAGES
			mqtt  accepted  120
		`)}, trimmed(command(t, &fakeGateway{status: healthy()}, "", "status")))
	})

	t.Run("WhatNeedsAnOperatorExitsWith4", func(t *testing.T) {
		t.Parallel()
		status := healthy()
		status.Ready = false
		status.Components[0].State, status.Components[0].Detail = adminv1.ComponentState_COMPONENT_STATE_FAILED, "disk full"
		status.Queue.Full, status.Queue.PinningSink = true, "archive"
		status.Sinks[0].State, status.Sinks[0].StateDetail = sinkv1.SinkState_SINK_STATE_WAITING, "disk full,"
		status.Sinks[0].LastErrorStatus, status.Sinks[0].LastErrorTime, status.Sinks[0].NextAttemptTime = "no space left on device", at(0), at(time.Second)
		status.Sinks[0].DeadLetterCount = 2
		got := command(t, &fakeGateway{status: status}, "", "status")
		_, findings, _ := strings.Cut(got.Stdout, "NEEDS ATTENTION\n")
		want := text(`
			the gateway is not ready
			queue is failed: disk full
			the queue is full, and the doors refuse messages; archive keeps most of it
			sink archive is waiting: disk full, last error no space left on device at 2026-11-22T18:00:00.123Z: , next attempt at 2026-11-22T18:00:01.123Z
			sink archive has 2 dead letters: gatewayctl dlq list --sink archive
		`)
		if diff := cmp.Diff(want, findings); diff != "" || got.Code != exitFound || got.Stderr != "" {
			t.Errorf("code %d, stderr %q, %s", got.Code, got.Stderr, diff)
		}
	})

	t.Run("Headroom", func(t *testing.T) {
		t.Parallel()
		for headroom, want := range map[time.Duration]int{3 * time.Hour: exitFound, 48 * time.Hour: exitDone} {
			status := healthy()
			status.Queue.Headroom = durationpb.New(headroom)
			got := command(t, &fakeGateway{status: status}, "", "status")
			if told := strings.Contains(got.Stdout, "the queue is full in 3h0m0s at the present rate: gatewayctl forecast"); got.Code != want || told != (want == exitFound) {
				t.Errorf("%v: code %d, %q", headroom, got.Code, got.Stdout)
			}
		}
	})

	t.Run("JSONIsOneObject", func(t *testing.T) {
		t.Parallel()
		got := command(t, &fakeGateway{status: healthy()}, "", "status", "-o", "json")
		var object struct{ GatewayID string }
		if err := json.Unmarshal([]byte(got.Stdout), &object); err != nil || object.GatewayID != "site-7" || strings.Count(got.Stdout, "\n") != 1 || strings.Contains(got.Stdout, ": ") {
			t.Errorf("got %q, error %v, want one compact line", got.Stdout, err)
		}
	})
}

// What was ever found damaged is told each time.
func TestStatus_Damage(t *testing.T) {
	t.Parallel()
	status := healthy()
	status.Queue.QuarantinedMessages, status.Queue.SalvagedFiles, status.Queue.LedgerMismatches = 3, 2, 1
	got := command(t, &fakeGateway{status: status}, "", "status")
	_, findings, _ := strings.Cut(got.Stdout, "NEEDS ATTENTION\n")
	want := text(`
		3 damaged messages were set aside: check the disk; gatewayctl loss list says who lost them
		the queue's file was damaged and mended or replaced, or was removed, 2 times: check the disk, and who removes files; the gateway's log says what was kept
		1 counters of the queue are wrong: gatewayctl ledger verify
	`)
	if diff := cmp.Diff(want, findings); diff != "" || got.Code != exitFound {
		t.Errorf("code %d, %s", got.Code, diff)
	}
}
