package gateway

import (
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/server/config"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/rpc"
)

// rpcSettings is what the gateway shows of itself.
func (g *gateway) rpcSettings() rpc.Settings {
	return rpc.Settings{
		GatewayID: g.id, Development: g.Config.Dev, StartedAt: g.startedAt, DefaultEncoding: g.Config.Ingest.DefaultEncoding,
		Version: rpc.Version{
			Version: g.Build.Version, Commit: g.Build.Commit, BuiltAt: g.Build.At, Go: runtime.Version(),
			SchemaVersions: []int{edge.SchemaVersion}, Services: rpc.Services,
		},
		Home: g.home(), Listeners: g.listeners(), Configuration: g.configuration(), Sinks: g.describeSinks(),
	}
}

// listeners lists the addresses as they are bound, which tells the port where
// the configuration said 0.
func (g *gateway) listeners() (all []*adminv1.Listener) {
	add := func(name, scheme string, listener net.Listener) {
		if listener != nil {
			address := listener.Addr().String()
			all = append(all, &adminv1.Listener{Name: name, Address: address, Url: scheme + "://" + address})
		}
	}
	add("http", "http", g.doors.http.listener)
	add("mqtt", "mqtt", g.doors.mqtt)
	add("websocket", "ws", g.doors.webSocket)
	if g.doors.ops != nil {
		add("ops", "http", g.doors.ops.listener)
	}
	return all
}

func (g *gateway) configuration() (values []*adminv1.ConfigValue) {
	layers := map[config.Layer]adminv1.ConfigLayer{
		config.LayerDefault:     adminv1.ConfigLayer_CONFIG_LAYER_DEFAULT,
		config.LayerFile:        adminv1.ConfigLayer_CONFIG_LAYER_FILE,
		config.LayerEnvironment: adminv1.ConfigLayer_CONFIG_LAYER_ENVIRONMENT,
		config.LayerFlag:        adminv1.ConfigLayer_CONFIG_LAYER_FLAG,
	}
	for _, value := range g.Explanation.Values {
		shown := &adminv1.ConfigValue{
			Key: value.Key, Value: value.Text, Layer: layers[value.Layer], Origin: value.Origin, Secret: value.Secret, NeedsRestart: true,
		}
		if value.Secret {
			shown.Value = ""
		}
		values = append(values, shown)
	}
	return values
}

// describeSinks gives the definitions of the configured sinks.
func (g *gateway) describeSinks() (all []*sinkv1.Sink) {
	for i, settings := range g.Config.Sinks {
		planned := g.sinks.planned[i]
		origin := sinkv1.SinkOrigin_SINK_ORIGIN_FILE
		if g.impliedSink() {
			origin = sinkv1.SinkOrigin_SINK_ORIGIN_DEVELOPMENT
		}
		all = append(all, &sinkv1.Sink{
			SinkId: fmt.Sprint(planned.ID), Name: settings.Name, Origin: origin, Destination: describeDestination(settings),
			Settings: g.describeSettings(settings),
		})
	}
	return all
}

func (g *gateway) describeSettings(settings config.Sink) *sinkv1.SinkSettings {
	shown := &sinkv1.SinkSettings{
		Required: &settings.Required, Concurrency: uint32(settings.Concurrency), Batch: describeBatch(settings.Batch),
		MaxLagBytes: uint64(limits(settings, g.budget).MaxLagBytes),
	}
	if settings.TTL > 0 {
		shown.Ttl = durationpb.New(time.Duration(settings.TTL))
	}
	return shown
}

// impliedSink tells whether the only sink is the one that --dev adds.
func (g *gateway) impliedSink() bool {
	for _, value := range g.Explanation.Values {
		if strings.HasPrefix(value.Key, "sinks.") && strings.HasSuffix(value.Key, ".kind") && value.Layer != config.LayerDefault {
			return false
		}
	}
	return true
}

// home is the page at /, and the lines that a start prints.
func (g *gateway) home() rpc.Home {
	base, home := "http://"+g.doors.http.listener.Addr().String(), rpc.Home{
		GatewayID: string(g.id), Version: g.Build.Version, StartedAt: g.startedAt.Format(time.RFC3339), Development: g.Config.Dev,
	}
	for _, listener := range g.listeners() {
		home.Doors = append(home.Doors, rpc.HomeDoor{Name: doorNames[listener.GetName()], URL: listener.GetUrl(), Note: doorNotes[listener.GetName()]})
	}
	if g.doors.mqtt != nil {
		host, port, _ := net.SplitHostPort(g.doors.mqtt.Addr().String())
		home.Commands = append(home.Commands, rpc.HomeCommand{Title: "Over MQTT", Text: fmt.Sprintf(
			`mosquitto_pub -h %s -p %s -q 1 -t devices/dev-1/telemetry -m '%s'`, host, port, sample)})
	}
	home.Commands = append(home.Commands,
		rpc.HomeCommand{Title: "Over HTTP", Text: fmt.Sprintf(
			`curl -H 'content-type: application/json' -d '%s' %s/ingest/dev-1`, sample, base)},
		rpc.HomeCommand{Title: "Over Connect, gRPC or gRPC-Web", Text: fmt.Sprintf(
			`buf curl --protocol grpc --http2-prior-knowledge -d '%s' %s/gateway.telemetry.v1.TelemetryService/Publish`, sampleRequest, base)})
	for _, sink := range g.Config.Sinks {
		home.Sinks = append(home.Sinks, rpc.HomeSink{Name: sink.Name, Kind: sink.Kind, Target: target(sink)})
	}
	return home
}

const (
	sample        = `{"schema_version":1,"metrics":{"temperature_c":23.5}}`
	sampleRequest = `{"messages":[{"device_id":"dev-1","telemetry":{"schema_version":1,"metrics":[{"name":"temperature_c","number":23.5}]}}]}`
)

var (
	doorNames = map[string]string{"http": "HTTP, Connect, gRPC, gRPC-Web", "mqtt": "MQTT 3.1.1 and 5", "websocket": "MQTT over WebSocket", "ops": "Probes and metrics"}
	doorNotes = map[string]string{"http": "POST /ingest/{device_id}, reflection is on", "mqtt": "devices/{device_id}/telemetry"}
)

func target(sink config.Sink) string {
	if sink.Kind == config.KindHTTP {
		return sink.HTTP.URL
	}
	if absolute, err := filepath.Abs(sink.File.Dir); err == nil {
		return absolute
	}
	return sink.File.Dir
}

// banner tells the person who started the gateway where to go.
func (g *gateway) banner() {
	home := g.home()
	text := &strings.Builder{}
	fmt.Fprintf(text, "\n  gateway %s (%s)\n\n", home.GatewayID, home.Version)
	for _, door := range home.Doors {
		fmt.Fprintf(text, "  %-30s %s\n", door.Name, door.URL)
	}
	for _, sink := range home.Sinks {
		fmt.Fprintf(text, "  %-30s %s\n", "Sink "+sink.Name+" ("+sink.Kind+")", sink.Target)
	}
	if g.Config.Simulate > 0 {
		fmt.Fprintf(text, "  %-30s %d devices publish over MQTT\n", "Simulation", g.Config.Simulate)
	}
	fmt.Fprintf(text, "\n  Open %s in a browser for commands to copy. Ctrl-C stops.\n\n", home.Doors[0].URL)
	_, _ = fmt.Fprint(g.Banner, text) // for a person; nobody may be there
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
