package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// urlVariable names the gateway when --url does not.
const urlVariable = "GATEWAYCTL_URL"

const defaultURL = "http://127.0.0.1:8080"

// application is what every command works with.
type application struct {
	url     string
	output  string // table or json
	timeout time.Duration
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, arguments []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := &application{stdin: stdin, stdout: stdout, stderr: stderr}
	root := app.rootCommand()
	root.SetArgs(arguments)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	failed, ok := errors.AsType[*failure](err)
	if !ok { // cobra's own errors are all about the command line
		failed = &failure{code: exitUsage, message: err.Error(), hint: "gatewayctl --help lists the commands, and each has its own --help"}
	}
	failed.print(stderr)
	return failed.code
}

func (a *application) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatewayctl",
		Short: "Look into a running gateway and repair what did not arrive",
		Long: `Look into a running gateway and repair what did not arrive.

Exit codes: 0 done; 1 failed or refused; 2 usage; 3 gateway not reachable; 4 a check found something (status, ledger verify, queue verify, and queue repair without --yes).`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.checkFlags()
		},
	}
	fallback := os.Getenv(urlVariable)
	if fallback == "" {
		fallback = defaultURL
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.url, "url", fallback, "the gateway's http.addr as a URL; "+urlVariable+" sets the default")
	flags.StringVarP(&a.output, "output", "o", "table", "table or json")
	flags.DurationVar(&a.timeout, "timeout", 10*time.Second, "longest wait for an answer")
	outputs := cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)
	if err := root.RegisterFlagCompletionFunc("output", outputs); err != nil {
		panic(err) // the flag is defined two lines above
	}
	root.AddCommand(a.statusCommand(), a.forecastCommand(), a.tailCommand(), a.messageCommand(), a.dlqCommand(), a.lossCommand(), a.ledgerCommand(), a.sinkCommand(), a.queueCommand(), a.configCommand(), a.versionCommand())
	return root
}

func (a *application) checkFlags() error {
	if a.output != "table" && a.output != "json" {
		return usage("--output must be table or json", "table is for people, json for programs")
	}
	if a.timeout <= 0 {
		return usage("--timeout must be more than 0", "a duration like 30s")
	}
	parsed, err := url.Parse(a.url)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" {
		return usage("--url must be a URL like "+defaultURL, "it is taken from --url, else from "+urlVariable)
	}
	return nil
}

// group is a command that only holds others. A word that is none of them is
// refused.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(commands...)
	return command
}

// print writes to standard output; what cannot be written there cannot be
// reported there either, and a closed pipe is the reader's wish.
func (a *application) print(format string, values ...any) {
	fmt.Fprintf(a.stdout, format, values...)
}
