package natstest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// childMode is set when TestMain has called Main.
var childMode bool

// childEnv has the settings of a server that is a process of its own.
const childEnv = "NATSTEST_SERVER"

// Main must be the first call of TestMain where a test uses [StartProcesses].
// In the process of a server it runs the server, and does not return.
func Main() {
	childMode = true
	settings := os.Getenv(childEnv)
	if settings == "" {
		return
	}
	if err := runChild(settings); err != nil {
		fmt.Fprintln(os.Stderr, "natstest:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runChild(settings string) error {
	f := strings.Split(settings, "|")
	if len(f) != 7 {
		return fmt.Errorf("settings %q", settings)
	}
	n := &Node{Name: f[0], dir: f[3], routes: f[4]}
	var err error
	for _, number := range []struct {
		text string
		to   *int
	}{{f[1], &n.Port}, {f[2], &n.clusterPort}, {f[5], &n.opts.MaxPayload}} {
		if *number.to, err = strconv.Atoi(number.text); err != nil {
			return err
		}
	}
	n.opts.SyncAlways = f[6] == "true"
	s, err := n.startServer()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	// The parent holds the other end of the standard input: when it is gone, even
	// by SIGKILL, the server ends too.
	signal.Ignore(os.Interrupt)
	_, _ = os.Stdin.Read(make([]byte, 1))
	s.Shutdown()
	return nil
}

// process is a child of the test.
type process struct {
	cmd   *exec.Cmd
	stdin interface{ Close() error }
	once  sync.Once
}

// startProcess starts the server as a process. Another process may have the
// port for a moment, or the machine may be busy: it is tried several times.
func (n *Node) startProcess() (p *process, err error) {
	if !childMode {
		return nil, errors.New("TestMain does not call natstest.Main")
	}
	for try := range 5 {
		time.Sleep(time.Duration(try) * time.Second)
		if p, err = n.tryProcess(); err == nil {
			return p, nil
		}
	}
	return nil, err
}

func (n *Node) tryProcess() (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{
		n.Name, strconv.Itoa(n.Port), strconv.Itoa(n.clusterPort), n.dir, n.routes,
		strconv.Itoa(n.opts.MaxPayload), strconv.FormatBool(n.opts.SyncAlways),
	}, "|"))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		p.kill()
		return nil, fmt.Errorf("server %s said %q: %w", n.Name, line, err)
	}
	return p, nil
}

func (p *process) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		_ = p.stdin.Close()
	})
}

func (p *process) freeze() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

func (p *process) thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
