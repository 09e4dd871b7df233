package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
)

func TestLoss_List(t *testing.T) {
	t.Parallel()
	g := &fakeGateway{losses: []*adminv1.Loss{
		{
			LossId: "2", SinkName: "archive", Kind: adminv1.LossKind_LOSS_KIND_EXPIRED, Reason: "max_lag_bytes", FirstPosition: 1, LastPosition: 90, Count: 60,
			FirstReceiveTs: at(0), LastReceiveTs: at(time.Second), LossTime: at(time.Minute),
			Devices: []*adminv1.DeviceLoss{{DeviceId: "a", Count: 30}, {DeviceId: "b", Count: 20}, {DeviceId: "c", Count: 5}, {DeviceId: "d", Count: 1}},
		},
		{LossId: "1", SinkName: "lake", Kind: adminv1.LossKind_LOSS_KIND_QUARANTINED, Reason: "damaged", FirstPosition: 7, LastPosition: 7, Count: 1, LossTime: at(0)},
	}}
	got := command(t, g, "", "loss", "list", "--sink", "archive", "--kind", "expired", "--device", "a", "--limit", "0")
	want := []string{
		"SINK     KIND         REASON         BY  COUNT  RECEIVED FROM             RECEIVED TO               GIVEN UP                  POSITIONS  DEVICES",
		"archive  expired      max_lag_bytes      60     2026-11-22T18:00:00.123Z  2026-11-22T18:00:01.123Z  2026-11-22T18:01:00.123Z  1-90       a 30, b 20, c 5, others 5",
		"lake     quarantined  damaged            1      -                         -                         2026-11-22T18:00:00.123Z  7-7        others 1",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(got.Stdout), "\n")); diff != "" || got.Code != exitDone {
		t.Errorf("exit %d, %s", got.Code, diff)
	}
	filter := `sink = "archive" AND kind = "EXPIRED" AND device_id = "a"`
	asked := []*adminv1.ListLossesRequest{{PageSize: maxPage, Filter: filter}, {PageSize: maxPage, Filter: filter, PageToken: "x"}}
	if diff := cmp.Diff(asked, g.lost, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestSink_Delete(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		input     string
		arguments []string
		code      int
		want      []*sinkv1.DeleteSinkRequest
	}{
		"empty":     {arguments: nil, want: []*sinkv1.DeleteSinkRequest{{Sink: "lake"}}},
		"dry run":   {arguments: []string{"--discard", "--dry-run"}, want: []*sinkv1.DeleteSinkRequest{{Sink: "lake", Discard: true, ValidateOnly: true}}},
		"yes":       {arguments: []string{"--discard", "--yes"}, want: []*sinkv1.DeleteSinkRequest{{Sink: "lake", Discard: true}}},
		"not yes":   {input: "n\n", arguments: []string{"--discard"}, code: exitFailed, want: []*sinkv1.DeleteSinkRequest{{Sink: "lake", Discard: true, ValidateOnly: true}}},
		"confirmed": {input: "y\n", arguments: []string{"--discard"}, want: []*sinkv1.DeleteSinkRequest{{Sink: "lake", Discard: true, ValidateOnly: true}, {Sink: "lake", Discard: true}}},
	} {
		g := &fakeGateway{}
		got := command(t, g, test.input, append([]string{"sink", "delete", "lake"}, test.arguments...)...)
		if got.Code != test.code {
			t.Errorf("%s: %+v", name, got)
		}
		if diff := cmp.Diff(test.want, g.deleted, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
