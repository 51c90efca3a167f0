// Cluster shows a dispatch queue that survives the loss of what it runs on, in
// one command: it starts three NATS servers and three workers, each a process
// of its own, puts jobs, and kills one of each, and the process that schedules,
// while they run. It ends with a line that says how many jobs were put,
// finished, lost and run twice.
//
//	go -C jetstream run ./examples/cluster
//	go -C jetstream run ./examples/cluster -serve
//
// With -serve it also builds and starts examples/page, which shows the queue on
// a page in the browser, starts others in place of what was killed, and goes on
// with a few jobs at a time until Ctrl-C.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill/jetstream"
)

func main() {
	log.SetFlags(log.Ltime)
	jobs := flag.Int("jobs", 2000, "how many jobs are put")
	serve := flag.Bool("serve", false, "serve the admin page, until Ctrl-C")
	addr := flag.String("addr", "127.0.0.1:8322", "`address` of the admin page")
	role := flag.String("role", "", "what a process of the cluster is; set by this program")
	flag.Parse()
	var err error
	switch *role {
	case "server":
		err = runServer(flag.Args())
	case "worker":
		err = runWorker(flag.Arg(0), flag.Arg(1))
	default:
		if !*serve {
			*addr = ""
		}
		err = run(*jobs, *addr)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

// options are the same in all processes. A shorter lease than the default makes
// the example shorter.
func options(name string) *jetstream.Options {
	return &jetstream.Options{Replicas: 3, Lease: lease, Name: name, Version: "v1.0.0", WorkerWidth: 8, Wait: 2 * time.Minute}
}

const lease = 6 * time.Second

// run is the whole. With an address, it serves the admin page there.
func run(jobs int, addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "twill-cluster")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := &cluster{dir: dir, calls: map[string]int{}}
	defer c.killAll()
	if addr != "" {
		if err := c.buildPage(ctx); err != nil {
			return err
		}
	}
	if err := c.startServers(3); err != nil {
		return err
	}
	log.Print("three servers run")
	conn, err := nats.Connect(c.url(), connection()...)
	if err != nil {
		return err
	}
	defer conn.Close()
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	q, err := jetstream.NewQueue[string, string](starting, conn, "cluster", nil, options("putter"))
	if err != nil {
		return err
	}
	defer q.Close()
	for i := range 3 {
		if err := c.startWorker("worker" + strconv.Itoa(i+1)); err != nil {
			return err
		}
	}
	log.Print("three workers run")
	if addr != "" {
		if err := c.startPage(addr); err != nil {
			return err
		}
	}

	steps := map[int]func(){
		jobs / 5:     func() { c.killWorker(q) },
		2 * jobs / 5: func() { c.killServer() },
		3 * jobs / 5: func() { c.killScheduler(q) },
	}
	var finished, lost int
	all := make([]*jetstream.Job[string, string], 0, jobs)
	began := time.Now()
	for i := range jobs {
		if step := steps[i]; step != nil {
			step()
		}
		// No more than 200 wait: the puts go on while processes are lost.
		if i >= 200 {
			_, _ = all[i-200].Await(ctx)
		}
		job, err := q.Put("job "+strconv.Itoa(i), 0)
		if err != nil {
			return err
		}
		all = append(all, job)
	}
	for _, job := range all {
		_, err := job.Await(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			lost++
			log.Print(job.Arg(), ": ", err)
		} else {
			finished++
		}
	}
	fmt.Printf("put %d, finished %d, lost %d, run twice %d, in %v\n", jobs, finished, lost, c.twice(), time.Since(began).Round(time.Second))
	if addr != "" {
		return c.goOn(ctx, q)
	}
	return nil
}

// goOn replaces what was killed, and puts a few jobs at a time, for the page.
func (c *cluster) goOn(ctx context.Context, q *jetstream.Queue[string, string]) error {
	if err := c.startServer(0); err != nil {
		return err
	}
	for _, name := range []string{"worker4", "worker5"} {
		if err := c.startWorker(name); err != nil {
			return err
		}
	}
	log.Print("it goes on: Ctrl-C ends it")
	for i := 0; ctx.Err() == nil; i++ {
		job, err := q.Put("another job "+strconv.Itoa(i), i%3)
		if err != nil {
			log.Print(err)
		} else if i%5 == 0 {
			_, _ = job.Await(ctx)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// connection are the options of a connection that lasts, and that notices
// within a few seconds that its server is gone.
func connection() []nats.Option {
	return []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.PingInterval(2 * time.Second), nats.Timeout(2 * time.Second)}
}

// runWorker is a worker. It ends when its standard input does: when the program
// that has started it is gone.
func runWorker(name, url string) error {
	conn, err := nats.Connect(url, connection()...)
	if err != nil {
		return err
	}
	o := options(name)
	o.OnEvent = func(e jetstream.Event) {
		switch e.Kind {
		case jetstream.SchedulerStarted:
			fmt.Println("schedules", name)
		case jetstream.JobLost, jetstream.SchedulerEnded:
			log.Print(name, ": ", e.Kind, " ", e.Job)
		}
	}
	_, err = jetstream.NewQueue(context.Background(), conn, "cluster", func(ctx context.Context, job string) (string, error) {
		fmt.Println("runs", job)
		select {
		case <-time.After(10 * time.Millisecond):
			return job + " done by " + name, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}, o)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// runServer is a server, with JetStream.
func runServer(args []string) error {
	name, dir := args[0], args[1]
	port, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	clusterPort, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	o := &server.Options{
		ServerName: name, Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
		Cluster: server.ClusterOpts{Name: "twill", Host: "127.0.0.1", Port: clusterPort},
	}
	for _, route := range args[4:] {
		u, err := url.Parse("nats://" + route)
		if err != nil {
			return err
		}
		o.Routes = append(o.Routes, u)
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("the server does not start")
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// cluster is the processes.
type cluster struct {
	dir     string
	ports   []int
	servers []*process
	workers []*process
	program string   // that serves the admin page
	page    *process // which runs it

	mu    sync.Mutex
	calls map[string]int // by job
}

type process struct {
	name string
	cmd  *exec.Cmd
	dead bool
}

func (p *process) kill() {
	if !p.dead {
		p.dead = true
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func (c *cluster) killAll() {
	for _, p := range append(c.workers, c.servers...) {
		p.kill()
	}
	if c.page != nil {
		c.page.kill()
	}
}

// buildPage builds examples/page, which is a module of its own, as it needs the
// module admin.
func (c *cluster) buildPage(ctx context.Context) error {
	_, file, _, _ := runtime.Caller(0)
	c.program = filepath.Join(c.dir, "page")
	build := exec.CommandContext(ctx, "go", "build", "-o", c.program, ".")
	build.Dir = filepath.Join(filepath.Dir(file), "..", "page")
	build.Stderr = os.Stderr
	log.Print("building the admin page")
	if err := build.Run(); err != nil {
		return fmt.Errorf("building %s: %w", build.Dir, err)
	}
	return nil
}

func (c *cluster) startPage(addr string) error {
	p, err := c.startProgram("page", c.program, "-stdin", "-url", c.url(), "-queue", "cluster", "-lease", lease.String(), "-addr", addr)
	if err != nil {
		return err
	}
	c.page = p
	return nil
}

func (c *cluster) url() string {
	var all []string
	for i := 0; i < len(c.ports); i += 2 {
		all = append(all, "nats://127.0.0.1:"+strconv.Itoa(c.ports[i]))
	}
	return strings.Join(all, ",")
}

// start starts a process of this program, and waits until it is ready.
func (c *cluster) start(name string, args ...string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return c.startProgram(name, program, args...)
}

func (c *cluster) startProgram(name, program string, args ...string) (*process, error) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan bool, 1)
	go c.read(out, ready)
	p := &process{name: name, cmd: cmd}
	if !<-ready {
		p.kill()
		return nil, fmt.Errorf("%s does not start", name)
	}
	return p, nil
}

// read reads what a process prints.
func (c *cluster) read(out io.Reader, ready chan bool) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		c.mu.Lock()
		switch word {
		case "ready":
			ready <- true
		case "runs":
			c.calls[rest]++
		case "schedules":
			log.Print(rest, " schedules")
		default:
			if strings.HasPrefix(word, "http://") {
				log.Print("the admin page: ", word)
				ready <- true
			}
		}
		c.mu.Unlock()
	}
	close(ready)
}

func (c *cluster) startServers(n int) error {
	var err error
	if c.ports, err = freePorts(2 * n); err != nil {
		return err
	}
	for i := range n {
		if err := c.startServer(i); err != nil {
			return err
		}
	}
	return nil
}

// startServer starts the server with that index, again if it was killed.
func (c *cluster) startServer(i int) error {
	name := "server" + strconv.Itoa(i+1)
	args := []string{"-role", "server", name, filepath.Join(c.dir, name), strconv.Itoa(c.ports[2*i]), strconv.Itoa(c.ports[2*i+1])}
	for k := 1; k < len(c.ports); k += 2 {
		args = append(args, "127.0.0.1:"+strconv.Itoa(c.ports[k]))
	}
	p, err := c.start(name, args...)
	if err == nil {
		c.servers = append(c.servers, p)
	}
	return err
}

// freePorts returns n ports on which nothing listens.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are known, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (c *cluster) startWorker(name string) error {
	p, err := c.start(name, "-role", "worker", name, c.url())
	if err != nil {
		return err
	}
	c.workers = append(c.workers, p)
	return nil
}

// killWorker kills a worker that does not schedule.
func (c *cluster) killWorker(q *jetstream.Queue[string, string]) {
	_, at := q.Workers()
	for _, p := range c.workers {
		if !p.dead && p.name != at {
			log.Print("killing ", p.name)
			p.kill()
			return
		}
	}
}

// killScheduler kills the worker that schedules.
func (c *cluster) killScheduler(q *jetstream.Queue[string, string]) {
	_, at := q.Workers()
	for _, p := range c.workers {
		if !p.dead && p.name == at {
			log.Print("killing ", p.name, ", which schedules")
			p.kill()
		}
	}
}

// killServer kills a server.
func (c *cluster) killServer() {
	log.Print("killing ", c.servers[0].name)
	c.servers[0].kill()
}

// twice is how many jobs were called more than once.
func (c *cluster) twice() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, calls := range c.calls {
		if calls > 1 {
			n++
		}
	}
	return n
}
