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
	"slices"
	"strconv"
	"strings"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/test/backlog"
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
	if chosen.data == "" || chosen.messages < 1 || chosen.devices < 1 || !slices.Contains(backlog.Payloads, chosen.payload) {
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
	source := backlog.NewSource(chosen.devices, chosen.payload)
	source.Owed, source.Replier = owed, replies
	under := 0
	for turn := 0; source.Made() < chosen.messages || under > 0; {
		if under < inFlight && source.Made() < chosen.messages {
			batch := source.Batch(min(chosen.sizes[turn%len(chosen.sizes)], chosen.messages-source.Made()))
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
