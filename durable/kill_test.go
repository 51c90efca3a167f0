package durable_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
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

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
)

var kills = flag.Int("kills", 12, "how many processes TestKill kills")

// history is what processes have seen of jobs, by their ids.
type history struct {
	put, canceled map[string]bool
	priority      map[string]int
	starts, ends  map[string][]int // in which processes
	width         []int            // the last one acknowledged, and those asked for since
}

// Processes are killed at random moments under load. Every job that was
// acknowledged runs, none that was canceled does, a job whose result was seen
// does not run again, and what was changed stays changed.
func TestKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs.db")
	h := &history{map[string]bool{}, map[string]bool{}, map[string]int{}, map[string][]int{}, map[string][]int{}, nil}
	for process := range *kills {
		killOne(t, h, file, process)
	}

	// The last process is this one, and is not killed.
	var mu sync.Mutex
	q, err := durable.Open(file, func(ctx context.Context, n int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		id := durable.JobID(ctx)
		h.starts[id] = append(h.starts[id], *kills)
		return n, nil
	}, &durable.Options{Keep: 1 << 30, MaxCrashes: -1, Dispatch: twill.DispatchOptions{Width: 4}})
	require.NoError(t, err)
	require.Empty(t, q.Found().Damaged)
	require.Zero(t, q.Found().Missing+q.Found().Extra)
	if len(h.width) > 0 {
		require.Contains(t, h.width, q.Width(), "the width")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, j := range q.Pending() {
		if priority, ok := h.priority[j.ID()]; ok {
			require.Equal(t, priority, j.Priority())
		}
	}
	require.NoError(t, q.ResumeWidth(4))
	left, err := q.Drain(ctx)
	require.NoError(t, err)
	require.Empty(t, left)

	again := 0
	for _, id := range slices.Sorted(maps.Keys(h.put)) {
		j, err := q.Find(id)
		require.NoError(t, err, "job %s was acknowledged", id)
		if h.canceled[id] {
			require.Equal(t, twill.JobCanceled, j.State(), "job %s", id)
		} else if j.State() != twill.JobFinished {
			// A cancel that was not acknowledged may have happened.
			require.Equal(t, twill.JobCanceled, j.State(), "job %s", id)
		} else {
			require.NotEmpty(t, h.starts[id], "job %s has finished and never ran", id)
		}
	}
	for id, starts := range h.starts {
		if len(starts) > 1 {
			again++
		}
		require.Equal(t, slices.Compact(slices.Clone(starts)), starts, "job %s ran twice in a process", id)
		if ends := h.ends[id]; len(ends) > 0 {
			require.Len(t, ends, 1, "job %s has ended twice", id)
			require.Equal(t, ends[0], starts[len(starts)-1], "job %s ran after its result was seen", id)
		}
	}
	require.NoError(t, q.Close(ctx))
	t.Logf("%d kills: %d jobs acknowledged, %d canceled, %d ran more than once", *kills, len(h.put), len(h.canceled), again)
}

// killOne starts a process, reads what it says, and kills it.
func killOne(t *testing.T, h *history, file string, process int) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "DURABLE_TEST_CHILD=kill", "DURABLE_TEST_FILE="+file, "DURABLE_TEST_SEED="+strconv.Itoa(process))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	lines := bufio.NewScanner(out)
	ready := false
	for lines.Scan() {
		word := strings.Fields(lines.Text())
		switch word[0] {
		case "ready":
			ready = true
			time.AfterFunc(time.Duration(rand.IntN(120))*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		case "put":
			h.put[word[1]] = true
		case "canceled":
			h.canceled[word[1]] = true
		case "priority":
			h.priority[word[1]], _ = strconv.Atoi(word[2])
		case "asked":
			n, _ := strconv.Atoi(word[1])
			h.width = append(h.width, n)
		case "width":
			n, _ := strconv.Atoi(word[1])
			h.width = []int{n}
		case "start":
			h.starts[word[1]] = append(h.starts[word[1]], process)
		case "end":
			h.ends[word[1]] = append(h.ends[word[1]], process)
		default:
			t.Errorf("process %d: %s", process, lines.Text())
		}
	}
	require.ErrorContains(t, cmd.Wait(), "killed")
	require.True(t, ready)
}

// runChild is a process of a test.
func runChild(name string) int {
	file := os.Getenv("DURABLE_TEST_FILE")
	switch name {
	case "kill":
		return killChild(file)
	case "exit":
		return exitChild(file)
	case "hold":
		return holdChild(file)
	case "periodic":
		return periodicChild(file)
	case "fill", "close":
		return fillChild(file, name == "fill")
	}
	return 2
}

// killChild works until it is killed.
func killChild(file string) int {
	say := func(format string, args ...any) { // one write, so that it is said whole
		if _, err := os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n"); err != nil {
			os.Exit(3)
		}
	}
	q, err := durable.Open(file, func(ctx context.Context, n int) (int, error) {
		say("start %s", durable.JobID(ctx))
		time.Sleep(time.Duration(n%3) * time.Millisecond)
		return n, nil
	}, &durable.Options{Keep: 1 << 30, MaxCrashes: -1, Dispatch: twill.DispatchOptions{Width: 4}})
	if err != nil {
		say("error %v", err)
		return 1
	}
	say("ready")
	seed, _ := strconv.Atoi(os.Getenv("DURABLE_TEST_SEED"))
	for worker := range 8 {
		r := rand.New(rand.NewPCG(uint64(seed), uint64(worker)))
		go func() {
			for {
				var opts twill.JobOptions
				if r.IntN(4) == 0 {
					opts.After = time.Duration(r.IntN(30)) * time.Millisecond
				}
				if r.IntN(4) == 0 {
					opts.Group = strconv.Itoa(r.IntN(3))
				}
				j, err := q.Put(r.IntN(100), r.IntN(5), opts)
				if err != nil {
					say("error %v", err)
					return
				}
				say("put %s", j.ID())
				j.OnSettled(func(_ int, err error) {
					if err == nil {
						say("end %s", j.ID())
					}
				})
				switch r.IntN(12) {
				case 0:
					if j.Cancel(nil) {
						say("canceled %s", j.ID())
					}
				case 1:
					if q.Reprioritize(j, 7) == nil {
						say("priority %s 7", j.ID())
					}
				}
			}
		}()
	}
	for n := 1; ; n++ {
		say("asked %d", 3+n%5)
		if err := q.SetWidth(3 + n%5); err != nil {
			say("error %v", err)
			return 1
		}
		say("width %d", 3+n%5)
		time.Sleep(5 * time.Millisecond)
	}
}
