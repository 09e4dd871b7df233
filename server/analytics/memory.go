package analytics

// memory remembers the newest ids, up to a limit.
//
//	ring:   [ k7 | k8 | k4 | k5 | k6 ]     known: the same ids, to be found
//	                    ^ next: the oldest, forgotten first
type memory struct {
	limit int
	ring  []key
	next  int
	known map[key]struct{}
}

func newMemory(limit int) *memory { return &memory{limit: limit, known: make(map[key]struct{})} }

// seen reports whether the id is known, and remembers it from now on.
func (m *memory) seen(id key) bool {
	if _, ok := m.known[id]; ok {
		return true
	}
	m.known[id] = struct{}{}
	if len(m.ring) < m.limit {
		m.ring = append(m.ring, id)
		return false
	}
	delete(m.known, m.ring[m.next])
	m.ring[m.next] = id
	m.next = (m.next + 1) % m.limit
	return false
}
