package verify

import (
	"database/sql"

	"combotto.io/gateway/test/acklog"
)

// Frames returns what is gone when a frame is damaged: for each frame of a queue's
// file, by the position of its first record. Those in front of a sink's cursor are
// left out.
func Frames(path, sink string) (map[int64]Damage, error) {
	frames := map[int64]Damage{}
	err := WithCopy(path, func(db *sql.DB) error {
		file := &queueFile{check: &check{run: &Run{}, findings: map[findingKey]*Finding{}}, db: db}
		if err := file.readSinks(); err != nil {
			return err
		}
		if err := file.readSets(); err != nil {
			return err
		}
		const query = "SELECT id, n, body FROM frame WHERE id >= (SELECT cursor FROM sink WHERE name = ?) ORDER BY id"
		return file.each(query, func(row *sql.Rows) error {
			var first, count int64
			var body []byte
			if err := row.Scan(&first, &count, &body); err != nil {
				return err
			}
			records, err := readFrame(first, count, body)
			frames[first] = file.damage(first, records)
			return err
		}, sink)
	})
	return frames, err
}

// damage tells what is lost with a frame. Frames come in order.
func (f *queueFile) damage(first int64, records []frameRecord) Damage {
	damage := Damage{Undecided: map[string]int64{}}
	for i := range records {
		record, position := &records[i], first+int64(i)
		damage.Messages = append(damage.Messages, acklog.Identity{Device: record.device, BootID: record.bootID, Sequence: record.sequence})
		for _, sink := range f.sinks {
			if f.owes(sink, position, record) && !sink.isDecided(position) {
				damage.Undecided[sink.name]++
			}
		}
	}
	return damage
}
