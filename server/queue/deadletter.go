package queue

import (
	"context"
	"fmt"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// whereLetters selects dead letters by key and filter; see letterArguments. Without a
// filter it selects every row behind the key, also one that damage has given no time.
const whereLetters = ` WHERE (sink, position) > (?1, ?2) AND (?3 = '' OR instr(?3, ',' || sink || ',') > 0)
	AND (?4 = '' OR reason = ?4) AND (?5 = '' OR device = ?5) AND (?6 IS NULL OR last_at >= ?6) AND (?7 IS NULL OR last_at < ?7)`

func letterArguments(after edge.DeadLetterKey, filter *edge.DeadLetterFilter) []any {
	sinks := ""
	if len(filter.Sinks) > 0 {
		sinks = "," + queuefile.FormatSinks(filter.Sinks) + ","
	}
	var since, until any
	if from, to := microRange(filter.Since, filter.Until); !filter.Since.IsZero() || !filter.Until.IsZero() {
		since, until = from, to
	}
	if after == (edge.DeadLetterKey{}) {
		after.Position = -1 // damage can make a key that is zero
	}
	return []any{int64(after.Sink), int64(after.Position), sinks, filter.Reason, string(filter.Device), since, until}
}

// DeadLetters returns those that match the filter, in order of key, behind a
// key; the zero key is before the first. Fewer than the limit are all there are.
func (q *Queue) DeadLetters(ctx context.Context, filter edge.DeadLetterFilter, after edge.DeadLetterKey, limit int) ([]edge.DeadLetter, error) {
	return q.readLetters(ctx, limit, queuefile.SelectLetters+whereLetters+" ORDER BY sink, position", letterArguments(after, &filter)...)
}

// DeadLetter returns one.
func (q *Queue) DeadLetter(ctx context.Context, key edge.DeadLetterKey) (edge.DeadLetter, error) {
	found, err := q.readLetters(ctx, 1, queuefile.SelectLetters+" WHERE sink = ? AND position = ?", int64(key.Sink), int64(key.Position))
	if err != nil {
		return edge.DeadLetter{}, err
	}
	if len(found) == 0 {
		return edge.DeadLetter{}, errNoLetter(key)
	}
	return found[0], nil
}

// readLetters reads dead letters, as many as the limit or all. What looks damaged is set
// aside, and then read once more: it is gone, unless the disk had only misread it.
func (q *Queue) readLetters(ctx context.Context, limit int, query string, arguments ...any) ([]edge.DeadLetter, error) {
	// A death is known to its reader as soon as it was settled.
	if err := unlessFull(q.flush(ctx)); err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	found, unreadable, err := q.scanLetters(ctx, limit, query, arguments)
	if err == nil && len(unreadable) > 0 {
		for _, what := range unreadable {
			if err := q.setAside(ctx, what); err != nil {
				return nil, fmt.Errorf("read dead letters: %w", err)
			}
		}
		found, _, err = q.scanLetters(ctx, limit, query, arguments)
	}
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return found, nil
}

// scanLetters passes over what it cannot read, so that this does not count against the
// limit.
func (q *Queue) scanLetters(ctx context.Context, limit int, query string, arguments []any) (found []edge.DeadLetter, unreadable []damaged, err error) {
	err = q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(query, func(row sqlite.Row) error {
			if len(found) == limit {
				return sqlite.ErrStop
			}
			letter := queuefile.ReadLetter(row)
			record, err := q.decoder.DecodeLetter(&letter)
			if err != nil {
				unreadable = append(unreadable, damaged{sink: int64(letter.Sink), position: letter.Position})
				return nil
			}
			found = append(found, letter.DeadLetter(record))
			return nil
		}, arguments...)
	})
	return found, unreadable, err
}

func errNoLetter(key edge.DeadLetterKey) *edge.Error {
	return &edge.Error{Code: edge.NotFound, Message: fmt.Sprintf("there is no dead letter %d of sink %d", key.Position, key.Sink)}
}
