package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/redis/go-redis/v9"
)

// errMissing is found in the error about a program that is not installed.
var errMissing = errors.New("not installed")

// find returns the path of a program: one of the search path, or in the places
// where distributions put it.
func find(program, packages string, places ...string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	newest, best := "", -1.0
	for _, place := range places {
		found, _ := filepath.Glob(filepath.Join(place, program))
		for _, path := range found {
			version, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(filepath.Dir(path))), 64)
			if version > best {
				newest, best = path, version
			}
		}
	}
	if newest == "" {
		return "", fmt.Errorf("%s: %w; on Debian: apt-get install --no-install-recommends %s", program, errMissing, packages)
	}
	return newest, nil
}

// findRedis and findPostgres return the paths of the servers.
func findRedis() (string, error) { return find("redis-server", "redis-server") }

func findPostgres() (string, error) {
	return find("postgres", "postgresql", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
}

// freePort returns a port of the loopback interface on which nothing listens.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// startRedis starts a Redis that syncs each write before it acknowledges it.
func startRedis(ctx context.Context, dir string, s *system) (func() error, error) {
	program, err := findRedis()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "redis")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	p, err := startProcess(exec.Command(program, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"), filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: s.address})
	defer client.Close()
	if err := p.ready(ctx, func(ctx context.Context) error { return client.Ping(ctx).Err() }); err != nil {
		return nil, errors.Join(err, p.stop(syscall.SIGTERM))
	}
	return func() error { return p.stop(syscall.SIGTERM) }, nil
}

// startPostgres makes a cluster with the defaults of PostgreSQL and starts its
// server. PostgreSQL refuses to run as root: it then runs as the user postgres,
// which its package makes.
func startPostgres(ctx context.Context, _ string, s *system) (_ func() error, err error) {
	program, err := findPostgres()
	if err != nil {
		return nil, err
	}
	var as *user.User
	if os.Geteuid() == 0 {
		if as, err = user.Lookup("postgres"); err != nil {
			return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no other user for it: %w", err)
		}
	}
	// Not in the folder of the program, which the other user may not enter.
	dir, err := os.MkdirTemp("", "twill-benchmarks-postgres-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	command := func(name string, args ...string) (*exec.Cmd, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		if as == nil {
			return cmd, nil
		}
		return cmd, runAs(cmd, as, dir)
	}
	data := filepath.Join(dir, "data")
	initdb, err := command(filepath.Join(filepath.Dir(program), "initdb"), "-D", data, "-U", "bench", "--auth=trust", "-E", "UTF8", "--no-instructions")
	if err != nil {
		return nil, err
	}
	if text, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, text)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd, err := command(program, "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	if err != nil {
		return nil, err
	}
	s.address = fmt.Sprintf("postgres://bench@127.0.0.1:%d/postgres?sslmode=disable", port)
	p, err := startProcess(cmd, filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(p.stop(syscall.SIGINT), os.RemoveAll(dir)) } // SIGINT: without waiting for clients
	err = p.ready(ctx, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, s.address)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// startNATS starts a server of NATS in this process that syncs each message
// before it acknowledges it.
func startNATS(_ context.Context, dir string, s *system) (func() error, error) {
	n, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "nats"), SyncAlways: true,
		NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, err
	}
	n.Start()
	if !n.ReadyForConnections(startTime) {
		n.Shutdown()
		return nil, fmt.Errorf("the server is not ready after %v", startTime)
	}
	s.address = n.ClientURL()
	return func() error {
		n.Shutdown()
		n.WaitForShutdown()
		return nil
	}, nil
}

// startTime is how long a server may take to start, and to stop.
const startTime = time.Minute

// process is a server that this program has started.
type process struct {
	cmd  *exec.Cmd
	log  string
	over chan struct{} // closed when it has ended
	err  error         // then
}

// startProcess starts a server whose output goes to a file. It is in a process
// group of its own: Ctrl-C reaches this program, which stops it.
func startProcess(cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, over: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.over)
	}()
	return p, nil
}

// ready returns when try has succeeded, and an error if the server ends before.
func (p *process) ready(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.over:
			return fmt.Errorf("%s has ended: %v: %s", filepath.Base(p.cmd.Path), p.err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w", filepath.Base(p.cmd.Path), context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail returns the end of the server's output.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	return strings.TrimSpace(string(text[max(0, len(text)-2000):]))
}

// stop ends the server with a signal, and by force if that takes too long.
func (p *process) stop(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.over:
		return nil
	case <-time.After(startTime):
	}
	err := p.cmd.Process.Kill()
	<-p.over
	return errors.Join(fmt.Errorf("%s did not stop and was killed", filepath.Base(p.cmd.Path)), err)
}
