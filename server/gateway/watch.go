package gateway

import (
	"context"
	"time"
)

// filesInterval is how often somebody looks whether the files are where they were.
const filesInterval = time.Second

// watchFiles ends with an error once somebody has taken away a file that the gateway
// works with. That stops the gateway in order: an acknowledgement would promise what
// no later start can keep. One of which everything is in the queue's file can start
// again.
func (g *gateway) watchFiles(ctx context.Context) error {
	ticker := time.NewTicker(filesInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if err := g.queue.CheckFiles(); err != nil {
			return err
		}
		if err := g.folder.inPlace(); err != nil {
			return err
		}
	}
}
