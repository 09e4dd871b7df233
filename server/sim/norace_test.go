//go:build !race

package sim_test

const (
	seedsDefault = 30
	underRace    = false
)
