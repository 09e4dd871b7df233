package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports of FreeAddress lie below those that the kernel gives to connections: one of
// these would be taken again before the program that is to listen there has started.
// Each process has a block of them to itself for as long as it lives, because it
// listens on the first one, and goes through the others in turn: an address that it
// has given away and that nobody listens on yet is not given away again at once.
const (
	portMin    = 10_000
	portMax    = 32_000
	portsBlock = 200
)

var ports portBlock

type portBlock struct {
	mu     sync.Mutex
	taken  net.Listener // on the first port of the block
	first  int
	number int // of those that were given away
}

// FreeAddress returns a loopback address that nobody listens on.
func FreeAddress() (string, error) { return ports.next() }

func (b *portBlock) next() (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.take(); err != nil {
		return "", err
	}
	for tries := 1; ; tries++ {
		port := b.first + 1 + b.number%(portsBlock-1)
		b.number++
		listener, err := net.Listen("tcp", loopback(port))
		if err == nil {
			return loopback(port), listener.Close()
		}
		if tries == portsBlock {
			return "", err
		}
	}
}

// take finds a block that no other process has.
func (b *portBlock) take() (err error) {
	const blocks = (portMax - portMin) / portsBlock
	start := rand.IntN(blocks)
	for i := 0; b.taken == nil && i < blocks; i++ {
		b.first = portMin + (start+i)%blocks*portsBlock
		b.taken, err = net.Listen("tcp", loopback(b.first))
	}
	return err
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
