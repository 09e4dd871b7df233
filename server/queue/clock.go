package queue

import (
	"time"

	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// advanceMax bounds what a wall clock alone can add to gateway time while the
// gateway is away.
const advanceMax = 7 * 24 * time.Hour

// Uptime tells which start of the machine this is, and how long ago that was,
// suspended time included. ok is false where nobody knows.
type Uptime func() (boot string, up time.Duration, ok bool)

// clock tells gateway time, by which everything ages, and judges the wall clock,
// by which people read when something happened.
//
// Gateway time begins as the wall clock of the first open. While the queue runs
// it follows the monotonic clock, whatever becomes of the wall clock. Each open
// leads it on from where it was saved:
//
//	the machine has not restarted since   exactly, by the time since it started
//	otherwise                             by what the wall clock advanced, 0 to 7 days
//	a wall clock cannot be believed       not at all
//
// A wall clock is believed from the floor on: the time of the build, or the last
// wall clock that was saved. A board without a battery starts in 1970, or when
// its image was made. Until it is set, its receive times count on from the floor.
// A clock that goes back below the floor while the queue runs, or while the
// machine runs on, was corrected: it is believed, if it is not before the build.
type clock struct {
	opened  time.Time // for its monotonic reading
	wall    time.Time // when it was opened
	gateway time.Time // when it was opened
	floor   time.Time // of the wall clock
	built   time.Time // no wall clock is earlier
	uptime  Uptime
}

// newClock leads on from what was saved, and from the commit of the newest frame,
// at a reading of the wall clock. A zero commit is none.
func newClock(saved queuefile.StoredClock, committed time.Time, settings *Settings, wall time.Time) *clock {
	c := &clock{opened: time.Now(), wall: wall, built: settings.BuiltAt, uptime: settings.Uptime}
	if c.uptime == nil {
		c.uptime = func() (string, time.Duration, bool) { return "", 0, false }
	}
	boot, up, known := c.uptime()
	sameBoot := known && boot == saved.Boot && up >= saved.Up
	if saved.Gateway.IsZero() { // gateway time was the wall clock of commits
		saved.Gateway, saved.Wall = committed, committed
	}
	switch {
	case saved.Wall.IsZero():
		c.floor = later(c.built, saved.Gateway)
	case sameBoot: // and so it was set back, if it was
		c.floor = c.built
	default:
		c.floor = later(c.built, saved.Wall)
	}
	switch {
	case saved.Gateway.IsZero():
		c.gateway = later(wall, c.floor)
	case sameBoot:
		c.gateway = saved.Gateway.Add(up - saved.Up)
	case !saved.Wall.IsZero() && !wall.Before(c.floor):
		c.gateway = saved.Gateway.Add(min(max(0, wall.Sub(saved.Wall)), advanceMax))
	default:
		c.gateway = saved.Gateway
	}
	c.gateway = later(c.gateway, committed).UTC()
	return c
}

// now returns gateway time in whole microseconds.
func (c *clock) now() time.Time {
	return c.gateway.Add(time.Since(c.opened)).Truncate(time.Microsecond)
}

// since returns the age of what happened at a gateway time.
func (c *clock) since(at time.Time) time.Duration { return c.now().Sub(at) }

// believe returns a reading of the wall clock, or what stands for it when it
// cannot be right.
func (c *clock) believe(wall time.Time) (at time.Time, floored bool) {
	if !wall.Before(c.floor) || !wall.Before(c.built) && c.setBack(wall) {
		return wall, false
	}
	return later(c.floor, c.wall).Add(time.Since(c.opened)).UTC().Truncate(time.Microsecond), true
}

// setBackMin is how far a clock is behind when it was set back, rather than kept
// in step by small corrections.
const setBackMin = time.Second

// setBack reports whether somebody has set the clock back since it was opened,
// when it could be believed.
func (c *clock) setBack(wall time.Time) bool {
	return !c.wall.Before(c.floor) && time.Since(c.opened)-wall.Sub(c.wall) > setBackMin
}

// write saves what the next open leads on from, with a reading of the wall clock.
func (c *clock) write(conn *sqlite.Conn, wall time.Time) error {
	saved := queuefile.StoredClock{Gateway: c.now()}
	if wall, floored := c.believe(wall); !floored {
		saved.Wall = wall
	}
	if boot, up, known := c.uptime(); known {
		saved.Boot, saved.Up = boot, up
	}
	return saved.Write(conn)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
