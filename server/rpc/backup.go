package rpc

import (
	"context"

	"combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/server/edge"
)

// BackupQueue copies the queue. A gateway that stops does not wait for it.
func (a *adminService) BackupQueue(ctx context.Context, request *adminv1.BackupQueueRequest) (*adminv1.BackupQueueResponse, error) {
	if err := mustOperate(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(a.server.stopping, func() { cancel(edge.NewStopping()) })()
	done, err := a.server.Backups.Backup(ctx, request.GetPath())
	if err != nil {
		return nil, err
	}
	return &adminv1.BackupQueueResponse{
		Path: done.Path, SizeBytes: uint64(done.Bytes), MessageCount: uint64(done.Records), DeadLetterCount: uint64(done.DeadLetters),
	}, nil
}
