package edge

import "context"

// Entry is a record on its way into the queue, with everything that was decided
// about it at the door.
type Entry struct {
	Record Record
	// Owed are the sinks that the plan names for this record. The slice is the
	// plan's; records with the same set share it. Empty means unrouted: stored,
	// counted, owed to nobody.
	Owed []SinkID
	// Refusal is not nil for a message that can never be valid and whose sender
	// cannot be told so: it is kept as a dead letter of [Ingress] and then
	// acknowledged.
	Refusal *Error
	// Replier hears what became of the entry; nil when nobody waits.
	Replier Replier
	Token   uint64 // given back to the Replier, opaque to the queue
}

// Receipt answers for one entry. It exists only once the record is durable.
type Receipt struct {
	Correlation CorrelationID // of the first record with this identity
	Duplicate   bool          // same identity and payload as before: nothing was stored again
	Conflict    bool          // same identity, other payload: stored as new
	Refused     bool          // kept as a dead letter of Ingress
}

// Replier takes the answers to entries. Calls come from one goroutine of the
// queue, in the order in which one replier's entries were appended. They must
// not block: a replier that writes to a network queues what it writes.
type Replier interface {
	// Reply hands over the answer to one entry: a receipt, or an error when the
	// record is not stored. It reports whether the queue is to call Flush after
	// the last answer of this commit; a replier that has asked already for this
	// commit answers false.
	Reply(token uint64, receipt Receipt, err error) (flush bool)
	// Flush lets everything that Reply gathered go out at once.
	Flush()
}

// Appender makes records durable.
type Appender interface {
	// Append hands entries over to the next commit; all of them land in one
	// commit or none does. It returns before they are durable: answers arrive
	// through each entry's Replier, after the commit. When Append itself fails,
	// with an [Error] of code Full or Stopping or with ctx's error, nothing was
	// taken and no answer will come.
	//
	// Append blocks while too many bytes wait for the disk, which slows senders
	// down. It is safe for concurrent use. Entries are copied; payloads are not,
	// and belong to the queue until the answer.
	Append(ctx context.Context, entries ...Entry) error
}
