package queue

import "fmt"

// CheckFiles fails when somebody has removed or replaced a file of the queue while
// it is in use: what is acknowledged from then on may be in no file that a start
// finds. It first moves what is in the WAL to the database file, so that even a kill
// costs nothing as long as that file has its name. Whoever runs the queue then has
// to end [Queue.Run], which moves the rest. The error is for an operator.
func (q *Queue) CheckFiles() error {
	err := q.db.InPlace()
	if err == nil || q.ended() {
		return nil
	}
	wal, failure := q.db.Checkpoint()
	if failure == nil && wal.Left > 0 {
		failure = fmt.Errorf("%d bytes wait for a reader to end", wal.Left)
	}
	if failure != nil {
		return fmt.Errorf("%w; its messages are saved when the gateway stops in order, and not before (%w)%s", err, failure, hint(err))
	}
	return fmt.Errorf("%w%s", err, hint(err))
}
