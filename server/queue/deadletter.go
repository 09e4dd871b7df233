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
	return []any{int64(after.Sink), int64(after.Position), sinks, filter.Reason, string(filter.Device), since, until}
}

// DeadLetters returns those that match the filter, in order of key, behind a
// key; the zero key is before the first.
func (q *Queue) DeadLetters(ctx context.Context, filter edge.DeadLetterFilter, after edge.DeadLetterKey, limit int) ([]edge.DeadLetter, error) {
	return q.readLetters(ctx, queuefile.SelectLetters+whereLetters+" ORDER BY sink, position LIMIT ?8", append(letterArguments(after, &filter), int64(limit))...)
}

// DeadLetter returns one.
func (q *Queue) DeadLetter(ctx context.Context, key edge.DeadLetterKey) (edge.DeadLetter, error) {
	found, err := q.readLetters(ctx, queuefile.SelectLetters+" WHERE sink = ? AND position = ?", int64(key.Sink), int64(key.Position))
	if err != nil {
		return edge.DeadLetter{}, err
	}
	if len(found) == 0 {
		return edge.DeadLetter{}, errNoLetter(key)
	}
	return found[0], nil
}

func (q *Queue) readLetters(ctx context.Context, query string, arguments ...any) ([]edge.DeadLetter, error) {
	// A death is known to its reader as soon as it was settled.
	if err := unlessFull(q.flush(ctx)); err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	var found []edge.DeadLetter
	var unreadable []damaged
	err := q.read(ctx, func(conn *sqlite.Conn) error {
		return conn.Query(query, func(row sqlite.Row) error {
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
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	for _, what := range unreadable {
		if err := q.setAside(ctx, what); err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
	}
	return found, nil
}

func errNoLetter(key edge.DeadLetterKey) *edge.Error {
	return &edge.Error{Code: edge.NotFound, Message: fmt.Sprintf("there is no dead letter %d of sink %d", key.Position, key.Sink)}
}
