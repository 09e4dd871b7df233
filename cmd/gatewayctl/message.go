package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
	sinkv1 "combotto.io/gateway/gen/go/gateway/sink/v1"
	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

// identity is how a message is looked for.
type identity struct {
	device, messageID, bootID string
	sequence                  uint64
	sequenceSet               bool
}

func (a *application) messageCommand() *cobra.Command {
	var by identity
	command := &cobra.Command{
		Use:   "message [CORRELATION_ID]",
		Short: "Show the journey of one message: received, committed, and where it is with each sink",
		Example: `  gatewayctl message 019a1b2c-3d4e-7f00-8a1b-2c3d4e5f6a7b
  gatewayctl message --device dev-1 --message-id 01JC
  gatewayctl message --device dev-1 --boot-id a91f --sequence 42`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			by.sequenceSet = command.Flags().Changed("sequence")
			request, err := by.request(arguments)
			if err != nil {
				return err
			}
			return a.message(command.Context(), request)
		},
	}
	flags := command.Flags()
	flags.StringVar(&by.device, "device", "", "the device that sent it, with --message-id, or with --boot-id and --sequence")
	flags.StringVar(&by.messageID, "message-id", "", "the device's name for the message")
	flags.StringVar(&by.bootID, "boot-id", "", "the start of the device that the sequence counts within")
	flags.Uint64Var(&by.sequence, "sequence", 0, "number of the message since that start")
	return command
}

// request reads which of the three identities was given: exactly one must be.
func (i identity) request(arguments []string) (*adminv1.GetMessageRequest, error) {
	byID := len(arguments) == 1
	byName := i.device != "" && i.messageID != ""
	bySequence := i.device != "" && i.bootID != "" && i.sequenceSet
	given := 0
	for _, set := range []bool{i.device != "", i.messageID != "", i.bootID != "", i.sequenceSet} {
		if set {
			given++
		}
	}
	switch {
	case byID && given == 0:
		return &adminv1.GetMessageRequest{Identity: &adminv1.GetMessageRequest_CorrelationId{CorrelationId: arguments[0]}}, nil
	case !byID && byName && given == 2:
		return &adminv1.GetMessageRequest{Identity: &adminv1.GetMessageRequest_MessageId{
			MessageId: &adminv1.DeviceMessageId{DeviceId: i.device, MessageId: i.messageID}}}, nil
	case !byID && bySequence && given == 3:
		return &adminv1.GetMessageRequest{Identity: &adminv1.GetMessageRequest_Sequence{
			Sequence: &adminv1.DeviceSequence{DeviceId: i.device, BootId: i.bootID, Sequence: i.sequence}}}, nil
	}
	return nil, usage("which message?", "give a correlation id, or --device with --message-id, or --device with --boot-id and --sequence")
}

func (a *application) message(ctx context.Context, request *adminv1.GetMessageRequest) error {
	response, err := call(ctx, a, a.admin().GetMessage, request,
		"it was never accepted, or retention.delivered has passed; gatewayctl dlq list shows what was refused, gatewayctl tail what comes in")
	if err != nil {
		return err
	}
	journey := response.GetJourney()
	if a.output == "json" {
		return a.printJSON(journey)
	}
	a.printJourney(journey)
	return nil
}

func (a *application) printJourney(journey *adminv1.MessageJourney) {
	record, commit := journey.GetRecord(), journey.GetCommit()
	head := newTable(a.stdout)
	describeRecord(head, record, journey.GetPayload())
	head.row("committed", fmt.Sprintf("%s, position %d, with %d messages from %d on", moment(commit.GetCommitTime()), commit.GetPosition(), commit.GetFrameMessages(), commit.GetFrame()))
	head.flush()

	a.print("\n")
	if len(journey.Deliveries) == 0 {
		a.print("No sink was configured for it when it arrived.\n")
		return
	}
	sinks := newTable(a.stdout, "SINK", "STATE", "ATTEMPTS", "REASON", "DEAD LETTER")
	for _, delivery := range journey.Deliveries {
		sinks.row(delivery.SinkName, word(delivery.State, "DELIVERY_STATE_"), fmt.Sprint(delivery.AttemptCount), delivery.Reason, delivery.DeadLetterId)
	}
	sinks.flush()
	a.printAttempts(journey.Attempts)
}

// describeRecord writes what a message says and where it came from.
func describeRecord(out *table, record *telemetryv1.Record, payload *telemetryv1.Payload) {
	out.row("message", record.GetCorrelationId())
	out.row("device", record.GetDeviceId())
	if text := identityText(record); text != "" {
		out.row("identity", text)
	}
	out.row("metrics", metricsText(record.GetMetrics()))
	if payload != nil {
		out.row("payload", fmt.Sprintf("%d bytes of %s: %s", len(payload.Data), word(payload.Encoding, "ENCODING_"), excerpt(strings.ToValidUTF8(string(payload.Data), "?"), 160)))
	}
	if record.GetTraceparent() != "" {
		out.row("trace", record.GetTraceparent())
	}
	out.row("received", moment(record.GetReceiveTs())+" over "+word(record.GetSource(), "SOURCE_"))
}

func identityText(record *telemetryv1.Record) string {
	switch {
	case record.GetMessageId() != "":
		return "message " + record.GetMessageId()
	case record.GetBootId() != "" && record.Sequence != nil:
		return fmt.Sprintf("boot %s, sequence %d", record.GetBootId(), record.GetSequence())
	}
	return ""
}

// printAttempts writes the attempts as a table, oldest first.
func (a *application) printAttempts(attempts []*sinkv1.Attempt) {
	if len(attempts) == 0 {
		return
	}
	a.print("\n")
	out := newTable(a.stdout, "STARTED", "SINK", "TRY", "OUTCOME", "STATUS", "TOOK", "BATCH", "REPLY")
	for _, attempt := range attempts {
		outcome, took := "running", ""
		if attempt.EndTime != nil {
			outcome = word(attempt.Outcome, "ATTEMPT_OUTCOME_")
			took = attempt.EndTime.AsTime().Sub(attempt.StartTime.AsTime()).String()
		}
		out.row(moment(attempt.StartTime), attempt.SinkName, fmt.Sprint(attempt.Number), outcome, attempt.Status, took, fmt.Sprint(attempt.BatchSize), excerpt(attempt.Excerpt, 100))
	}
	out.flush()
}
