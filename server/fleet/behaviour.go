package fleet

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Behaviour is the character of a board.
type Behaviour uint8

// The behaviours.
const (
	Normal  Behaviour = iota // a message per interval
	Bursty                   // silence, then 200 messages at once
	Faulty                   // a message per interval, a third of them broken or sent twice
	Offline                  // a message per interval, but the connection comes and goes
)

var behaviourNames = [...]string{Normal: "normal", Bursty: "bursty", Faulty: "faulty", Offline: "offline"}

func (b Behaviour) String() string { return behaviourNames[b] }

// ParseBehaviours reads a comma-separated list such as "normal,faulty". A name
// may be repeated to give it more boards.
func ParseBehaviours(text string) ([]Behaviour, error) {
	var behaviours []Behaviour
names:
	for name := range strings.SplitSeq(text, ",") {
		for behaviour, known := range behaviourNames {
			if strings.TrimSpace(name) == known {
				behaviours = append(behaviours, Behaviour(behaviour))
				continue names
			}
		}
		return nil, fmt.Errorf("behaviour: %q is none of %s", name, strings.Join(behaviourNames[:], ", "))
	}
	return behaviours, nil
}

// burstMessages is how many messages a bursty board makes at once.
const burstMessages = 200

// pause returns how long a board is silent, and how many messages it then makes
// at once. Boards of a fleet differ by some jitter, so that they do not march in
// step.
func (b Behaviour) pause(random *rand.Rand, interval time.Duration) (time.Duration, int) {
	if b == Bursty {
		return between(random, 15*interval, 45*interval), burstMessages
	}
	return between(random, interval*9/10, interval*11/10), 1
}

// stay returns how long a board remains connected; never false means for ever.
func (b Behaviour) stay(random *rand.Rand, interval time.Duration) (stay time.Duration, ends bool) {
	if b != Offline {
		return 0, false
	}
	return between(random, 10*interval, 30*interval), true
}

// away returns how long a board that left stays away.
func (b Behaviour) away(random *rand.Rand, interval time.Duration) time.Duration {
	return between(random, 5*interval, 20*interval)
}

func between(random *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(random.Int64N(int64(high-low)+1))
}
