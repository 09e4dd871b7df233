package rpc_test

import (
	"context"
	"net/http"
	"testing"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/rpc"
)

// slowBackups copies until nobody wants the copy any more, and says why, as the
// queue does.
type slowBackups struct{ begun chan struct{} }

func (s slowBackups) Backup(ctx context.Context, _ string) (edge.Backup, error) {
	close(s.begun)
	<-ctx.Done()
	return edge.Backup{}, context.Cause(ctx)
}

// TestServer_BackupQueue_Stopping: a stop is not an error of the gateway's.
func TestServer_BackupQueue_Stopping(t *testing.T) {
	backups := slowBackups{begun: make(chan struct{})}
	b := newBench(t, func(d *rpc.Dependencies) { d.Backups = backups })
	go func() {
		<-backups.begun
		b.server.StopStreams()
	}()
	got := b.do(t, http.MethodPost, "/gateway.admin.v1.AdminService/BackupQueue", `{"path":"/a/backup"}`, "Content-Type", jsonType)
	if got.status != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", got.status, got.body)
	}
}
