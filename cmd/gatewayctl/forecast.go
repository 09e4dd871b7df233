package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
)

// The windows that the contract allows.
const (
	windowLeast = time.Minute
	windowMost  = 24 * time.Hour
)

func (a *application) forecastCommand() *cobra.Command {
	window := 5 * time.Minute
	command := &cobra.Command{
		Use:   "forecast",
		Short: "Show when the queue is full and when each sink has caught up, if everything goes on as it does",
		Long: `Show when the queue is full and when each sink has caught up, if everything goes on as it does.

The rates are those of a window that ends now. The growth counts what some sink is still owed: messages that every sink
has make way for new ones.`,
		Example: `  gatewayctl forecast
  gatewayctl forecast --window 1h`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if window < windowLeast || window > windowMost {
				return usage("--window must be from 1m to 24h", "a short window follows a change sooner, a long one is steadier")
			}
			return a.forecast(command.Context(), window)
		},
	}
	command.Flags().DurationVar(&window, "window", window, "time to measure the rates over, 1m to 24h")
	return command
}

func (a *application) forecast(ctx context.Context, window time.Duration) error {
	response, err := call(ctx, a, a.admin().GetForecast, &adminv1.GetForecastRequest{Window: durationpb.New(window)}, "")
	if err != nil {
		return err
	}
	forecast := response.GetForecast()
	if a.output == "json" {
		return a.printJSON(forecast)
	}
	if forecast.GetWindow().AsDuration() == 0 {
		a.print("the gateway has not run long enough to tell\n")
		return nil
	}
	head := newTable(a.stdout)
	head.row("measured over", span(forecast.Window))
	head.row("ingest", fmt.Sprintf("%.1f messages/s", forecast.IngestRate))
	head.row("growth", growth(forecast.GrowthBytesPerSecond))
	head.row("full", coming(forecast.TimeToFull))
	head.flush()

	a.print("\n")
	sinks := newTable(a.stdout, "SINK", "DELIVERED/S", "CAUGHT UP", "FIRST LOSS", "MESSAGE")
	for _, sink := range forecast.Sinks {
		lost := sink.FirstLossCorrelationId
		if lost == "" {
			lost = "-"
		}
		sinks.row(sink.SinkName, fmt.Sprintf("%.1f", sink.DeliveryRate), coming(sink.TimeToDrain), moment(sink.FirstLossTime), lost)
	}
	sinks.flush()
	return nil
}

// coming says when something happens.
func coming(duration *durationpb.Duration) string {
	switch {
	case duration == nil:
		return "not at this rate"
	case duration.AsDuration() == 0:
		return "now"
	}
	return "in " + span(duration)
}

func growth(bytesPerSecond float64) string {
	if bytesPerSecond < 0 {
		return "-" + size(uint64(-bytesPerSecond)) + "/s"
	}
	return size(uint64(bytesPerSecond)) + "/s"
}
