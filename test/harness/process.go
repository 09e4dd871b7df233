package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// Process is a program that runs.
type Process struct {
	name    string
	command *exec.Cmd
	logPath string
	exited  chan struct{}
	err     error // of Wait; read after exited is closed
}

// Start starts a program. What it prints is appended to the file logPath,
// unless the command has its own writers.
func Start(name, logPath string, command *exec.Cmd) (*Process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	if command.Stdout == nil {
		command.Stdout = log
	}
	if command.Stderr == nil {
		command.Stderr = log
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, command: command, logPath: logPath, exited: make(chan struct{})}
	go func() {
		p.err = command.Wait()
		close(p.exited)
	}()
	return p, nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Signal sends a signal to the process group. A process that is gone takes it
// without complaint.
func (p *Process) Signal(signal syscall.Signal) error {
	select {
	case <-p.exited:
		return nil
	default:
	}
	if err := syscall.Kill(-p.PID(), signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Wait returns the exit code; a process that a signal ended has -1.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.exited:
	case <-ctx.Done():
		return 0, fmt.Errorf("await the end of %s: %w\n%s", p.name, ctx.Err(), p.LogTail())
	}
	if _, ok := errors.AsType[*exec.ExitError](p.err); p.err != nil && !ok {
		return 0, fmt.Errorf("run %s: %w", p.name, p.err)
	}
	return p.command.ProcessState.ExitCode(), nil
}

// Kill ends the process with SIGKILL and returns when it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// Terminate asks the process to end and returns its exit code.
func (p *Process) Terminate(ctx context.Context) (int, error) {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	return p.Wait(ctx)
}

// RSS returns the resident memory of the process in bytes.
func (p *Process) RSS() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("read memory of %s: %w", p.name, err)
	}
	for line := range bytes.Lines(status) {
		if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == "VmRSS:" {
			kibibytes, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return kibibytes << 10, err
		}
	}
	return 0, fmt.Errorf("read memory of %s: no VmRSS", p.name)
}

// clockTick is the unit of the times in /proc, on every architecture that Go
// knows.
const clockTick = 10 * time.Millisecond

// CPU returns the processor time that the process has used.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("read processor time of %s: %w", p.name, err)
	}
	// The second field is the name in parentheses, which may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system = 11, 12 // counted from the third field
	if len(fields) <= system {
		return 0, fmt.Errorf("read processor time of %s: %q", p.name, stat)
	}
	var total time.Duration
	for _, field := range [][]byte{fields[user], fields[system]} {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time of %s: %w", p.name, err)
		}
		total += time.Duration(ticks) * clockTick
	}
	return total, nil
}

// logTailBytes is how much of a log an error message carries.
const logTailBytes = 4 << 10

// Log returns what the process printed so far.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// LogTail returns the end of what the process printed.
func (p *Process) LogTail() string {
	text := p.Log()
	return text[max(0, len(text)-logTailBytes):]
}
