package queuefile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// WALTail is what the WAL holds behind the last transaction that SQLite reads.
// Nobody can tell a transaction that a crash has cut off, which was never
// acknowledged, from the last one with a bit changed, which was. Frames say
// themselves whether they are whole. Those that are, and that follow the ones
// SQLite knows, are stored again: to store what was not acknowledged costs at most
// a duplicate, which its identity gives away.
type WALTail struct {
	frames []StoredFrame
	named  map[edge.Position]int64 // of a frame: the last of the owed sets it names
	sets   map[int64]string
	Fault  error // of the program, which has left out some of it
}

// ReadTail reads it before SQLite opens the file and writes over it.
func ReadTail(disk sqlite.Disk, path string) (*WALTail, error) {
	image, err := sqlite.OpenImage(disk, path)
	if err != nil {
		return nil, fmt.Errorf("look at the WAL: %w", err)
	}
	if lost := image.WALUnreadable(); lost > 0 {
		return nil, errors.Join(&sqlite.WALUnreadableError{Path: path, Frames: lost}, image.Close())
	}
	if image.WALDamaged() {
		return nil, errors.Join(NewRowError("commits behind damage in the WAL"), image.Close())
	}
	if err := image.CheckHeader(); err != nil {
		return nil, errors.Join(err, image.Close())
	}
	if !image.HasTail() {
		return nil, image.Close()
	}
	decoder, err := NewDecoder(new(Logs))
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	tail := &WALTail{sets: make(map[int64]string), named: make(map[edge.Position]int64)}
	image.TailRows(func(row *sqlite.CarvedRow) bool {
		if row.Keyed || len(row.Values) < 2 || row.Values[0] != nil {
			return false
		}
		return tail.frame(decoder, row) || tail.set(row)
	})
	tail.Fault = image.Fault
	slices.SortFunc(tail.frames, func(a, b StoredFrame) int { return cmp.Compare(a.First, b.First) })
	return tail, image.Close()
}

func (t *WALTail) frame(decoder *Decoder, row *sqlite.CarvedRow) bool {
	if len(row.Values) != 6 {
		return false
	}
	stored := ReadFrame(asRead(row, len(row.Values)))
	if stored.Count < 1 || stored.Count > MaxFrameBytes/minRecordBytes {
		return false
	}
	decoded, err := decoder.decode(stored.First, stored.Count, stored.Body)
	if err != nil {
		return false
	}
	t.frames = append(t.frames, stored)
	t.named[stored.First] = int64(slices.Max(decoded.Owed))
	return true
}

func (t *WALTail) set(row *sqlite.CarvedRow) bool {
	if len(row.Values) != 3 {
		return false
	}
	stored := ReadSet(asRead(row, len(row.Values)))
	if stored.sum == nil || !stored.Holds() {
		return false
	}
	t.sets[row.ID] = stored.Sinks
	return true
}

// Append stores the frames that follow those in the file.
func (t *WALTail) Append(ctx context.Context, db *sqlite.DB) error {
	if t == nil || len(t.frames) == 0 {
		return nil
	}
	return db.Write(ctx, func(conn *sqlite.Conn) error {
		head, err := Head(conn)
		if err != nil {
			return err
		}
		sets := int64(0)
		if _, err := conn.One("SELECT coalesce(max(id), 0) FROM owed", func(row sqlite.Row) { sets = row.Int(0) }); err != nil {
			return err
		}
		for sinks, ok := t.sets[sets+1]; ok; sinks, ok = t.sets[sets+1] {
			sets++
			if err := InsertSet(conn, sets, sinks); err != nil {
				return err
			}
		}
		for i := range t.frames {
			frame := &t.frames[i]
			if frame.First != head+1 || t.named[frame.First] > sets {
				continue
			}
			if err := frame.Insert(conn); err != nil {
				return fmt.Errorf("store frame %d again: %w", frame.First, err)
			}
			head = frame.End() - 1
		}
		return nil
	})
}
