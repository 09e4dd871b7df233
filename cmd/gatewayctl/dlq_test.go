package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	dlqv1 "combotto.io/gateway/gen/go/gateway/dlq/v1"
)

func letters(n int) []*dlqv1.DeadLetter {
	letters := make([]*dlqv1.DeadLetter, n)
	for i := range letters {
		letters[i] = &dlqv1.DeadLetter{
			DeadLetterId: "2-" + string(rune('1'+i)), SinkName: "analytics", Reason: "rejected", Status: "422", Excerpt: "bad unit", Record: record(),
			AttemptCount: 2, CreateTime: at(4 * time.Second), FirstErrorTime: at(time.Second), LastErrorTime: at(3 * time.Second), Attempts: attempts()[:1],
		}
	}
	return letters
}

func TestDLQ_List(t *testing.T) {
	t.Parallel()
	g := &fakeGateway{letters: letters(5)}
	got := command(t, g, "", "dlq", "list", "--sink", "analytics", "--reason", `a"b`, "--limit", "3")
	rows := strings.Split(trimmed(got).Stdout, "\n")
	if len(rows) != 5 || got.Code != exitDone || got.Stderr != "gatewayctl: there are more than 3; --limit 0 lists all\n" {
		t.Errorf("got %+v, want a header and 3 rows", got)
	}
	want := "2-1  analytics  rejected  422     dev-1   019a1b2c-3d4e-7f00-8a1b-2c3d4e5f6a7b  2026-11-22T18:00:04.123Z  2         no        bad unit"
	if rows[1] != want {
		t.Errorf("got  %s\nwant %s", rows[1], want)
	}
	filter := `sink = "analytics" AND reason = "a\"b"`
	if diff := cmp.Diff([]*dlqv1.ListDeadLettersRequest{{PageSize: 3, Filter: filter}, {PageSize: 1, Filter: filter, PageToken: "xx"}}, g.listed, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}

	everything := command(t, &fakeGateway{letters: letters(5)}, "", "dlq", "list", "--limit", "0", "-o", "json")
	if strings.Count(everything.Stdout, "\n") != 5 || everything.Stderr != "" {
		t.Errorf("got %+v, want 5 lines", everything)
	}
}

func TestDLQ_Show(t *testing.T) {
	t.Parallel()
	expect(t, result{Stdout: text(`
		dead letter  2-1
		sink         analytics
		reason       rejected
		status       422
		reply        bad unit
		attempts     2, the first failed at 2026-11-22T18:00:01.123Z, the last at 2026-11-22T18:00:03.123Z
		died         2026-11-22T18:00:04.123Z
		requeued     no
		message      019a1b2c-3d4e-7f00-8a1b-2c3d4e5f6a7b
		device       dev-1
		identity     boot a91f, sequence 42
		metrics      temperature_c=23.5 count=7 door_open=false mode="eco"
		received     2026-11-22T18:00:00.123Z over mqtt

		STARTED                   SINK       TRY  OUTCOME  STATUS  TOOK  BATCH  REPLY
		2026-11-22T18:00:01.123Z  analytics  1    busy     503     12ms  40     over\x1b[2Jloaded
	`)}, trimmed(command(t, &fakeGateway{letters: letters(1)}, "", "dlq", "show", "2-1")))
	counted := letters(1)
	counted[0].RequeueCount = 2
	if shown := command(t, &fakeGateway{letters: counted}, "", "dlq", "show", "2-1"); !strings.Contains(shown.Stdout, "no, 2 times before\n") {
		t.Errorf("got %s", shown.Stdout)
	}
	expect(t, result{Code: exitFailed, Stderr: text(`
		gatewayctl: not_found: no dead letter of this id
		  hint: gatewayctl dlq list shows the ids; one that was requeued and delivered is gone
	`)}, command(t, &fakeGateway{}, "", "dlq", "show", "9-9"))
}

func TestDLQ_Requeue(t *testing.T) {
	t.Parallel()
	type requests = []*dlqv1.RequeueDeadLettersRequest
	ask := "Requeue 5 dead letters? [y/N] "
	for name, row := range map[string]struct {
		arguments []string
		input     string
		want      result
		requests  requests
	}{
		"ByID": {[]string{"2-1", "2-2"}, "", result{Stdout: "2 dead letters requeued\n"}, requests{{DeadLetterIds: []string{"2-1", "2-2"}}}},
		"DryRun": {[]string{"--sink", "analytics", "--dry-run"}, "", result{Stdout: "5 dead letters would be requeued\n"},
			requests{{Filter: `sink = "analytics"`, ValidateOnly: true}}},
		"FilterConfirmed": {[]string{"--reason", "rejected"}, "y\n", result{Stdout: "5 dead letters requeued\n", Stderr: ask},
			requests{{Filter: `reason = "rejected"`, ValidateOnly: true}, {Filter: `reason = "rejected"`}}},
		"FilterDeclined": {[]string{"--reason", "rejected"}, "", result{Code: exitFailed, Stderr: ask + "gatewayctl: nothing was requeued\n  hint: --yes does not ask, --dry-run only counts\n"},
			requests{{Filter: `reason = "rejected"`, ValidateOnly: true}}},
		"AllWithYes":    {[]string{"--all", "--yes"}, "", result{Stdout: "5 dead letters requeued\n"}, requests{{Filter: "*"}}},
		"NothingChosen": {nil, "", result{Code: exitUsage, Stderr: "gatewayctl: which dead letters?\n  hint: give ids, or --sink, --reason and --device, or --all\n"}, nil},
		"TwoWays":       {[]string{"2-1", "--all"}, "", result{Code: exitUsage, Stderr: "gatewayctl: which dead letters?\n  hint: give ids, or --sink, --reason and --device, or --all\n"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &fakeGateway{letters: letters(5)}
			expect(t, row.want, command(t, g, row.input, append([]string{"dlq", "requeue"}, row.arguments...)...))
			if diff := cmp.Diff(row.requests, requests(g.requeued), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
