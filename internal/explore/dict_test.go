//go:build explore

package explore_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// entry is a world with a key of a Dict, for which two gets wait.
type entry struct {
	*world
	d       twill.Dict[int, int]
	gets    []*twill.Future[int]
	left    [2]bool // the gets that a Cancel has ended
	set     []int
	deleted int
	updates int
}

var entryActs = map[string]func(*entry){
	"set 10": func(x *entry) { x.store(10) },
	"set 20": func(x *entry) { x.store(20) },
	"update": func(x *entry) {
		_, err := x.d.Update(1, func(old int, _ bool) (int, error) { return old + 1, nil })
		x.require(err == nil || err == twill.ErrClosed, "Update: %v", err)
		x.Point("note", x)
		if err == nil {
			x.updates++
		}
	},
	"get":          func(x *entry) { x.get("third") },
	"cancel first": func(x *entry) { x.left[0] = x.gets[0].Cancel(nil) || x.left[0] },
	"cancel next":  func(x *entry) { x.left[1] = x.gets[1].Cancel(nil) || x.left[1] },
	"delete": func(x *entry) {
		if x.d.Delete(1) {
			x.Point("note", x)
			x.deleted++
		}
	},
	"fail":  func(x *entry) { x.d.Fail(1, errTest) },
	"close": func(x *entry) { x.d.Close(errEnded) },
}

func (x *entry) store(v int) {
	err := x.d.Set(1, v)
	x.require(err == nil || err == twill.ErrClosed, "Set: %v", err)
	if err == nil {
		x.Point("note", x)
		x.set = append(x.set, v)
	}
}

func (x *entry) get(who string) {
	f := x.d.Get(1)
	x.Name(coreOf(f), who)
	x.Point("note", x)
	x.gets = append(x.gets, f)
}

func newEntry(w *world, doing []string) func() {
	x := &entry{world: w}
	x.get("first")
	x.get("next")
	for _, what := range doing {
		w.Go(what, func() { entryActs[what](x) })
	}
	return func() { x.check(doing) }
}

func (x *entry) check(doing []string) {
	now, there := x.d.Lookup(1)
	stored := len(x.set)+x.updates > 0
	waiting := 0
	for i, f := range x.gets {
		r, ok := f.Poll()
		switch {
		case !ok:
			waiting++
			x.require(i == 2 || !stored, "the key was set, and get %d waits", i)
		case r.Err == nil:
			base := slices.Contains(x.set, r.Value-r.Value%10) || r.Value < 10
			x.require(base && r.Value%10 <= x.updates, "get %d has %d, which nobody has set", i, r.Value)
		default:
			closed := slices.Contains(doing, "close") && errors.Is(r.Err, errEnded)
			failed := slices.Contains(doing, "fail") && errors.Is(r.Err, errTest)
			x.require(closed || failed || i < 2 && x.left[i] && canceled(f), "get %d failed with %v", i, r.Err)
		}
	}
	x.require(x.d.Waiting() == waiting && x.d.WaitingFor(1) == waiting, "%d gets wait, the dict counts %d, %d", waiting, x.d.Waiting(), x.d.WaitingFor(1))
	x.require(waiting == 0 || !there, "%d gets wait for what is there", waiting)
	x.require(waiting == 0 || !slices.Contains(doing, "close"), "%d gets wait for what never comes", waiting)
	x.require(there == (stored && x.deleted == 0) || x.deleted > 0 && len(x.set)+x.updates > 1, "the key is there: %t", there)
	x.require(!there || len(x.set) > 0 || x.deleted > 0 || now == x.updates, "%d updates made %d", x.updates, now)
}

// The first Set settles all waiting gets, and a get that leaves keeps nothing.
func TestDictKey(t *testing.T) {
	var all totals
	once := func(doing []string) bool {
		return len(slices.Compact(slices.Clone(doing))) == len(doing) || slices.Contains(doing, "update")
	}
	each(t, &all, plan{large: true}, once, newEntry, 3, "set 10", "set 20", "update", "get", "cancel first", "cancel next", "delete", "fail", "close")
	t.Log(all.String())
	if !testing.Short() {
		require.Greater(t, all.Schedules, 1_000)
	}
}
