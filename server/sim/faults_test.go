package sim_test

import "combotto.io/gateway/server/sim/overlay"

// mutants are the faults that a gateway like this one is most likely to have.
var mutants = []mutant{
	{name: "SynchronousNormal", changes: []overlay.Change{{
		File: "server/sqlite/pragma.go",
		Old:  `{"synchronous", "FULL", "2"},`,
		New:  `{"synchronous", "NORMAL", "1"},`,
	}}},
	{name: "AcknowledgeBeforeCommit", quick: true, changes: []overlay.Change{{
		File: "server/queue/queue.go",
		Old:  "\t\tq.assembler.assemble(g)\n",
		New:  "\t\tq.assembler.assemble(g)\n\t\tg.reply(nil)\n",
	}, {
		File: "server/queue/queue.go",
		Old:  "\t\tflush = g.reply(flush)\n",
		New:  "\t\tflush = flush[:0] // answered already\n",
	}}},
	{name: "AcknowledgeDuplicateBeforeOriginal", changes: []overlay.Change{{
		File: "server/queue/queue.go",
		Old:  "\t\tq.assembler.assemble(g)\n",
		New: "\t\tq.assembler.assemble(g)\n" +
			"\t\tfor i := range g.entries {\n" +
			"\t\t\tif entry := &g.entries[i]; g.answers[i].receipt.Duplicate && entry.Replier != nil {\n" +
			"\t\t\t\tif entry.Replier.Reply(entry.Token, g.answers[i].receipt, nil) {\n\t\t\t\t\tentry.Replier.Flush()\n\t\t\t\t}\n" +
			"\t\t\t\tentry.Replier = nil\n\t\t\t}\n\t\t}\n",
	}}},
	{name: "CursorBeforeReply", changes: []overlay.Change{{
		File: "server/queue/save.go",
		Old:  "Settled: a.settled.AppendTo([]byte{}, a.cursor),",
		New:  "Settled: a.settledOrLeased().AppendTo([]byte{}, a.cursor),",
	}, {
		File: "server/queue/save.go",
		Old:  "func (a *account) restoreUnsaved(",
		New: "func (a *account) settledOrLeased() queuefile.Spans {\n\tvar all queuefile.Spans\n" +
			"\tfor _, some := range []queuefile.Spans{a.settled, a.leased} {\n\t\tfor _, s := range some {\n\t\t\tall.Add(s)\n\t\t}\n\t}\n\treturn all\n}\n\n" +
			"func (a *account) restoreUnsaved(",
	}}},
	{name: "DeadLetterAfterCursor", changes: []overlay.Change{{
		File: "server/queue/save.go",
		Old:  "\tfor i := range s.unsaved.letters {\n\t\tif err := c.writeLetter(conn, s, &s.unsaved.letters[i]); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n",
	}, {
		File: "server/queue/commit.go",
		Old:  "\tc.endSave(tx.save, err)\n",
		New: "\tif err == nil && tx.save != nil {\n" +
			"\t\terr = c.q.db.Write(context.Background(), func(conn *sqlite.Conn) error {\n" +
			"\t\t\tfor n := range tx.save.accounts {\n\t\t\t\ts := &tx.save.accounts[n]\n\t\t\t\tfor i := range s.unsaved.letters {\n" +
			"\t\t\t\t\tif err := c.writeLetter(conn, s, &s.unsaved.letters[i]); err != nil {\n\t\t\t\t\t\treturn err\n\t\t\t\t\t}\n" +
			"\t\t\t\t}\n\t\t\t}\n\t\t\treturn nil\n\t\t})\n\t}\n" +
			"\tc.endSave(tx.save, err)\n",
	}}},
	{name: "RetentionOneFrameTooFar", changes: []overlay.Change{{
		File: "server/queue/retention.go",
		Old:  "if frames == framesPerCommit || end > keep ||",
		New:  "if frames == framesPerCommit || edge.Position(row.Int(0)) > keep ||",
	}}},
	{name: "RetentionOneRecordTooFar", changes: []overlay.Change{{
		File: "server/queue/retention.go",
		Old:  "if frames == framesPerCommit || end > keep ||",
		New:  "if frames == framesPerCommit || end-1 > keep ||",
	}}},
	{name: "MergeDropsLastRecord", changes: []overlay.Change{{
		File: "server/queue/merge.go",
		Old:  "\t\t\tfor i := range frame.Records {\n\t\t\t\tm.encoder.Add(",
		New:  "\t\t\tfor i := range frame.Records[:max(1, len(frame.Records)-1)] {\n\t\t\t\tm.encoder.Add(",
	}}},
	{name: "LettersOfDeletedSinkKept", changes: []overlay.Change{{
		File: "server/queue/delete.go",
		Old:  "return q.discardLetters(ctx, a, why)",
		New:  "return nil",
	}}},
	{name: "RefusedEvictedWithoutReport", changes: []overlay.Change{{
		File: "server/queue/ingress.go",
		Old:  "\tif err := evicted.write(conn, edge.Ingress); err != nil {",
		New:  "\tif err := evicted[:0].write(conn, edge.Ingress); err != nil {",
	}}},
	{name: "DeadLettersEvictedWithoutReport", changes: []overlay.Change{{
		File: "server/queue/evict.go",
		Old:  "\tif err := s.evicted.losses.write(conn, s.account.id); err != nil {",
		New:  "\tif err := s.evicted.losses[:0].write(conn, s.account.id); err != nil {",
	}}},
	// Others sync the same folder soon after the rename, so that it takes all of
	// them to lose anything; and SQLite does with its first sync of a WAL, without
	// looking at the result, so that it also takes a sync that fails.
	{name: "FolderNotSyncedAfterRename", changes: []overlay.Change{{
		File: "server/sqlite/disk.go", // for every name
		Old:  "error { return d.files().SyncFolder(path) }",
		New:  "error { return nil }",
	}}},
	{name: "DuplicateWithoutPayload", quick: true, changes: []overlay.Change{{
		File: "server/queue/assemble.go",
		Old:  "case found && known.Payload == payload:",
		New:  "case found:",
	}}},
	{name: "LeaseSurvivesRestart", changes: []overlay.Change{{
		File: "server/queue/sinks.go",
		Old:  "loaded.durable, loaded.next, loaded.frontier = loaded.cursor, loaded.cursor, loaded.cursor",
		New:  "loaded.durable, loaded.next, loaded.frontier = loaded.cursor, stored.Counted+1, loaded.cursor",
	}}},
	{name: "WALPastBadChecksum", changes: []overlay.Change{{
		File: "server/sqlite/walreader.go",
		Old:  " || !sum.continues(r.frame) {\n\t\treturn false\n\t}\n",
		New: " {\n\t\treturn false\n\t}\n\tsum.continues(r.frame)\n" +
			"\tbinary.BigEndian.PutUint32(r.frame[frameSumAt:], sum.a)\n\tbinary.BigEndian.PutUint32(r.frame[frameSumAt+4:], sum.b)\n",
	}}},
}
