//go:build !linux

package queue

import "time"

// MachineUptime is the [Uptime] of this machine, which nobody knows here: the
// wall clock leads gateway time on.
func MachineUptime() (boot string, up time.Duration, ok bool) { return "", 0, false }
