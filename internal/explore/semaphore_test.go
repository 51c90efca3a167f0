//go:build explore

package explore_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// tokens is a world with a lock that is held, and for which two acquires wait.
type tokens struct {
	*world
	s       twill.Semaphore
	release func() // of the first holder
	given   bool   // whether the threads have released it
	line    []*twill.Future[func()]
	left    [2]bool // the acquires that a Cancel has ended
	holders int
}

var tokenActs = map[string]func(*tokens){
	"release":     (*tokens).give,
	"release too": (*tokens).give, // works once, whichever thread is first
	"cancel head": func(x *tokens) { x.left[0] = x.line[0].Cancel(nil) },
	"cancel next": func(x *tokens) { x.left[1] = x.line[1].Cancel(nil) },
	"acquire":     func(x *tokens) { x.acquire("third") },
	"try": func(x *tokens) {
		if release, ok := x.s.TryAcquire(); ok {
			x.hold()
			x.Point("give", x)
			x.holders--
			release()
		}
	},
}

// acquire adds an acquire to the line. A thread that gets the lock keeps it to
// the end.
func (x *tokens) acquire(who string) {
	f := name(x.world, x.s.Acquire(), who)
	x.Point("stand in line", x)
	x.line = append(x.line, f)
	f.Tap(func(_ func(), err error) {
		if err == nil {
			x.hold()
		}
	})
}

func (x *tokens) hold() {
	x.Point("hold", x)
	x.holders++
	x.require(x.holders == 1, "%d hold the lock", x.holders)
}

// give releases the token that was held at first.
func (x *tokens) give() {
	x.Point("give", x)
	if !x.given {
		x.given = true
		x.holders--
	}
	x.release()
}

func newTokens(w *world, doing []string) func() {
	x := &tokens{world: w}
	x.release, _ = x.s.TryAcquire()
	x.holders = 1
	x.acquire("head")
	x.acquire("next")
	for _, what := range doing {
		w.Go(what, func() { tokenActs[what](x) })
	}
	return x.check
}

func (x *tokens) check() {
	has := func(f *twill.Future[func()]) bool {
		r, ok := f.Poll()
		return ok && r.Err == nil
	}
	if x.given {
		switch head, next := x.line[0], x.line[1]; {
		case !x.left[0]:
			x.require(has(head), "the head was not woken")
		case !x.left[1]:
			x.require(has(next), "the head left, and the next was not woken")
		}
	}
	x.require(x.holders+x.s.Tokens() == 1, "%d hold the lock, %d tokens are free", x.holders, x.s.Tokens())
	x.require(x.s.Tokens() == 0 || x.s.Waiting() == 0, "%d wait for a free token", x.s.Waiting())
	// Now all tokens are released, in their order.
	if !x.given {
		x.give()
	}
	for _, f := range x.line {
		if r, _ := f.Poll(); r.Value != nil {
			x.holders--
			r.Value()
		}
	}
	x.require(x.s.Tokens() == 1 && x.s.Waiting() == 0, "in the end %d tokens are free, %d wait", x.s.Tokens(), x.s.Waiting())
}

// A cancel at the head of the line never takes the token with it, and a
// release, which works once, passes on one token.
func TestSemaphoreLine(t *testing.T) {
	var all totals
	sensible := func(doing []string) bool {
		once := slices.Compact(slices.Clone(doing))
		return len(once) == len(doing) && (!slices.Contains(doing, "release too") || slices.Contains(doing, "release"))
	}
	each(t, &all, plan{}, sensible, newTokens, 3, "release", "release too", "cancel head", "cancel next", "acquire", "try")
	t.Log(all.String())
	if !testing.Short() {
		require.Greater(t, all.Schedules, 500)
	}
}
