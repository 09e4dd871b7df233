// Package queuefile is what the queue's file contains, and how it is read, checked
// and mended, while no queue runs on it.
//
// # Files
//
//	row      ledger.go                                      table ledger: who the file is, totals, clocks
//	         frame.go, frame_row.go, frame_decode.go        table frame: the records of one commit
//	         owed.go                                        table owed: sets of sinks that records name
//	         sink.go, spans.go, seal.go                     table sink: cursor, ranges, counters, batches
//	         letter.go, death.go                            tables dead and death: dead letters, and how many by reason
//	         attempt.go, loss.go                            tables attempt and loss: what has happened
//	         window_row.go                                  table identity_window: what came before
//	         quarantine.go                                  table quarantine: what is damaged
//	         logs.go                                        table earlier_log: files before this one, and this one again
//	         checksum.go                                    what tells that a row is whole
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
//	look     verify.go, recount.go, recount_frames.go       at every byte
//	         pace.go                                        gently
//	         failure.go, suspect.go                         what an error says, and what the next start is told
//	mend     mend.go, repair.go                             rows that follow from others, or else by a salvage
//	salvage  salvage.go                                     what is left of a damaged file, into a new one:
//	         findings.go, carved.go                         rows that are believed,
//	         rebuild.go, rebuild_sets.go, rebuild_sinks.go  and a queue made of them,
//	         rebuild_holes.go                               with what is in no frame any more
//	         waltail.go                                     what a crash has left behind the last commit
//	replace  replace.go, aside.go                           one file by another, in steps that a start can finish
//	         unfit.go                                       what only bears the name of such a file
//	         compact.go, backup.go, restore.go              by a copy
//	         room.go, reserve.go                            what that may take of the disk
//	open     queuefile.go                                   the schema
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
