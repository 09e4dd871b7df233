// Command prefill writes a backlog into the queue of a gateway that does not
// run, faster than any load could: through the queue's own API, which commits,
// recognises and compresses as it does in the gateway.
//
//	prefill --data folder --messages 10000000 --sizes 1,3,10,30,100,300,1000,3000
//
// Every message has an identity of its own. Commits hold as many messages as
// --sizes says, in turn. The queue is closed in order at the end, and is owed to
// the sink that the gateway will find under the same name.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
)

type settings struct {
	data     string
	sink     string
	payload  string
	messages int
	devices  int
	sizes    []int
}

func main() {
	chosen, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prefill:", err)
		os.Exit(2)
	}
	if err := run(context.Background(), chosen); err != nil {
		fmt.Fprintln(os.Stderr, "prefill:", err)
		os.Exit(1)
	}
}

func parse() (*settings, error) {
	chosen := &settings{}
	flag.StringVar(&chosen.data, "data", "", "data `folder` of the gateway")
	flag.StringVar(&chosen.sink, "sink", "analytics", "`name` of the HTTP sink that the messages are owed to")
	flag.StringVar(&chosen.payload, "payload", "json", "json, as the load generator's, or random bytes of the same size")
	flag.IntVar(&chosen.messages, "messages", 10_000, "`number` of messages")
	flag.IntVar(&chosen.devices, "devices", 50, "`number` of devices, which send in turn")
	sizes := flag.String("sizes", "1000", "messages of one commit; several `numbers` take turns")
	flag.Parse()
	for text := range strings.SplitSeq(*sizes, ",") {
		size, err := strconv.Atoi(text)
		if err != nil || size < 1 || size > maxCommit {
			return nil, fmt.Errorf("sizes: numbers from 1 to %d", maxCommit)
		}
		chosen.sizes = append(chosen.sizes, size)
	}
	if chosen.data == "" || chosen.messages < 1 || chosen.devices < 1 || makers[chosen.payload] == nil {
		return nil, errors.New("a data folder, messages, devices, and a payload of json or random are needed")
	}
	return chosen, nil
}

// maxCommit keeps a batch within one group of the queue.
const maxCommit = 2000

func run(ctx context.Context, chosen *settings) error {
	if err := os.MkdirAll(chosen.data, 0o700); err != nil {
		return err
	}
	q, err := queue.Open(ctx, queue.Settings{Path: filepath.Join(chosen.data, "queue.db")}, observe.NewDiscard())
	if err != nil {
		return err
	}
	owed, err := q.EnsureSinks(ctx, []queue.SinkSpec{{Name: chosen.sink, Kind: "http"}})
	if err != nil {
		return errors.Join(err, q.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	err = fill(ctx, q, chosen, owed)
	stop()
	return errors.Join(err, <-ended)
}

// inFlight is how many commits are under way: one is on its way to the disk, one
// is made ready.
const inFlight = 2

// fill appends until everything is durable.
func fill(ctx context.Context, q *queue.Queue, chosen *settings, owed []edge.SinkID) error {
	replies := &replies{committed: make(chan error, inFlight)}
	source := newSource(chosen, owed, replies)
	under := 0
	for turn := 0; source.next < chosen.messages || under > 0; {
		if under < inFlight && source.next < chosen.messages {
			batch := source.batch(min(chosen.sizes[turn%len(chosen.sizes)], chosen.messages-source.next))
			if err := q.Append(ctx, batch...); err != nil {
				return err
			}
			turn++
			under++
			continue
		}
		if err := <-replies.committed; err != nil {
			return err
		}
		under--
	}
	return nil
}

// replies says when a batch is durable: its last entry carries the token 1.
type replies struct{ committed chan error }

func (r *replies) Reply(token uint64, receipt edge.Receipt, err error) bool {
	if err == nil && (receipt.Duplicate || receipt.Conflict || receipt.Refused) {
		err = fmt.Errorf("a message is not new: %+v", receipt)
	}
	if token == 1 {
		r.committed <- err
	}
	return false
}

func (r *replies) Flush() {}

// source makes messages.
type source struct {
	chosen  *settings
	owed    []edge.SinkID
	replier edge.Replier
	names   []edge.DeviceID
	payload func(source *source, boot string, sequence uint64) []byte
	next    int
	random  uint64
}

func newSource(chosen *settings, owed []edge.SinkID, replier edge.Replier) *source {
	s := &source{chosen: chosen, owed: owed, replier: replier, payload: makers[chosen.payload], random: 1}
	for device := range chosen.devices {
		s.names = append(s.names, edge.DeviceID(fmt.Sprintf("before-%05d", device)))
	}
	return s
}

func (s *source) batch(size int) []edge.Entry {
	entries := make([]edge.Entry, size)
	now := time.Now().UTC().Truncate(time.Microsecond)
	for i := range entries {
		const boot = "0badcafe"
		sequence := firstSequence + uint64(s.next/len(s.names))
		entries[i] = edge.Entry{
			Record: edge.Record{
				Device: s.names[s.next%len(s.names)], Source: edge.SourceMQTT, Encoding: edge.EncodingJSON, ReceivedAt: now,
				Identity: edge.Identity{BootID: boot, Sequence: sequence, HasSequence: true},
				Payload:  s.payload(s, boot, sequence),
			},
			Owed: s.owed, Replier: s.replier,
		}
		s.next++
	}
	entries[size-1].Token = 1
	return entries
}

const (
	firstSequence = 100_000_000
	payloadBytes  = 174
)

var makers = map[string]func(*source, string, uint64) []byte{"json": (*source).telemetry, "random": (*source).noise}

// telemetry is what the load generator sends.
func (s *source) telemetry(boot string, sequence uint64) []byte {
	noise := s.number()
	digits := func(shift int, below uint64) uint64 { return noise >> shift % below }
	return fmt.Appendf(make([]byte, 0, payloadBytes),
		`{"schema_version":1,"boot_id":"%s","sequence":%d,"metrics":{"temperature_c":2%d.%d,"humidity_percent":4%d.%d,"pressure":10%d%d.%d%d,"battery_mv":3%03d,"door_open":false}}`,
		boot, sequence, digits(60, 10), digits(56, 10), digits(52, 10), digits(48, 10), digits(44, 10), digits(40, 10), digits(36, 10), digits(32, 10), digits(20, 1000))
}

func (s *source) noise(string, uint64) []byte {
	bytes := make([]byte, payloadBytes)
	for i := range bytes {
		bytes[i] = byte(s.number() >> 56)
	}
	return bytes
}

// number is the next one of a sequence that looks random (splitmix64).
func (s *source) number() uint64 {
	s.random += 0x9E3779B97F4A7C15
	mixed := s.random
	mixed = (mixed ^ mixed>>30) * 0xBF58476D1CE4E5B9
	mixed = (mixed ^ mixed>>27) * 0x94D049BB133111EB
	return mixed ^ mixed>>31
}
