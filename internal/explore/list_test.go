//go:build explore

package explore_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// listing is a world with a list of two futures.
type listing struct {
	*world
	a, b source
	kind string
	list *twill.Future[int] // 0 for a list that succeeds with several values
}

var listKinds = map[string]func(fs ...*twill.Future[int]) *twill.Future[int]{
	"any":   twill.Any[int],
	"first": twill.First[int],
	"all": func(fs ...*twill.Future[int]) *twill.Future[int] {
		return twill.Then(twill.All(fs...), func([]int) (int, error) { return 0, nil })
	},
	"settled": func(fs ...*twill.Future[int]) *twill.Future[int] {
		return twill.Then(twill.AllSettled(fs...), func([]twill.Result[int]) (int, error) { return 0, nil })
	},
	"deferred list": func(fs ...*twill.Future[int]) *twill.Future[int] {
		l := twill.NewDeferredList(fs, twill.FireOnOneErrback|twill.ConsumeErrors)
		return twill.Then(&l.Future, func(twill.ListResult[int]) (int, error) { return 0, nil })
	},
}

var listActs = map[string]func(*listing){
	"make":        func(l *listing) { l.make() },
	"resolve a":   func(l *listing) { l.a.resolve() },
	"reject a":    func(l *listing) { l.a.reject() },
	"cancel a":    func(l *listing) { l.a.cancel() },
	"resolve b":   func(l *listing) { l.b.resolve() },
	"reject b":    func(l *listing) { l.b.reject() },
	"then b":      func(l *listing) { l.b.then() },
	"cancel list": func(l *listing) { l.list.Cancel(nil) },
}

func (l *listing) make() {
	l.list = name(l.world, listKinds[l.kind](l.a.f, l.b.f), "list")
}

func newListing(w *world, kind string, doing []string) func() {
	l := &listing{world: w, kind: kind}
	l.a.init(w, "a", false)
	l.b.init(w, "b", false)
	if !slices.Contains(doing, "make") {
		l.make()
	}
	for _, what := range doing {
		w.Go(what, func() { listActs[what](l) })
	}
	return func() { l.check(doing) }
}

func (l *listing) check(doing []string) {
	r, settled := l.list.Poll()
	a, aSettled := l.a.f.Poll()
	b, bSettled := l.b.f.Poll()
	l.require(settled || !slices.Contains(doing, "cancel list"), "the cancel of the list was lost")
	l.require(settled || !aSettled || !bSettled, "the list is pending, and its members are not")
	if settled {
		l.outcome(r, a, b, aSettled && bSettled || slices.Contains(doing, "cancel list"))
	}
	// A list that is pending depends on its members. A list that has settled has
	// detached from them, which cancels members without other dependents; a
	// DeferredList does not cancel.
	live := 1
	if settled && l.kind != "deferred list" {
		live = 0
		l.require(aSettled || l.a.users() > 0, "a is pending, and nobody needs it")
		l.require(bSettled || l.b.users() > 0, "b is pending, and nobody needs it")
	}
	if l.kind != "deferred list" {
		l.a.check(l.world, "a", l.a.users()+live)
		l.b.check(l.world, "b", l.b.users()+live)
	}
	l.a.p.Resolve(5)
	l.b.p.Resolve(6)
}

// outcome checks that the list has the outcome that follows from its members.
func (l *listing) outcome(r, a, b twill.Result[int], over bool) {
	var index *twill.IndexError
	if errors.As(r.Err, &index) {
		member := []twill.Result[int]{a, b}[index.Index]
		l.require(member.Err == index.Err || errors.Is(index.Err, twill.ErrCanceled), "the list says %v, and its member %v", r.Err, member)
		return
	}
	switch l.kind {
	case "any", "first":
		if r.Err == nil {
			l.require(r == a || r == b, "the list is %v, of %v and %v", r, a, b)
		}
	default:
		if r.Err == nil {
			l.require(over, "the list has settled before its members")
		}
	}
}

// Lists are made, decided, canceled and joined concurrently.
func TestLists(t *testing.T) {
	var all totals
	for kind := range listKinds {
		for _, joining := range []bool{false, true} {
			sensible := func(doing []string) bool {
				return slices.Contains(doing, "make") == joining &&
					!(joining && slices.Contains(doing, "cancel list")) &&
					len(slices.Compact(slices.Clone(doing))) == len(doing)
			}
			scenario := func(w *world, doing []string) func() { return newListing(w, kind, doing) }
			n := 2
			if kind == "any" || kind == "all" {
				n = 3
			}
			t.Run(strings.ReplaceAll(kind, " ", "_"), func(t *testing.T) {
				each(t, &all, plan{large: true, fine: true}, sensible, scenario, n,
					"make", "resolve a", "reject a", "cancel a", "resolve b", "reject b", "then b", "cancel list")
			})
		}
	}
	t.Log(all.String())
	if !testing.Short() {
		require.Greater(t, all.Schedules, 50_000)
	}
}
