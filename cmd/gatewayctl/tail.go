package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

func (a *application) tailCommand() *cobra.Command {
	var devices []string
	var limit uint64
	command := &cobra.Command{
		Use:   "tail",
		Short: "Show records as they are committed, one line each, until interrupted",
		Long: `Show records as they are committed, one line each: receive time, device, door, correlation id and metrics. It ends
with Ctrl-C, or after --count records. Watching never delays a device; what this terminal is too slow for is left out, and
it says how much.`,
		Example: "  gatewayctl tail\n  gatewayctl tail --device dev-1 --count 10 -o json",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.tail(command.Context(), &telemetryv1.TailRequest{DeviceIds: devices}, limit)
		},
	}
	command.Flags().StringSliceVar(&devices, "device", nil, "only this device; may be given up to 100 times")
	command.Flags().Uint64VarP(&limit, "count", "n", 0, "end after this many records; 0 is never")
	return command
}

// tail has no deadline: silence is normal.
func (a *application) tail(ctx context.Context, request *telemetryv1.TailRequest, limit uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := a.telemetry().Tail(ctx, request)
	if err != nil {
		return a.endOfTail(ctx, err)
	}
	defer stream.Close() // the error of the stream is the one that counts
	var seen, dropped uint64
	for stream.Receive() {
		event := stream.Msg()
		if event.DroppedCount > dropped {
			fmt.Fprintf(a.stderr, "gatewayctl: %d records were left out because this terminal did not keep up\n", event.DroppedCount-dropped)
			dropped = event.DroppedCount
		}
		record := event.GetRecord()
		if record == nil {
			continue
		}
		if err := a.printRecord(record); err != nil {
			return err
		}
		if seen++; seen == limit {
			return nil
		}
	}
	return a.endOfTail(ctx, stream.Err())
}

func (a *application) endOfTail(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return nil // interrupted, which is how a tail ends
	case err == nil:
		return &failure{code: exitFailed, message: "the gateway ended the stream", hint: "gatewayctl status shows whether it is stopping"}
	}
	return a.explain(err, "")
}

func (a *application) printRecord(record *telemetryv1.Record) error {
	if a.output == "json" {
		return a.printJSON(record)
	}
	line := []string{moment(record.ReceiveTs), record.DeviceId, word(record.Source, "SOURCE_"), record.CorrelationId, metricsText(record.Metrics)}
	a.print("%s\n", printable(strings.Join(line, "  ")))
	return nil
}

func metricsText(metrics []*telemetryv1.Metric) string {
	texts := make([]string, len(metrics))
	for i, metric := range metrics {
		texts[i] = metric.Name + "=" + metricValue(metric)
	}
	return strings.Join(texts, " ")
}

func metricValue(metric *telemetryv1.Metric) string {
	switch value := metric.Value.(type) {
	case *telemetryv1.Metric_Number:
		return strconv.FormatFloat(value.Number, 'g', -1, 64)
	case *telemetryv1.Metric_Integer:
		return strconv.FormatInt(value.Integer, 10)
	case *telemetryv1.Metric_Boolean:
		return strconv.FormatBool(value.Boolean)
	case *telemetryv1.Metric_Text:
		return strconv.Quote(value.Text)
	}
	return "?"
}
