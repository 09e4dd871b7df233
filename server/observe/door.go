package observe

// Door counts what becomes of the messages of one door. Ingest and the queue
// count what they decide, and a door what it refuses itself or gives up on, so
// that each message is counted once.
type Door struct {
	results map[string]Counter // by result
	reasons map[string]Counter // of refusals, by reason
}

// Door resolves the counters of the door with a source's name.
func (m *Metrics) Door(source string) *Door {
	d := &Door{results: map[string]Counter{}, reasons: map[string]Counter{}}
	for _, result := range labelResult.Values {
		d.results[result] = m.Counter("ingest_messages_total", source, result)
	}
	for _, reason := range labelRefusal.Values {
		d.reasons[reason] = m.Counter("ingest_rejected_total", source, reason)
	}
	return d
}

// Count adds messages that were not refused: accepted, duplicate or conflict.
func (d *Door) Count(result string, messages int) {
	if messages > 0 {
		d.results[result].Add(messages)
	}
}

// Refuse adds messages that were refused for a reason.
func (d *Door) Refuse(reason string, messages int) {
	d.results["rejected"].Add(messages)
	d.reasons[reason].Add(messages)
}

// Drop adds one message that was lost although nobody could be told.
func (d *Door) Drop(reason string) {
	d.results["dropped"].Inc()
	d.reasons[reason].Inc()
}
