package config

import (
	"strings"
	"time"

	"combotto.io/gateway/server/edge"
)

// The kinds of sinks.
const (
	KindFile = "file"
	KindHTTP = "http"
)

// Sink is one destination. Of File and HTTP only the one that Kind names is set.
type Sink struct {
	Name        string     `koanf:"name" check:"sink_name" required:"true" doc:"Names the sink in metrics, commands and logs: [a-z][a-z0-9-]{0,62}. The environment writes it in capitals with _ for -."`
	Kind        string     `koanf:"kind" one_of:"file,http" required:"true" doc:"What kind of destination it is; the section of that name says where."`
	Start       edge.Start `koanf:"start" default:"now" doc:"Where a new sink begins: now, oldest (everything that is still kept), or an RFC 3339 time."`
	Required    bool       `koanf:"required" default:"true" doc:"true: its backlog may fill the queue, and then the doors refuse messages and name it. false: its oldest dead letters and then its oldest messages expire beyond max_lag_bytes."`
	MaxLagBytes Capacity   `koanf:"max_lag_bytes" default:"25%" doc:"Backlog of a sink that is not required, its dead letters included, beyond which the oldest of both expire: a size, or a share of queue.max_bytes; never more than half of queue.max_bytes."`
	TTL         Patience   `koanf:"ttl" default:"never" min:"1s" max:"8760h" doc:"After how long a message that the sink does not have expires for it: a duration, or never."`
	Concurrency int        `koanf:"concurrency" default:"4" min:"1" max:"64" doc:"Batches in flight at a time. Messages of one device stay in order."`
	Batch       Batch      `koanf:"batch" doc:"When a batch is sent: as soon as one limit is reached."`
	File        FileSink   `koanf:"file" kind:"file" doc:"Writes NDJSON files, one per hour of UTC."`
	HTTP        HTTPSink   `koanf:"http" kind:"http" doc:"Posts batches to a URL."`
}

// Batch bounds the batches of a sink.
type Batch struct {
	Count  int           `koanf:"count" default:"1000" min:"1" max:"8192" doc:"Most messages in a batch. Times concurrency at most 8192."`
	Bytes  Size          `koanf:"bytes" default:"1MiB" min:"1KiB" max:"64MiB" doc:"Most bytes of payload in a batch."`
	Linger time.Duration `koanf:"linger" default:"50ms" min:"0s" max:"1h" doc:"Longest wait of a message for others to share its batch."`
}

// FileSink writes to a folder.
type FileSink struct {
	Dir string `koanf:"dir" doc:"Folder for the files; no two sinks may share one. Empty: out in the data folder."`
}

// HTTPSink posts to a URL.
type HTTPSink struct {
	URL     string        `koanf:"url" check:"url" required:"true" doc:"Where to post, http or https. Redirects are not followed."`
	Format  string        `koanf:"format" default:"ndjson" one_of:"ndjson,json,protobuf" doc:"How a batch is written."`
	Token   Secret        `koanf:"token" doc:"Sent as Authorization: Bearer TOKEN."`
	Headers []Header      `koanf:"headers" doc:"Further headers, each NAME: VALUE. They are shown by explain: a secret belongs in token."`
	Timeout time.Duration `koanf:"timeout" default:"30s" min:"1s" max:"10m" doc:"Longest wait for an answer."`
}

// Header is one header of a request.
type Header struct{ Name, Value string }

func (h Header) String() string { return h.Name + ": " + h.Value }

// reservedHeaders are set by the sink itself, or would show a secret.
const reservedHeaders = " authorization content-encoding content-length content-type host idempotency-key transfer-encoding "

func parseHeader(text string) (Header, bool) {
	name, value, found := strings.Cut(text, ":")
	header := Header{Name: name, Value: strings.TrimSpace(value)}
	reserved := strings.Contains(reservedHeaders, " "+strings.ToLower(name)+" ")
	return header, found && !reserved && isToken(name) && isFieldValue(header.Value)
}

// isToken reports whether name may be the name of a header (RFC 9110, 5.6.2).
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func isFieldValue(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F })
}
