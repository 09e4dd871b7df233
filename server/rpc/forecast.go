package rpc

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/server/edge"
)

const forecastWindow = 5 * time.Minute

// GetForecast tells what will happen if everything goes on as it does.
func (a *adminService) GetForecast(ctx context.Context, request *adminv1.GetForecastRequest) (*adminv1.GetForecastResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	window := forecastWindow
	if request.Window != nil {
		window = request.Window.AsDuration()
	}
	told := a.server.Forecaster.Forecast(window)
	forecast := &adminv1.Forecast{
		IngestRate: told.IngestRate, GrowthBytesPerSecond: told.Growth,
		Window: durationpb.New(told.Window), TimeToFull: lasting(told.TimeToFull),
	}
	for _, sink := range told.Sinks {
		forecast.Sinks = append(forecast.Sinks, sinkForecast(sink))
	}
	slices.SortFunc(forecast.Sinks, func(a, b *adminv1.SinkForecast) int { return strings.Compare(a.SinkName, b.SinkName) })
	return &adminv1.GetForecastResponse{Forecast: forecast}, nil
}

func sinkForecast(told edge.SinkForecast) *adminv1.SinkForecast {
	forecast := &adminv1.SinkForecast{
		SinkId: formatSinkID(told.Sink), SinkName: told.Name, DeliveryRate: told.DeliveryRate, TimeToDrain: lasting(told.TimeToDrain),
	}
	if !told.FirstLossAt.IsZero() {
		forecast.FirstLossCorrelationId = told.FirstLoss.String()
		forecast.FirstLossTime = timestamppb.New(told.FirstLossAt)
	}
	return forecast
}

// lasting is absent for what never comes.
func lasting(duration time.Duration) *durationpb.Duration {
	if duration == edge.Never {
		return nil
	}
	return durationpb.New(duration)
}
