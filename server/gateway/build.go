package gateway

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"

	"google.golang.org/protobuf/types/known/durationpb"

	"combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/config"
	"combotto.io/gateway/server/fleet"
	"combotto.io/gateway/server/queue"
)

// openQueue opens queue.db in the data folder.
func (g *gateway) openQueue(ctx context.Context) (*queue.Queue, error) {
	limit, err := capacity(g.Config.Queue.MaxBytes, g.Config.DataDir)
	if err != nil {
		return nil, err
	}
	return queue.Open(ctx, queue.Settings{
		Path: filepath.Join(g.Config.DataDir, "queue.db"), MaxBytes: limit,
		CommitInterval: g.Config.Queue.CommitInterval, RetentionDelivered: g.Config.Retention.Delivered,
	}, g.observer)
}

// capacity resolves a share of the file system that folder lies on.
func capacity(share config.Capacity, folder string) (int64, error) {
	var system syscall.Statfs_t
	if err := syscall.Statfs(folder, &system); err != nil {
		return 0, fmt.Errorf("measure the file system of %s: %w", folder, err)
	}
	return share.Of(int64(system.Blocks) * int64(system.Bsize)), nil
}

func (g *gateway) brokerSettings() broker.Settings {
	settings := broker.NewDefaultSettings()
	settings.MaxConnections = g.Config.MQTT.MaxConnections
	settings.MaxConnectionsPerAddress = g.Config.MQTT.MaxConnections // development mode has one address only
	settings.MaxSessions = 2 * g.Config.MQTT.MaxConnections
	settings.FullGrace = g.Config.MQTT.FullGrace
	settings.DefaultEncoding = g.Config.Ingest.DefaultEncoding
	return settings
}

// simulate runs boards that publish over the real MQTT listener.
func (g *gateway) simulate(ctx context.Context) error {
	boards, err := fleet.New(fleet.Settings{
		Broker: "mqtt://" + g.doors.mqtt.Addr().String(), Devices: g.Config.Simulate,
		Behaviours: []fleet.Behaviour{fleet.Normal},
	}, g.observer)
	if err != nil {
		return err
	}
	return boards.Run(ctx)
}

// describeDestination is a destination as the API shows it: without secrets.
func describeDestination(settings config.Sink) *sinkv1.Destination {
	if settings.Kind == config.KindFile {
		return &sinkv1.Destination{Kind: &sinkv1.Destination_File{File: &sinkv1.FileDestination{Dir: target(settings)}}}
	}
	headers := map[string]string{}
	for _, header := range settings.HTTP.Headers {
		headers[header.Name] = header.Value
	}
	formats := map[string]sinkv1.RecordFormat{
		"ndjson": sinkv1.RecordFormat_RECORD_FORMAT_NDJSON, "json": sinkv1.RecordFormat_RECORD_FORMAT_JSON,
		"protobuf": sinkv1.RecordFormat_RECORD_FORMAT_PROTOBUF,
	}
	return &sinkv1.Destination{Kind: &sinkv1.Destination_Http{Http: &sinkv1.HttpDestination{
		Url: settings.HTTP.URL, Format: formats[settings.HTTP.Format], Headers: headers,
		Timeout: durationpb.New(settings.HTTP.Timeout),
	}}}
}

func describeBatch(batch config.Batch) *sinkv1.BatchSettings {
	return &sinkv1.BatchSettings{Count: uint32(batch.Count), Bytes: uint64(batch.Bytes), Linger: durationpb.New(batch.Linger)}
}
