package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
)

func (a *application) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the gateway goes; exits with 4 when something needs an operator",
		Long: `Show how the gateway goes: its parts, the queue, the sinks, and what came in.

It exits with 4 when something needs an operator, and lists it at the end: the gateway is not ready, a part of it is
degraded or failed, the queue is full or will be within a day, messages, the file or counters are damaged, a sink waits, is paused or was removed with a backlog, or
has dead letters. Messages that were refused at the door (_ingress) are shown and do not count.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.status(command.Context()) },
	}
}

func (a *application) status(ctx context.Context) error {
	response, err := call(ctx, a, a.admin().GetStatus, &adminv1.GetStatusRequest{}, "")
	if err != nil {
		return err
	}
	status := response.GetStatus()
	findings := attention(status)
	if a.output == "json" {
		if err := a.printJSON(status); err != nil {
			return err
		}
	} else {
		a.printStatus(status)
		for i, finding := range findings {
			if i == 0 {
				a.print("\nNEEDS ATTENTION\n")
			}
			a.print("%s\n", printable(finding))
		}
	}
	if len(findings) > 0 {
		return &failure{code: exitFound}
	}
	return nil
}

func (a *application) printStatus(status *adminv1.Status) {
	ready := "not ready"
	if status.Ready {
		ready = "ready"
	}
	if status.Development {
		ready += ", in development mode"
	}
	queue := status.GetQueue()
	head := newTable(a.stdout)
	head.row("gateway", fmt.Sprintf("%s, %s, up %s, version %s", status.GatewayId, ready, span(status.Uptime), status.Version))
	for _, listener := range status.Listeners {
		head.row(listener.Name, listener.Url)
	}
	head.row("queue", fmt.Sprintf("%d waiting, %d stored, oldest %s, %s of %s, WAL %s", queue.GetDepthMessages(), queue.GetStoredMessages(),
		span(queue.GetOldestAge()), size(queue.GetSizeBytes()), size(queue.GetLimitBytes()), size(queue.GetWalBytes())))
	head.row("mqtt clients", fmt.Sprint(status.MqttConnectionCount))
	head.row("refused at the door", fmt.Sprintf("%d kept", status.IngressDeadLetterCount))
	head.flush()

	a.print("\n")
	components := newTable(a.stdout, "COMPONENT", "STATE", "DETAIL")
	for _, component := range status.Components {
		components.row(component.Name, word(component.State, "COMPONENT_STATE_"), component.Detail)
	}
	components.flush()

	a.print("\n")
	sinks := newTable(a.stdout, "SINK", "KIND", "STATE", "WAITING", "IN FLIGHT", "DELIVERED", "DEAD", "LOST", "OLDEST", "LAST SUCCESS")
	for _, sink := range status.Sinks {
		sinks.row(sink.Name, word(sink.Kind, "SINK_KIND_"), word(sink.State, "SINK_STATE_"), count(sink.DepthMessages), count(sink.InFlightMessages),
			count(sink.DeliveredCount), count(sink.DeadLetterCount), count(sink.ExpiredCount+sink.DiscardedCount), span(sink.OldestAge), moment(sink.LastSuccessTime))
	}
	sinks.flush()

	a.print("\n")
	totals := newTable(a.stdout, "DOOR", "RESULT", "MESSAGES")
	for _, total := range status.IngestTotals {
		totals.row(word(total.Source, "SOURCE_"), word(total.Result, "INGEST_RESULT_"), count(total.Count))
	}
	totals.flush()
}

// headroomLeast is how little time until the queue is full needs an operator.
const headroomLeast = 24 * time.Hour

// attention lists what needs an operator, with what to type next.
func attention(status *adminv1.Status) []string {
	var findings []string
	add := func(format string, values ...any) { findings = append(findings, fmt.Sprintf(format, values...)) }
	if !status.GetReady() {
		add("the gateway is not ready")
	}
	for _, component := range status.GetComponents() {
		if component.State == adminv1.ComponentState_COMPONENT_STATE_DEGRADED || component.State == adminv1.ComponentState_COMPONENT_STATE_FAILED {
			add("%s is %s: %s", component.Name, word(component.State, "COMPONENT_STATE_"), component.Detail)
		}
	}
	switch queue, headroom := status.GetQueue(), status.GetQueue().GetHeadroom(); {
	case queue.GetFull() && queue.GetPinningSink() != "":
		add("the queue is full, and the doors refuse messages; %s keeps most of it", queue.GetPinningSink())
	case queue.GetFull():
		add("the queue is full, and the doors refuse messages")
	case headroom != nil && headroom.AsDuration() < headroomLeast:
		add("the queue is full in %s at the present rate: gatewayctl forecast", span(headroom))
	}
	if damaged := status.GetQueue().GetQuarantinedMessages(); damaged > 0 {
		add("%d damaged messages were set aside: check the disk; gatewayctl loss list says who lost them", damaged)
	}
	if salvaged := status.GetQueue().GetSalvagedFiles(); salvaged > 0 {
		add("the queue's file was damaged and mended or replaced, or was removed, %d times: check the disk, and who removes files; the gateway's log says what was kept", salvaged)
	}
	if wrong := status.GetQueue().GetLedgerMismatches(); wrong > 0 {
		add("%d counters of the queue are wrong: gatewayctl ledger verify", wrong)
	}
	for _, sink := range status.GetSinks() {
		if needsOperator(sink) {
			add("sink %s is %s: %s", sink.Name, word(sink.State, "SINK_STATE_"), sinkTrouble(sink))
		}
		if sink.DeadLetterCount > 0 {
			add("sink %s has %d dead letters: gatewayctl dlq list --sink %s", sink.Name, sink.DeadLetterCount, sink.Name)
		}
	}
	return findings
}

func needsOperator(sink *sinkv1.SinkStatus) bool {
	switch sink.State {
	case sinkv1.SinkState_SINK_STATE_WAITING, sinkv1.SinkState_SINK_STATE_PAUSED:
		return true
	case sinkv1.SinkState_SINK_STATE_REMOVED:
		return sink.DepthMessages > 0
	}
	return false
}

// sinkTrouble says why a sink does not deliver.
func sinkTrouble(sink *sinkv1.SinkStatus) string {
	text := sink.StateDetail
	if sink.PauseReason != sinkv1.SinkPauseReason_SINK_PAUSE_REASON_UNSPECIFIED {
		text = word(sink.PauseReason, "SINK_PAUSE_REASON_") + ", " + text
	}
	if sink.LastErrorStatus != "" {
		text += fmt.Sprintf(" last error %s at %s: %s", sink.LastErrorStatus, moment(sink.LastErrorTime), excerpt(sink.LastErrorExcerpt, 120))
	}
	if sink.NextAttemptTime != nil {
		text += ", next attempt at " + moment(sink.NextAttemptTime)
	}
	return text
}
