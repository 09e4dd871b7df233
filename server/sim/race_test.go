//go:build race

package sim_test

// The race detector makes SQLite ten times slower.
const (
	seedsDefault = 5
	underRace    = true
)
