package settle_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/settle"
)

var (
	errTest   = errors.New("test")
	errPanic  = errors.New("panic")
	errGoexit = errors.New("goexit")
)

func TestMain(m *testing.M) {
	settle.Caught = func(v any) error {
		if v == nil {
			return errGoexit
		}
		return errPanic
	}
	settle.Unhandled = func(*settle.Failure) bool { return false }
	settle.Report = func(error, *settle.Origin) {}
	settle.Stopped = func(error) bool { return false }
	os.Exit(m.Run())
}

// node is a core that settles when its source does, after calling fn.
type node struct {
	core settle.Core
	link settle.Link
	src  *settle.Core
	hold bool
	fn   func()
	err  error // what Abort was given
	left bool
}

func (n *node) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	n.left = left != nil
	if n.fn != nil {
		n.fn()
	}
	return n.end(left)
}

func (n *node) Abort(err error) (*settle.Core, *settle.Link) {
	n.err = err
	return n.end(nil)
}

func (n *node) end(fail *settle.Failure) (*settle.Core, *settle.Link) {
	w, ok := n.core.Begin()
	if !ok {
		return nil, nil
	}
	return &n.core, n.core.Publish(w, fail)
}

func (n *node) Source(*settle.Failure) (*settle.Core, bool) { return n.src, n.hold }

func (n *node) Owner() *settle.Core { return &n.core }

func on(src *settle.Core, fn func()) *node {
	n := &node{src: src, fn: fn}
	n.link.Do = n
	n.core.SetUp(&n.link)
	if !src.Add(&n.link, 1) {
		settle.Run(n, nil)
	}
	return n
}

func finish(c *settle.Core, fail *settle.Failure) bool {
	w, ok := c.Begin()
	if !ok {
		return false
	}
	if list := c.Publish(w, fail); list != nil {
		settle.Drain(c, list)
	}
	return true
}

func TestListenersLeaveFromAnywhere(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var c settle.Core
		var order, want []int
		var nodes []*node
		for i := range rnd.IntN(12) {
			nodes = append(nodes, on(&c, func() { order = append(order, i) }))
			want = append(want, i)
		}
		for range rnd.IntN(8) {
			if len(nodes) == 0 {
				break
			}
			i := rnd.IntN(len(nodes))
			gone := c.Remove(&nodes[i].link, 1)
			at := slices.Index(want, i)
			require.Equal(t, at >= 0, gone)
			if at >= 0 {
				want = slices.Delete(want, at, at+1)
			}
			require.Equal(t, len(want), c.Listeners())
			require.Equal(t, len(want), c.Users())
		}
		require.True(t, finish(&c, nil))
		require.False(t, finish(&c, nil))
		require.ElementsMatch(t, want, order)
		require.True(t, slices.IsSorted(order))
	}
}

// Whatever listeners are added and removed, only a quiet listener that is alone
// is fired without the loop.
func TestAQuietListenerAloneIsFiredAtOnce(t *testing.T) {
	type listener struct {
		node
		quiet, fired bool
	}
	short := 0
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var c settle.Core
		var all []*listener
		bridged := false
		for range 1 + rnd.IntN(6) {
			if len(all) > 0 && rnd.IntN(2) == 0 {
				i := rnd.IntN(len(all))
				if all[i].hold { // the bridge stays
					continue
				}
				require.True(t, c.Remove(&all[i].link, 1))
				all = slices.Delete(all, i, i+1)
				continue
			}
			l := new(listener)
			l.link.Do = &l.node
			l.fn = func() { l.fired = true }
			switch rnd.IntN(5) {
			case 0:
				require.True(t, c.Add(&l.link, 1))
			case 1:
				require.True(t, c.AddPending(&l.link, 1))
			case 2:
				if bridged {
					continue
				}
				bridged, l.hold = true, true
				_, ok := c.Bridge(&l.link)
				require.True(t, ok)
			default:
				l.quiet = true
				require.True(t, c.AddAs(&l.link, settle.Quiet))
			}
			all = append(all, l)
		}
		w, ok := c.Begin()
		require.True(t, ok)
		if n := c.PublishQuiet(w); n != nil {
			require.Len(t, all, 1)
			require.True(t, all[0].quiet)
			n.Fire(nil)
			short++
		} else if list := c.Publish(w, nil); list != nil {
			settle.Drain(&c, list)
		}
		require.True(t, c.Settled())
		for _, l := range all {
			require.True(t, l.fired)
		}
		require.False(t, c.Add(&new(listener).link, 1), "nobody runs listeners any more")
	}
	require.Positive(t, short)
}

func TestDrainIsDepthFirst(t *testing.T) {
	var c settle.Core
	var order []string
	log := func(s string) func() { return func() { order = append(order, s) } }
	a := on(&c, log("a"))
	on(&c, log("b"))
	a1 := on(&a.core, log("a1"))
	on(&a.core, log("a2"))
	on(&a1.core, log("a11"))
	finish(&c, nil)
	require.Equal(t, []string{"a", "a1", "a11", "a2", "b"}, order)
}

func TestDrainTakesListenersThatCome(t *testing.T) {
	var c settle.Core
	var order []int
	var add func(i int)
	add = func(i int) {
		on(&c, func() {
			order = append(order, i)
			if i < 5 {
				add(i + 2)
			}
		})
	}
	add(0)
	add(1)
	finish(&c, nil)
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6}, order)
}

func TestDrainContainsWhatStopsAListener(t *testing.T) {
	var c settle.Core
	first := on(&c, func() { panic(1) })
	second := on(&first.core, func() { runtime.Goexit() })
	third := on(&second.core, nil)
	last := on(&c, nil)
	var wg sync.WaitGroup
	wg.Go(func() { finish(&c, nil) })
	wg.Wait()
	require.Equal(t, errPanic, first.err)
	require.Equal(t, errGoexit, second.err)
	require.True(t, third.core.Settled())
	require.True(t, last.core.Settled())
}

func TestCancelGoesToTheOnlySource(t *testing.T) {
	var c settle.Core
	a := on(&c, nil)
	b := on(&a.core, nil)
	fail := settle.NewCancel(errTest)
	require.True(t, b.core.Cancel(fail))
	require.True(t, c.Canceled())
	require.Equal(t, fail, c.Failure())
	require.False(t, a.left)
	require.False(t, b.core.Cancel(fail))
}

func TestCancelLeavesASharedSource(t *testing.T) {
	var c settle.Core
	a, b := on(&c, nil), on(&c, nil)
	require.True(t, a.core.Cancel(settle.NewCancel(errTest)))
	require.True(t, a.left)
	require.False(t, c.Settled())
	require.Equal(t, 1, c.Users())
	b.hold = true
	require.True(t, b.core.Cancel(settle.NewCancel(errTest)))
	require.True(t, b.left)
	require.False(t, c.Settled())
}

func TestLeaveTakesTheLastOneDown(t *testing.T) {
	var c settle.Core
	a, b := on(&c, nil), on(&c, nil)
	c.Leave(&a.link, settle.NewCancel(errTest), nil)
	c.Leave(&a.link, settle.NewCancel(errTest), nil)
	require.False(t, c.Settled())
	c.Leave(&b.link, settle.NewCancel(errTest), nil)
	require.True(t, c.Canceled())
}

// A cancel of a core whose handler runs has nothing to cancel, and is not
// answered by what the handler does.
func TestCancelDuringAHandlerIsNotAnswered(t *testing.T) {
	var c settle.Core
	var a *node
	a = on(&c, func() {
		request := settle.NewCancel(errTest)
		require.False(t, a.core.Cancel(request))
		require.True(t, a.core.Asked())
		require.False(t, request.Answered())
	})
	finish(&c, nil)
	require.False(t, a.core.Canceled())
}

func TestDepends(t *testing.T) {
	var c settle.Core
	a := on(&c, nil)
	b := on(&a.core, nil)
	require.True(t, c.Depends(&b.core))
	require.True(t, a.core.Depends(&b.core))
	require.False(t, b.core.Depends(&c), "nothing waits for b")
	on(&b.core, nil)
	require.False(t, b.core.Depends(&c))
	require.False(t, b.core.Depends(new(settle.Core)))

	// A circle of others is left alone.
	x, y := &node{}, &node{}
	for _, n := range []*node{x, y} {
		n.link.Do = n
		n.core.SetUp(&n.link)
	}
	x.src, y.src = &y.core, &x.core
	y.core.Add(&x.link, 1)
	x.core.Add(&y.link, 1)
	var d settle.Core
	on(&d, nil)
	require.False(t, d.Depends(&x.core))
}

type fork struct {
	node
	all   []*settle.Core
	links []settle.Link
}

func (f *fork) Ask(*settle.Failure) {}

func (f *fork) Asked(int, *settle.Failure) {}

func (f *fork) Member(i int) (*settle.Core, *settle.Link) {
	if i == len(f.all) {
		return nil, nil
	}
	return f.all[i], &f.links[i]
}

func TestDependsLooksAtAllSources(t *testing.T) {
	var c, other settle.Core
	a := on(&c, nil)
	f := &fork{all: []*settle.Core{&other, &a.core, &a.core}, links: make([]settle.Link, 3)}
	for i, src := range f.all {
		f.links[i].Do = f
		src.Add(&f.links[i], 1)
	}
	f.link.Do = f
	f.core.SetUp(&f.link)
	require.True(t, c.Depends(&f.core))
	on(&other, nil)
	require.True(t, other.Depends(&f.core))
	b := on(&c, nil)
	on(&b.core, nil)
	require.False(t, b.core.Depends(&f.core))

	// What a cancel has left is not waited for.
	require.True(t, a.core.Remove(&f.links[1], 1))
	require.True(t, c.Depends(&f.core))
	require.True(t, a.core.Remove(&f.links[2], 1))
	require.False(t, c.Depends(&f.core))
}

func TestWait(t *testing.T) {
	var c settle.Core
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	require.Equal(t, cause, c.Wait(ctx))
	require.Zero(t, c.Listeners())
	go finish(&c, nil)
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
}

func TestBridgeIsOne(t *testing.T) {
	var c settle.Core
	var order []int
	on(&c, func() { order = append(order, 2) })
	require.Nil(t, c.Bridged())
	first := &node{fn: func() { order = append(order, 1) }}
	first.link.Do = first
	n, ok := c.Bridge(&first.link)
	require.True(t, ok)
	require.Equal(t, settle.Node(first), n)
	second := &node{}
	second.link.Do = second
	n, ok = c.Bridge(&second.link)
	require.True(t, ok)
	require.Equal(t, settle.Node(first), n)
	require.Equal(t, settle.Node(first), c.Bridged())
	finish(&c, nil)
	require.Equal(t, []int{1, 2}, order)
	_, ok = c.Bridge(&second.link)
	require.False(t, ok)
}

// Adding, removing, canceling and settling at once: each listener is fired
// once or removed, never both.
func TestConcurrentUse(t *testing.T) {
	for range 300 {
		var c settle.Core
		const n = 6
		var fired [n]int
		var removed [n]bool
		var nodes [n]*node
		var wg sync.WaitGroup
		for i := range n {
			nodes[i] = &node{src: &c, fn: func() { fired[i]++ }}
			nodes[i].link.Do = nodes[i]
			nodes[i].core.SetUp(&nodes[i].link)
			wg.Go(func() {
				if !c.Add(&nodes[i].link, 1) {
					settle.Run(nodes[i], nil)
					return
				}
				switch i % 3 {
				case 0:
					removed[i] = c.Remove(&nodes[i].link, 1)
				case 1:
					nodes[i].core.Cancel(settle.NewCancel(errTest))
				}
			})
		}
		wg.Go(func() { finish(&c, nil) })
		wg.Wait()
		require.True(t, c.Settled())
		require.NoError(t, c.Wait(t.Context()))
		// A listener added while another goroutine drained is run by that one.
		for i := range n {
			if removed[i] {
				require.Zero(t, fired[i])
			} else {
				require.Equal(t, 1, fired[i])
			}
		}
	}
}

// Whatever links are made and taken off, a check says what a plain walk does.
func TestDependsSaysWhatAWalkDoes(t *testing.T) {
	found := 0
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var roots []*node                          // wait for nothing yet, and so can be made to
		waits := map[*settle.Core][]*settle.Core{} // for what
		var all []*settle.Core
		var reaches func(from, to *settle.Core, seen map[*settle.Core]bool) bool
		reaches = func(from, to *settle.Core, seen map[*settle.Core]bool) bool {
			if from == to {
				return true
			}
			if seen[from] {
				return false
			}
			seen[from] = true
			return slices.ContainsFunc(waits[from], func(c *settle.Core) bool { return reaches(c, to, seen) })
		}
		pick := func() *settle.Core { return all[rnd.IntN(len(all))] }
		for range 120 {
			switch k := rnd.IntN(8); {
			case k < 3 || len(all) == 0: // a node that waits for nothing, and a line below it
				n := new(node)
				n.link.Do = n
				n.core.SetUp(&n.link)
				roots = append(roots, n)
				last := &n.core
				all = append(all, last)
				for range rnd.IntN(40) {
					next := on(last, nil)
					waits[&next.core] = []*settle.Core{last}
					last = &next.core
				}
				all = append(all, last)
			case k == 3: // a list
				f := &fork{links: make([]settle.Link, 1+rnd.IntN(4))}
				f.link.Do = f
				f.core.SetUp(&f.link)
				for i := range f.links {
					src := pick()
					f.all = append(f.all, src)
					f.links[i].Do = f
					src.Add(&f.links[i], 1)
				}
				waits[&f.core] = f.all
				all = append(all, &f.core)
			case len(roots) > 0: // one of those that wait for nothing comes to
				i := rnd.IntN(len(roots))
				n, src := roots[i], pick()
				w := n.core.Lock()
				n.src = src
				n.core.Unlock(w)
				require.True(t, src.Add(&n.link, 1))
				want := n.core.Listeners() > 0 && reaches(src, &n.core, map[*settle.Core]bool{})
				require.Equal(t, want, n.core.Depends(src), "seed %d", seed)
				if src == &n.core || reaches(src, &n.core, map[*settle.Core]bool{}) {
					found++
					require.True(t, src.Remove(&n.link, 1))
					continue
				}
				waits[&n.core] = []*settle.Core{src}
				roots = slices.Delete(roots, i, i+1)
			}
		}
	}
	require.Greater(t, found, 100)
}
