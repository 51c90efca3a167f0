package jetstream_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// happened is one line of the history of a run.
type happened struct {
	What    string        `json:"what"` // "put", "call", "work" (it is done), "outcome" (the putter has it), "fault"
	Job     string        `json:"job,omitempty"`
	Process string        `json:"process,omitempty"`
	At      time.Duration `json:"at"` // since the beginning, by the machine's one clock
}

// verdict is what a history says.
type verdict struct {
	put, finished, twice int
	stall                time.Duration // the longest time without an outcome
}

// check judges a history: every job that was put has an outcome, every outcome
// comes from work that was done, and a job ran twice only if the process of the
// earlier call had a fault after that call had begun.
func check(history []happened) (v verdict, faults []string) {
	slices.SortStableFunc(history, func(a, b happened) int { return int(a.At - b.At) })
	type call struct {
		process string
		at      time.Duration
	}
	put, calls, work, outcomes := map[string]bool{}, map[string][]call{}, map[string]bool{}, map[string]bool{}
	faulty := map[string]time.Duration{} // the last fault of a process
	var last time.Duration
	for _, h := range history {
		switch h.What {
		case "put":
			put[h.Job] = true
		case "call":
			calls[h.Job] = append(calls[h.Job], call{h.Process, h.At})
		case "work":
			work[h.Job] = true
		case "fault":
			faulty[h.Process] = max(faulty[h.Process], h.At)
		case "outcome":
			outcomes[h.Job] = true
			v.stall = max(v.stall, h.At-last)
			last = h.At
		}
	}
	v.put, v.finished = len(put), len(outcomes)
	for job := range put {
		switch {
		case !outcomes[job]:
			faults = append(faults, "job "+job+" is lost")
		case !work[job]:
			faults = append(faults, "job "+job+" has an outcome, and its work was not done")
		}
		for i, c := range calls[job] {
			if i == len(calls[job])-1 {
				continue
			}
			v.twice++
			if at, ok := faulty[c.process]; !ok || at < c.at {
				faults = append(faults, fmt.Sprint("job ", job, " ran twice, and ", c.process, " had no fault: ", calls[job], ", faults ", faulty))
			}
		}
	}
	slices.Sort(faults)
	return v, faults
}

func TestTheCheckerOfHistories(t *testing.T) {
	good := []happened{
		{"put", "a", "", 1}, {"call", "a", "w1", 2}, {"fault", "", "w1", 3}, {"call", "a", "w2", 4}, {"work", "a", "w2", 5}, {"outcome", "a", "", 6},
	}
	v, faults := check(good)
	require.Empty(t, faults)
	require.Equal(t, verdict{put: 1, finished: 1, twice: 1, stall: 6}, v)
	for without, want := range map[string]string{
		"outcome": "job a is lost",
		"work":    "job a has an outcome, and its work was not done",
		"fault":   "job a ran twice, and w1 had no fault: [{w1 2} {w2 4}], faults map[]",
	} {
		_, faults := check(slices.DeleteFunc(slices.Clone(good), func(h happened) bool { return h.What == without }))
		require.Equal(t, []string{want}, faults)
	}
}

// childEnv has the settings of a worker that is a process of its own.
const childEnv = "JETSTREAM_TEST_WORKER"

// runWorker is the main function of such a process. It ends when the standard
// input does.
func runWorker(settings string) error {
	f := strings.Split(settings, "|")
	url, queue, name, file, early := f[0], f[1], f[2], f[3], f[4] == "early"
	log, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	note := func(what, job string) {
		line, _ := json.Marshal(happened{What: what, Job: job, Process: name, At: time.Duration(time.Now().UnixNano())})
		_, _ = log.Write(append(line, '\n'))
	}
	work := func(job string) {
		time.Sleep(3 * time.Millisecond)
		note("work", job)
	}
	conn, err := nats.Connect(url, natstest.ClientOptions()...)
	if err != nil {
		return err
	}
	_, err = jetstream.NewQueue(context.Background(), conn, queue, func(_ context.Context, job string) (string, error) {
		note("call", job)
		if early {
			go func() { time.Sleep(100 * time.Millisecond); work(job) }()
			return job, nil
		}
		work(job)
		return job, nil
	}, &jetstream.Options{Lease: lease, Name: name, WorkerWidth: 4, Replicas: 1})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// workerProcess is a worker that is a process of its own.
type workerProcess struct {
	name string
	cmd  *exec.Cmd
}

// run is a run with faults.
type run struct {
	*testing.T
	servers *natstest.Servers
	queue   string
	dir     string
	early   bool
	count   int

	mu      sync.Mutex
	history []happened
}

func (r *run) note(what, job, process string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, happened{what, job, process, time.Duration(time.Now().UnixNano())})
}

// worker starts a worker.
func (r *run) worker() *workerProcess {
	r.count++
	c := &workerProcess{name: "w" + strconv.Itoa(r.count)}
	self, err := os.Executable()
	require.NoError(r, err)
	c.cmd = exec.Command(self)
	how := ""
	if r.early {
		how = "early"
	}
	c.cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{r.servers.URL(), r.queue, c.name, filepath.Join(r.dir, c.name), how}, "|"))
	c.cmd.Stderr = os.Stderr
	_, err = c.cmd.StdinPipe() // it ends with this process
	require.NoError(r, err)
	out, err := c.cmd.StdoutPipe()
	require.NoError(r, err)
	require.NoError(r, c.cmd.Start())
	r.Cleanup(func() { c.kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(r, err)
	require.Equal(r, "ready\n", line)
	return c
}

func (c *workerProcess) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// kill kills a worker.
func (r *run) kill(c *workerProcess) {
	r.note("fault", "", c.name)
	c.kill()
	r.note("fault", "", c.name) // its last call may have begun in between
}

// freeze stops a worker for a while.
func (r *run) freeze(c *workerProcess, d time.Duration) {
	r.note("fault", "", c.name)
	require.NoError(r, c.cmd.Process.Signal(syscall.SIGSTOP))
	time.Sleep(d)
	require.NoError(r, c.cmd.Process.Signal(syscall.SIGCONT))
	r.note("fault", "", c.name)
}

// jobs puts n jobs and waits for them, and calls fault each time that another
// part of them has ended.
func (r *run) jobs(n int, faults ...func()) {
	p := join(r.T, r.servers.URL(), r.queue, "putter", nil, func(o *jetstream.Options) { o.Wait = 5 * time.Minute })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	slots := make(chan struct{}, 400)
	var wg sync.WaitGroup
	var ended sync.Map
	total := 0
	step := make(chan int, n)
	wg.Go(func() {
		for total < n {
			total = <-step
			if i := total * (len(faults) + 1) / n; total*(len(faults)+1)%n < len(faults)+1 && i > 0 && i <= len(faults) {
				if _, done := ended.LoadOrStore(i, true); !done {
					faults[i-1]()
				}
			}
		}
	})
	var count int
	var mu sync.Mutex
	for i := range n {
		slots <- struct{}{}
		job := strconv.Itoa(i)
		j, err := p.Put(job, 0)
		require.NoError(r, err)
		r.note("put", job, "")
		wg.Go(func() {
			defer func() { <-slots }()
			v, err := j.Await(ctx)
			if err != nil || v != job {
				r.Errorf("job %s: %q, %v", job, v, err)
			} else {
				r.note("outcome", job, "")
			}
			mu.Lock()
			count++
			step <- count
			mu.Unlock()
		})
	}
	wg.Wait()
}

// verdict reads what the workers have written, and judges.
func (r *run) verdict() (verdict, []string) {
	files, err := filepath.Glob(filepath.Join(r.dir, "w*"))
	require.NoError(r, err)
	history := r.history
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(r, err)
		for line := range bytes.Lines(data) {
			var h happened
			if json.Unmarshal(line, &h) == nil { // the last line of a process that was killed may be cut
				history = append(history, h)
			}
		}
	}
	began := history[0].At
	for i := range history {
		began = min(began, history[i].At)
	}
	for i := range history {
		history[i].At -= began
	}
	return check(history)
}

// Processes are killed and frozen, the scheduler among them: no job is lost,
// and only what they had runs twice.
func TestProcessesAreKilledAndFrozen(t *testing.T) {
	r := &run{T: t, servers: natstest.Start(t, nil), queue: newName(), dir: t.TempDir()}
	a, b := r.worker(), r.worker()
	c := r.worker()
	r.jobs(1200,
		func() { r.kill(a); r.worker() }, // the first is the scheduler
		func() { r.freeze(b, 3*lease/2) },
		func() { r.kill(c) },
	)
	v, faults := r.verdict()
	t.Logf("%+v", v)
	require.Empty(t, faults)
	require.Equal(t, 1200, v.put)
	require.Less(t, v.stall, patience)
}

// The checker finds it when a worker acknowledges its jobs before it has done
// their work.
func TestTheCheckerFindsAcknowledgmentsBeforeTheWork(t *testing.T) {
	r := &run{T: t, servers: natstest.Start(t, nil), queue: newName(), dir: t.TempDir(), early: true}
	a := r.worker()
	r.worker()
	r.jobs(300, func() { r.kill(a) })
	_, faults := r.verdict()
	require.NotEmpty(t, faults)
	require.Contains(t, faults[0], "its work was not done")
}

// Servers are restarted one after another, the leaders of the streams among
// them, while jobs are put and run.
func TestServersAreRestarted(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	servers := natstest.StartCluster(t, nil)
	name := newName()
	r3 := func(o *jetstream.Options) { o.Replicas, o.Lease, o.Wait = 3, 10*time.Second, 2*time.Minute }
	join(t, servers.URL(), name, "w1", echo, r3)
	join(t, servers.URL(), name, "w2", echo, r3)
	restart := func(i int) func() {
		return func() {
			servers.Nodes[i].Kill()
			require.NoError(t, servers.Nodes[i].Restart())
			require.NoError(t, servers.WaitReady())
		}
	}
	p := join(t, servers.URL(), name, "putter", nil, r3)
	var all []*jetstream.Job[string, string]
	for i := range 3 {
		done := make(chan struct{})
		go func() { defer close(done); restart(i)() }()
		for k := range 60 {
			all = append(all, put(t, p, fmt.Sprint(i, "-", k), 0))
		}
		<-done
	}
	for _, j := range all {
		v, err := await(t, j)
		require.NoError(t, err)
		require.Equal(t, "did "+j.Arg(), v)
	}
}

// TestLong is the long form: JETSTREAM_LONG is how many jobs are put while
// server processes are killed one after another, and workers and the scheduler
// are killed and frozen.
func TestLong(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("JETSTREAM_LONG"))
	if err != nil {
		t.Skip("JETSTREAM_LONG is not the number of jobs")
	}
	r := &run{T: t, servers: natstest.StartProcesses(t, 3, nil), queue: newName(), dir: t.TempDir()}
	first := join(t, r.servers.URL(), r.queue, "first", nil, func(o *jetstream.Options) { o.Replicas = 3 })
	defer first.Close()
	workers := []*workerProcess{r.worker(), r.worker(), r.worker()}
	var faults []func()
	for i := range 6 {
		node, worker := r.servers.Nodes[i%3], i%3
		faults = append(faults,
			func() {
				t.Log("server killed: ", node.Name)
				node.Kill()
				time.Sleep(time.Second)
				if err := errors.Join(node.Restart(), r.servers.WaitReady()); err != nil {
					t.Error(err)
				}
			},
			func() {
				t.Log("worker killed: ", workers[worker].name)
				r.kill(workers[worker])
				workers[worker] = r.worker()
			},
			func() {
				t.Log("worker frozen: ", workers[(worker+1)%3].name)
				r.freeze(workers[(worker+1)%3], 2*lease)
			},
			func() {
				t.Log("server frozen: ", node.Name)
				_ = node.Freeze()
				time.Sleep(3 * time.Second)
				_ = node.Thaw()
			},
		)
	}
	r.jobs(n, faults...)
	v, found := r.verdict()
	t.Logf("%d put, %d finished, %d run twice, the longest stall %v", v.put, v.finished, v.twice, v.stall)
	require.Empty(t, found)
	require.Equal(t, n, v.finished)
}
