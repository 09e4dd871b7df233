package main

import (
	"bufio"
	"fmt"
	"strings"
)

// countThenConfirm does something that an operator may want to know the size of
// first. It is counted for a dry run, which does no more, and for a person to
// confirm; then it is done.
func countThenConfirm[Response any](dryRun, asks bool, do func(validateOnly bool) (*Response, error), confirm func(counted *Response) error) (*Response, error) {
	if dryRun || asks {
		counted, err := do(true)
		if err != nil || dryRun {
			return counted, err
		}
		if err := confirm(counted); err != nil {
			return nil, err
		}
	}
	return do(false)
}

// confirm asks; anything but yes, the end of input included, is a no.
func (a *application) confirm(question, what string) error {
	fmt.Fprint(a.stderr, question, " [y/N] ")
	line, _ := bufio.NewReader(a.stdin).ReadString('\n') // what was read before an error still counts
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return &failure{code: exitFailed, message: "nothing was " + what, hint: "--yes does not ask, --dry-run only counts"}
}
