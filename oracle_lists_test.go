package twill_test

import (
	"errors"

	"github.com/twillgo/twill"
)

// Lists of deferreds in the recordings. A gather is Twisted's DeferredList with
// fireOnOneErrback and its values; it is that here, too, because All leaves the
// other members when one fails, and gatherResults does not. A race is AnyIndexed.
//
// A list without members that waits for one callback never fires in Twisted and
// fails at once here: it is replayed as a future that never settles.

func init() {
	oracleOps["list"] = (*oracleRun).opList
	oracleOps["gather"] = (*oracleRun).opGather
	oracleOps["race"] = (*oracleRun).opRace
}

// oracleWin is the result of a race, told apart from a list's.
type oracleWin twill.Indexed[any]

// members are the tips of the deferreds ds.
func (r *oracleRun) members(ds []int) []*twill.Future[any] {
	tips := make([]*twill.Future[any], len(ds))
	for i, d := range ds {
		tips[i] = r.nodes[d].tip
	}
	return tips
}

// list makes a list of the members of op.
func (r *oracleRun) list(op *oracleOp, flags twill.ListFlags) *twill.Future[twill.ListResult[any]] {
	if op.ConsumeErrors {
		flags |= twill.ConsumeErrors
	}
	return &twill.NewDeferredList(r.members(op.Ds), flags).Future
}

func (r *oracleRun) opList(op *oracleOp) {
	var flags twill.ListFlags
	if op.FireOnOneCall {
		flags |= twill.FireOnOneCallback
	}
	if op.FireOnOneErr {
		flags |= twill.FireOnOneErrback
	}
	if op.FireOnOneCall && len(op.Ds) == 0 {
		if result, ok := r.list(op, flags).Poll(); !ok || !errors.Is(result.Err, twill.ErrEmpty) {
			r.record("empty list", ok)
		}
		r.nodes = append(r.nodes, &oracleNode{tip: oracleNever()})
		return
	}
	oracleMade(r, r.list(op, flags), func(result twill.ListResult[any]) any { return result })
}

func (r *oracleRun) opGather(op *oracleOp) {
	oracleMade(r, r.list(op, twill.FireOnOneErrback), func(result twill.ListResult[any]) any {
		values := make([]any, len(result.Results))
		for i, member := range result.Results {
			values[i] = member.Value
		}
		return values
	})
}

func (r *oracleRun) opRace(op *oracleOp) {
	oracleMade(r, twill.AnyIndexed(r.members(op.Ds)...), func(win twill.Indexed[any]) any { return oracleWin(win) })
}

// oracleNever never settles: it answers a cancel with another of its kind.
func oracleNever() *twill.Future[any] {
	return new(twill.Promise[any]).Future().CatchFuture(func(error) *twill.Future[any] { return oracleNever() })
}

// oracleMade adds a deferred that was made of others; value is what the program sees of its result.
func oracleMade[T any](r *oracleRun, f *twill.Future[T], value func(T) any) {
	tip := twill.Then(f, func(v T) (any, error) { return value(v), nil })
	r.nodes = append(r.nodes, &oracleNode{tip: tip})
}

// oracleList is the result of a list, gather or race in the form of the
// recordings, not ok if v is none.
func oracleList(v any) (payload any, ok bool) {
	each := func(n int, at func(i int) any) any {
		all := make([]any, n)
		for i := range all {
			all[i] = at(i)
		}
		return all
	}
	switch v := v.(type) {
	case []any:
		return each(len(v), func(i int) any { return oraclePayload(v[i]) }), true
	case oracleWin:
		return map[string]any{"win": []any{v.Index, oraclePayload(v.Value)}}, true
	case *twill.AllFailedError:
		return map[string]any{"group": each(len(v.Errs), func(i int) any { return oraclePayload(v.Errs[i]) })}, true
	case *twill.IndexError:
		return map[string]any{"first": []any{v.Index, oraclePayload(v.Err)}}, true
	case twill.ListResult[any]:
		if v.Index >= 0 {
			return map[string]any{"one": []any{oraclePayload(v.Value), v.Index}}, true
		}
		return each(len(v.Results), func(i int) any {
			if err := v.Results[i].Err; err != nil {
				return map[string]any{"err": oraclePayload(err)}
			}
			return map[string]any{"ok": oraclePayload(v.Results[i].Value)}
		}), true
	}
	return nil, false
}
