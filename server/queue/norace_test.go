//go:build !race

package queue_test

// slow divides what the long tests do.
const slow = 1
