package harness

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

// Main builds the programs, runs the tests of a package, removes the programs,
// and returns the exit code. It is the body of a TestMain.
func Main(m *testing.M, binaries **Binaries) (code int) {
	flag.Parse()
	built, err := Build(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := built.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	*binaries = built
	return m.Run()
}

// Must stops the test when a step of its preparation did not work.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Within returns a context that ends after a while, or with the test.
func Within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// SkipShort skips tests that take more than a few seconds.
func SkipShort(t *testing.T, takes string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("takes %s: left out by -short", takes)
	}
}

// AtEnd has something ended when the test ends, such as [Process.Kill].
func AtEnd(t *testing.T, end func() error) {
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// KillAtEnd kills the gateway when the test ends, and shows the end of its log
// when the test has failed.
func (g *Gateway) KillAtEnd(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() && g.process != nil {
			t.Logf("the end of the gateway's log:\n%s", g.process.LogTail())
		}
	})
	AtEnd(t, g.Kill)
}
