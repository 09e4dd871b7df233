// Package config reads the configuration of the gateway into one typed value.
//
// Four layers, each over the one before it:
//
//	defaults < file (YAML) < environment (GATEWAY_...) < flags
//
//	http.addr = GATEWAY_HTTP__ADDR = --http-addr
//
// The struct [Config] and its tags are the only description of the keys: name,
// default, bounds, flag and documentation. Loading, the explanation of what is
// effective and why, the JSON Schema and docs/reference/configuration.md are
// all made from them, so that they cannot disagree.
//
// The package promises that nothing is guessed: an unknown key, a wrong type and
// a value out of bounds are errors that name the key and where it was set, all of
// them at once, with a hint. Secrets leave it only through [Secret.Reveal]. It
// does not open what the configuration names, except files that hold secrets, and
// it keeps no state: loading again makes a new Config. Values are safe to share
// and not to be changed.
//
// To test code that takes a configuration, call [Load] with an environment of
// your own: Load(Sources{Environ: []string{"GATEWAY_DEV=true"}}).
package config

import (
	"log/slog"
	"time"

	"combotto.io/gateway/server/edge"
)

// Config is everything that an operator can set. The tags of its fields are read
// by describe: koanf is the name, default the text of the default, flag the name
// of the flag, doc the documentation; check, one_of, min, max and required bound
// the value, and kind says which kind of sink a key belongs to.
type Config struct {
	DataDir   string    `koanf:"data_dir" flag:"data-dir" default:"./data" required:"true" doc:"Folder for the databases, and below it the default folder of a file sink."`
	GatewayID string    `koanf:"gateway_id" flag:"gateway-id" check:"gateway_id" doc:"Names this gateway in every record and topic. Empty: made once, gw- and 8 hexadecimal digits, and kept in the data folder."`
	Dev       bool      `koanf:"dev" flag:"dev" default:"false" doc:"Development mode, on loopback addresses only: admits anonymous devices and callers, and adds a file sink when none is configured."`
	Simulate  int       `koanf:"simulate" flag:"simulate" default:"0" min:"0" max:"10000" doc:"How many simulated devices publish over the MQTT listener."`
	Log       Log       `koanf:"log" doc:"What is logged. Logs are JSON lines on standard output."`
	HTTP      HTTP      `koanf:"http" doc:"The door for Connect, gRPC, gRPC-Web and POST /ingest."`
	MQTT      MQTT      `koanf:"mqtt" doc:"The embedded MQTT broker."`
	Ops       Ops       `koanf:"ops" doc:"A listener for probes and scrapers."`
	Ingest    Ingest    `koanf:"ingest" doc:"What messages are accepted."`
	Queue     Queue     `koanf:"queue" doc:"The durable log."`
	Retention Retention `koanf:"retention" doc:"How long messages are kept."`
	Sinks     []Sink    `koanf:"sinks" doc:"Where messages are delivered to. Each sink gets every message, independent of the others."`
}

// Log says what is logged.
type Log struct {
	Level slog.Level `koanf:"level" default:"info" one_of:"debug,info,warn,error" doc:"Lowest level that is logged."`
}

// HTTP is the door for RPC and HTTP.
type HTTP struct {
	Addr string `koanf:"addr" flag:"http-addr" default:"127.0.0.1:8080" check:"address" required:"true" doc:"HOST:PORT for Connect, gRPC (h2c), gRPC-Web, /ingest and health."`
}

// MQTT is the embedded broker.
type MQTT struct {
	Addr           string        `koanf:"addr" flag:"mqtt-addr" default:"127.0.0.1:1883" check:"address" doc:"HOST:PORT for plain MQTT. Empty turns it off."`
	WebSocketAddr  string        `koanf:"websocket_addr" check:"address" doc:"HOST:PORT for MQTT over WebSocket. Empty turns it off."`
	FullGrace      time.Duration `koanf:"full_grace" default:"30s" min:"0s" max:"1h" doc:"How long the broker stops reading while the queue is full before it refuses messages."`
	MaxConnections int           `koanf:"max_connections" default:"10000" min:"1" max:"1000000" doc:"Most MQTT connections at a time. Further ones are closed."`
}

// Ops is the listener of the operators' machines.
type Ops struct {
	Addr string `koanf:"addr" flag:"ops-addr" check:"address" doc:"HOST:PORT for /healthz, /readyz, /metrics and /version only. Empty turns it off."`
}

// Ingest bounds what messages are accepted.
type Ingest struct {
	MaxPayload      Size          `koanf:"max_payload" default:"64KiB" min:"1KiB" max:"64KiB" doc:"Largest payload of one message, after decompression. The contracts allow no more than the default."`
	DefaultEncoding edge.Encoding `koanf:"default_encoding" default:"auto" one_of:"auto,json,protobuf" doc:"How a payload is read whose sender does not say. auto: a first byte { is JSON, anything else protobuf."`
}

// Queue is the durable log.
type Queue struct {
	MaxBytes       Capacity      `koanf:"max_bytes" default:"80%" check:"queue_size" doc:"Most disk space of the queue: a size of at least 4MiB, or a share of the file system. What is under way when it is reached may take 5 % more, of a share that comes to less than 4MiB up to a quarter. Delivered messages go early when it runs short; beyond it the doors refuse messages."`
	CommitInterval time.Duration `koanf:"commit_interval" default:"0s" min:"0s" max:"100ms" doc:"Least time between two commits. 5ms to 100ms spare an SD card and delay acknowledgements by as much."`
}

// Retention says how long messages are kept.
type Retention struct {
	Delivered      time.Duration `koanf:"delivered" default:"24h" min:"1s" max:"8760h" doc:"How long a message is kept after every sink has it. Journeys and the recognition of repeated messages live off it."`
	DeliveredBytes Capacity      `koanf:"delivered_bytes" default:"25%" doc:"Most disk space of messages that every sink has: a size, or a share of queue.max_bytes. The oldest go first."`
	Undelivered    Patience      `koanf:"undelivered" default:"never" min:"1s" max:"87600h" doc:"After how long a message that a sink does not have expires for that sink: a duration, or never. What expires is in the loss report."`
	RemovedSink    Patience      `koanf:"removed_sink" default:"never" min:"1s" max:"87600h" doc:"After how long the backlog and the dead letters of a sink that is no longer configured are discarded: a duration, or never."`
}
