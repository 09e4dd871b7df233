//go:build race

package queue_test

// slow divides what the long tests do, because the race detector makes SQLite ten
// times slower and has nothing to find in it.
const slow = 10
