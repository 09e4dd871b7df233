package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// walTail is what the WAL holds behind the last transaction that SQLite reads.
// Nobody can tell a transaction that a crash has cut off, which was never
// acknowledged, from the last one with a bit changed, which was. Frames say
// themselves whether they are whole. Those that are, and that follow the ones
// SQLite knows, are stored again: to store what was not acknowledged costs at most
// a duplicate, which its identity gives away.
type walTail struct {
	frames []damagedRow            // whole in fact; with their column owed
	named  map[edge.Position]int64 // of a frame: the last of the owed sets it names
	sets   map[int64]string
	fault  error // of the program, which has left out some of it
}

// readTail reads it before SQLite opens the file and writes over it.
func readTail(disk sqlite.Disk, path string) (*walTail, error) {
	image, err := sqlite.OpenImage(disk, path)
	if err != nil {
		return nil, fmt.Errorf("look at the WAL: %w", err)
	}
	if image.WALDamaged() {
		return nil, errors.Join(damagedRowError("commits behind damage in the WAL"), image.Close())
	}
	if !image.HasTail() {
		return nil, image.Close()
	}
	decoder, err := newDecoder(new(logs))
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	tail := &walTail{sets: make(map[int64]string), named: make(map[edge.Position]int64)}
	image.TailRows(func(row *sqlite.CarvedRow) bool {
		if row.Keyed || len(row.Values) < 2 || row.Values[0] != nil {
			return false
		}
		return tail.frame(decoder, row) || tail.set(row)
	})
	tail.fault = image.Fault
	slices.SortFunc(tail.frames, func(a, b damagedRow) int { return cmp.Compare(a.first, b.first) })
	return tail, image.Close()
}

func (t *walTail) frame(decoder *decoder, row *sqlite.CarvedRow) bool {
	if len(row.Values) != 6 {
		return false
	}
	values := sqlite.Row{row.ID}
	for _, value := range row.Values[1:] {
		values = append(values, value)
	}
	stored := storedFrame{first: edge.Position(row.ID), count: int(values.Int(1)), body: values.Bytes(5)}
	if stored.count < 1 || stored.count > maxFrameBytes/minRecordBytes {
		return false
	}
	decoded, err := decoder.decode(stored.first, stored.count, stored.body)
	if err != nil {
		return false
	}
	stored.committedAt = readStoredFrame(sqlite.Row{row.ID, values[1], values[2], values[5]}).committedAt
	t.frames = append(t.frames, damagedRow{storedFrame: stored, owed: values.Int(3), raw: values.Int(4)})
	t.named[stored.first] = int64(slices.Max(decoded.owed))
	return true
}

func (t *walTail) set(row *sqlite.CarvedRow) bool {
	values := sqlite.Row{row.ID}
	for _, value := range row.Values[1:] {
		values = append(values, value)
	}
	if len(values) != 3 || values.Int(2) != owedSum(row.ID, values.Text(1)) {
		return false
	}
	t.sets[row.ID] = values.Text(1)
	return true
}

// restore stores the frames that follow those in the file.
func (t *walTail) restore(ctx context.Context, db *sqlite.DB) error {
	if t == nil || len(t.frames) == 0 {
		return nil
	}
	return db.Write(ctx, func(conn *sqlite.Conn) error {
		head, err := storedHead(conn)
		if err != nil {
			return err
		}
		sets := int64(0)
		if _, err := conn.One("SELECT coalesce(max(id), 0) FROM owed", func(row sqlite.Row) { sets = row.Int(0) }); err != nil {
			return err
		}
		for sinks, ok := t.sets[sets+1]; ok; sinks, ok = t.sets[sets+1] {
			sets++
			if err := conn.Exec("INSERT INTO owed(id, sinks, checksum) VALUES(?, ?, ?)", sets, sinks, owedSum(sets, sinks)); err != nil {
				return err
			}
		}
		for i := range t.frames {
			frame := &t.frames[i]
			if frame.first != head+1 || t.named[frame.first] > sets {
				continue
			}
			err := conn.Exec("INSERT INTO frame(id, n, committed, owed, raw, body) VALUES(?, ?, ?, ?, ?, ?)", int64(frame.first), int64(frame.count),
				frame.committedAt.UnixMicro(), frame.owed, frame.raw, frame.body)
			if err != nil {
				return fmt.Errorf("store frame %d again: %w", frame.first, err)
			}
			head = frame.end() - 1
		}
		return nil
	})
}
