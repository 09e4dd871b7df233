// Command gatewayctl asks a running gateway how it goes, follows messages, and
// repairs what did not arrive. It speaks Connect to the address of the gateway's
// HTTP door and needs nothing else of it. The commands of queue work on the files
// of a gateway that is stopped, and on copies of them.
//
// Exit codes: 0 done; 1 failed or refused; 2 usage; 3 gateway not reachable; 4 a
// check found something: status, ledger verify, queue verify, and queue repair
// before it repairs. Tables are for people; -o json is for programs, and prints one JSON
// object per line where there can be several.
//
// Tests run whole commands in the process, see run.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
