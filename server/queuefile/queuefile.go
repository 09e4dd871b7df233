// Package queuefile is what the queue's file contains, and how it is read, checked
// and mended, while no queue runs on it.
//
//	queue.db   ledger  who the file is, totals, clocks     one row
//	           frame   the records of one commit           frame.go
//	           owed    sets of sinks that records name     owed.go
//	           sink    cursor, ranges, counters, batches   sink.go, spans.go, seal.go
//	           dead, death          dead letters           letter.go, death.go
//	           attempt, loss        what has happened      attempt.go, loss.go
//	           identity_window      what came before       window_row.go
//	           quarantine           what is damaged        quarantine.go
//	           earlier_log          files before this one  logs.go
//
// A row has one type, one list of columns in the order of the table, one function
// that reads it, for a query as for a row that was carved out of a damaged page, and
// the functions that store it. What quarantine holds is for people: no function reads
// a whole row.
//
// Beside the rows are the operations on a file that nobody works with: [Verify],
// [Repair], [Compact], [BackupFile], [Restore]; and what a start needs to get to a
// file that can be served: [FinishReplacements], [ReadTail], [MendFound],
// [SalvageFile].
//
// # Promises
//
// A row is believed for its own checksum, never for its place. A decoder, once
// released, is never removed; no bytes make one panic. An operation changes either
// nothing or everything, whatever a crash interrupts, and the file that it replaces
// is kept where it may hold what the new one does not.
//
// # What it does not do
//
// It decides nothing about records, keeps no state beside the file, logs nothing,
// and starts no goroutine. What runs is package queue.
//
// # Concurrency and tests
//
// [Decoder] is safe for concurrent use; an [Encoder] belongs to one goroutine; the
// operations on files need a file to themselves. Operations are tested in package
// queue, on files that a running queue has made; here are the tests of what needs
// none.
package queuefile

import (
	"context"
	"embed"

	"combotto.io/gateway/server/sqlite"
)

//go:embed schema/*.sql
var schema embed.FS

var migrations = sqlite.NewMigrations(schema, "schema/*.sql")

// Open opens a file, or makes one, to build a queue in it.
func Open(ctx context.Context, disk sqlite.Disk, path string) (*sqlite.DB, error) {
	return sqlite.Open(ctx, sqlite.Settings{Path: path, Migrations: migrations, Disk: disk})
}
