package gateway

import (
	"context"
	"fmt"
	"time"

	"combotto.io/gateway/server/config"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/sink/filesink"
	"combotto.io/gateway/server/sink/httpsink"
)

// sinks are the configured destinations, under the ids that the queue keeps for
// their names.
type sinks struct {
	planned []edge.PlannedSink
	byID    map[edge.SinkID]edge.Sink
}

// openSinks gives every configured sink its id and opens it.
func openSinks(ctx context.Context, configured []config.Sink, gateway edge.GatewayID, version string, budget int64, registry *queue.Queue, observer *observe.Observer) (_ *sinks, err error) {
	s := &sinks{byID: map[edge.SinkID]edge.Sink{}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	var specs []queue.SinkSpec
	for _, sink := range configured {
		specs = append(specs, queue.SinkSpec{Name: sink.Name, Kind: sink.Kind, Start: sink.Start, Limits: limits(sink, budget)})
	}
	ids, err := registry.EnsureSinks(ctx, specs)
	if err != nil {
		return nil, err
	}
	for i, settings := range configured {
		sink, err := openSink(settings, gateway, version, observer)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", settings.Name, err)
		}
		s.byID[ids[i]] = sink
		s.planned = append(s.planned, edge.PlannedSink{
			ID: ids[i], Name: settings.Name, Kind: settings.Kind, Concurrency: settings.Concurrency, Timeout: sinkTimeout(settings),
			Sealed: true, // a crash repeats one batch of each slot at most
			Batch:  edge.BatchLimit{Records: settings.Batch.Count, Bytes: int(settings.Batch.Bytes), Linger: settings.Batch.Linger},
		})
	}
	return s, nil
}

// limits are what a sink may keep waiting of the queue's budget, 0 when that is
// unlimited. The backlog of a sink that is not required never closes the doors,
// so that it leaves half of the budget to others whatever is configured.
func limits(sink config.Sink, budget int64) queue.Limits {
	limits := queue.Limits{TTL: time.Duration(sink.TTL)}
	switch {
	case sink.Required:
	case budget > 0:
		limits.MaxLagBytes = min(sink.MaxLagBytes.Of(budget), budget/2)
	default:
		limits.MaxLagBytes = int64(sink.MaxLagBytes.Size)
	}
	return limits
}

// openSink opens one destination of the configured kind.
func openSink(settings config.Sink, gateway edge.GatewayID, version string, observer *observe.Observer) (edge.Sink, error) {
	switch settings.Kind {
	case config.KindFile:
		return filesink.New(filesink.Settings{Gateway: gateway, Dir: settings.File.Dir}, observer), nil
	case config.KindHTTP:
		headers := map[string]string{}
		for _, header := range settings.HTTP.Headers {
			headers[header.Name] = header.Value
		}
		return httpsink.New(httpsink.Settings{
			Gateway: gateway, Sink: settings.Name, URL: settings.HTTP.URL, Format: httpsink.Format(settings.HTTP.Format),
			Token: settings.HTTP.Token.Reveal(), Headers: headers, Connections: settings.Concurrency, Version: version,
		}, observer)
	}
	return nil, fmt.Errorf("%w: sink kind %q", ErrUsage, settings.Kind)
}

// fileTimeout is how long a write may take before the file system counts as
// hanging.
const fileTimeout = 30 * time.Second

func sinkTimeout(settings config.Sink) time.Duration {
	if settings.Kind == config.KindHTTP {
		return settings.HTTP.Timeout
	}
	return fileTimeout
}

// name returns the configured name of a sink.
func (s *sinks) name(id edge.SinkID) string {
	for _, sink := range s.planned {
		if sink.ID == id {
			return sink.Name
		}
	}
	return ""
}

// close lets go of every destination. Nothing delivers any more.
func (s *sinks) close() {
	for _, sink := range s.byID {
		_ = sink.Close() // what was delivered is synced already
	}
}
