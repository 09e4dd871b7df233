// Package crashtest_test goes through what can happen to a queue on a disk, one
// state or one call after the other: every kind of state that a power cut can
// leave, a fault at each call, a file of an earlier schema that is killed at each
// step of its migration. A workload drives the queue on a simulated disk, a
// witness knows what was promised, and judges what a start finds.
//
// It lies apart from the other tests of package queue, which try what runs at the
// same time: enumerating takes the race detector minutes and shows it nothing.
package crashtest_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"combotto.io/gateway/server/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var everything = edge.LeaseLimit{Records: edge.MaxLeased, Bytes: 1 << 30}

// attempt describes one of a batch that has just ended.
func attempt(batch []edge.Delivery, class edge.Class) edge.Attempt {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return edge.Attempt{
		Number: 1, First: batch[0].Record.Position, Last: batch[len(batch)-1].Record.Position, Records: len(batch),
		Slots: 1, StartedAt: now.Add(-time.Millisecond), EndedAt: now, Class: class, Status: "200",
	}
}
