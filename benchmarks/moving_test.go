package benchmarks_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/panjf2000/ants/v2"
	"github.com/sourcegraph/conc"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/twillgo/twill/internal/docs/markdown"
)

// The blocks of docs/moving.md that show other libraries compile with them.
func TestMovingCompiles(t *testing.T) {
	text, err := os.ReadFile("../docs/moving.md")
	require.NoError(t, err)
	var blocks []markdown.Block
	for _, b := range markdown.Blocks(string(text)) {
		if b.Lang == "go" && b.Mark == "peers" {
			blocks = append(blocks, b)
		}
	}
	require.NoError(t, markdown.Check(t.TempDir(), blocks, func(b markdown.Block) string {
		return fmt.Sprint("docs/moving.md:", b.Line)
	}))
}

// docs/moving.md is right about what the other libraries do if the code that
// they run panics or ends its goroutine.
func TestMovingIsRightAboutPeers(t *testing.T) {
	t.Run("errgroup takes Goexit for success", func(t *testing.T) {
		var g errgroup.Group
		g.Go(func() error { runtime.Goexit(); return nil })
		require.NoError(t, g.Wait())
	})
	t.Run("conc panics again in Wait", func(t *testing.T) {
		var wg conc.WaitGroup
		wg.Go(func() { panic("boom") })
		require.Panics(t, wg.Wait)
	})
	t.Run("ants logs a panic", func(t *testing.T) {
		log := make(logger, 1)
		p, err := ants.NewPool(1, ants.WithLogger(log))
		require.NoError(t, err)
		defer p.Release()
		require.NoError(t, p.Submit(func() { panic("boom") }))
		require.Contains(t, <-log, "boom")
	})
	for name := range fatal {
		t.Run(name+" ends the program with a panic", func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run=^TestMovingFatal$")
			child.Env = append(os.Environ(), "MOVING_FATAL="+name)
			out, err := child.CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), "panic: ")
		})
	}
}

type logger chan string

// Printf records a line.
func (l logger) Printf(format string, args ...any) { l <- fmt.Sprintf(format, args...) }

// fatal are the calls that end a program.
var fatal = map[string]func(){
	"errgroup": func() {
		var g errgroup.Group
		g.Go(func() error { panic("boom") })
		_ = g.Wait()
	},
	"singleflight.DoChan": func() {
		var g singleflight.Group
		<-g.DoChan("key", func() (any, error) { panic("boom") })
	},
}

// TestMovingFatal is the child of the test above.
func TestMovingFatal(t *testing.T) {
	if call := fatal[os.Getenv("MOVING_FATAL")]; call != nil {
		call()
		time.Sleep(10 * time.Second) // the panic of another goroutine ends this one
	} else {
		t.Skip("for a process of its own")
	}
}
