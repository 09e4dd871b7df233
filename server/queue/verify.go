package queue

import (
	"context"
	"fmt"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// ProblemKind says what a problem is about.
type ProblemKind string

// The kinds of problems.
const (
	ProblemStructure ProblemKind = "structure" // the trees of the database
	ProblemRow       ProblemKind = "row"       // a row that everything depends on
	ProblemFrame     ProblemKind = "frame"     // stored messages
	ProblemGap       ProblemKind = "gap"       // messages that are in no frame
	ProblemLetter    ProblemKind = "dead_letter"
	ProblemDevice    ProblemKind = "identity_window"
	ProblemLedger    ProblemKind = "ledger" // a counter
)

// Problem is one thing that Verify has found.
type Problem struct {
	Kind     ProblemKind   `json:"kind"`
	Position edge.Position `json:"position,omitempty"` // where there is one
	Sink     string        `json:"sink,omitempty"`
	Detail   string        `json:"detail"`
}

// Verification is what was checked, and what was found.
type Verification struct {
	Path        string    `json:"path"`
	Frames      int64     `json:"frames"`
	Records     int64     `json:"messages"`
	DeadLetters int64     `json:"dead_letters"`
	Devices     int64     `json:"devices"`
	Attempts    int64     `json:"attempts"`
	Sinks       int64     `json:"sinks"`
	Quarantined int64     `json:"quarantined"`
	Structural  int64     `json:"structural"` // problems that only a repair removes
	Problems    []Problem `json:"problems"`   // the first problemsMax
	Found       int64     `json:"found"`      // all of them
}

// problemsMax bounds what is listed.
const problemsMax = 1000

func (v *Verification) add(problem Problem) {
	v.Found++
	switch problem.Kind {
	case ProblemStructure, ProblemRow, ProblemGap:
		v.Structural++
	}
	if len(v.Problems) < problemsMax {
		v.Problems = append(v.Problems, problem)
	}
}

// verify reads the whole file and checks everything that has a checksum, the
// trees of the database, and the ledger. It fails only when it could not look.
func (q *Queue) verify(ctx context.Context) (Verification, error) {
	v := Verification{Path: q.settings.Path, Problems: []Problem{}}
	for _, check := range []func(*sqlite.Conn, *Verification) error{
		verifyTrees, q.verifyFrames, q.verifyLetters, verifyDevices, verifyCounts,
	} {
		err := q.db.Read(ctx, func(conn *sqlite.Conn) error { return check(conn, &v) })
		switch {
		case isDamage(err):
			v.add(Problem{Kind: ProblemStructure, Detail: err.Error()})
		case err != nil:
			return v, fmt.Errorf("verify: %w", err)
		}
	}
	return v, nil
}

func verifyTrees(conn *sqlite.Conn, v *Verification) error {
	return conn.Query("PRAGMA integrity_check(100)", func(row sqlite.Row) error {
		if text := row.Text(0); text != "ok" {
			v.add(Problem{Kind: ProblemStructure, Detail: text})
		}
		return nil
	})
}

// verifyFrames reads every frame, and looks for positions that are nowhere.
func (q *Queue) verifyFrames(conn *sqlite.Conn, v *Verification) error {
	apart, err := quarantinedSpans(conn)
	if err != nil {
		return err
	}
	next := edge.Position(0)
	gap := func(end edge.Position) {
		if next > 0 && next < end && !apart.contains(span{next, end}) {
			v.add(Problem{Kind: ProblemGap, Position: next, Detail: fmt.Sprintf("messages %d to %d are in no frame", next, end-1)})
		}
	}
	err = conn.Query("SELECT id, n, committed, body FROM frame ORDER BY id", func(row sqlite.Row) error {
		stored := readStoredFrame(row)
		v.Frames++
		gap(stored.first)
		next = stored.first + edge.Position(stored.count)
		if _, err := q.decoder.decodeStored(stored); err != nil {
			v.add(Problem{Kind: ProblemFrame, Position: stored.first, Detail: err.Error()})
			return nil
		}
		v.Records += int64(stored.count)
		return nil
	})
	if err == nil {
		gap(q.Head() + 1)
	}
	return err
}

func quarantinedSpans(conn *sqlite.Conn) (apart spans, err error) {
	err = conn.Query("SELECT position, n FROM quarantine WHERE sink = -1 ORDER BY position", func(row sqlite.Row) error {
		apart.add(span{edge.Position(row.Int(0)), edge.Position(row.Int(0) + row.Int(1))})
		return nil
	})
	return apart, err
}

func (q *Queue) verifyLetters(conn *sqlite.Conn, v *Verification) error {
	return conn.Query(selectLetters+" ORDER BY sink, position", func(row sqlite.Row) error {
		letter := readLetter(row)
		v.DeadLetters++
		if _, err := q.decoder.decodeLetter(&letter); err != nil {
			v.add(Problem{Kind: ProblemLetter, Position: letter.position, Sink: q.sinkName(letter.sink), Detail: err.Error()})
		}
		return nil
	})
}

func (q *Queue) sinkName(id edge.SinkID) string {
	if account, err := q.account(id); err == nil {
		return account.name
	}
	if id == edge.Ingress {
		return edge.IngressName
	}
	return fmt.Sprint(id)
}

func verifyDevices(conn *sqlite.Conn, v *Verification) error {
	return conn.Query("SELECT device, body FROM identity_window", func(row sqlite.Row) error {
		v.Devices++
		if _, err := parseDevice(edge.DeviceID(row.Text(0)), row.Bytes(1)); err != nil {
			v.add(Problem{Kind: ProblemDevice, Detail: fmt.Sprintf("%s: %v", row.Text(0), err)})
		}
		return nil
	})
}

func verifyCounts(conn *sqlite.Conn, v *Verification) error {
	_, err := conn.One("SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM sink), (SELECT quarantined FROM ledger)", func(row sqlite.Row) {
		v.Attempts, v.Sinks, v.Quarantined = row.Int(0), row.Int(1), row.Int(2)
	})
	return err
}
