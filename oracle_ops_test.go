package twill_test

import "github.com/twillgo/twill"

// oracleNode is one recorded deferred.
type oracleNode struct {
	promise *twill.Promise[any] // nil for a list, gather or race
	tip     *twill.Future[any]
	follows bool // the promise follows another deferred
}

// oracleRun is one replay.
type oracleRun struct {
	nodes   []*oracleNode
	trace   []string
	handed  bool // chain by handlers, not by Follow
	crossed bool // a cancel crossed from source to target of a Follow, or back
}

// oracleOps is what the replay can do. A program with another op is left out,
// and the number of programs that were not is checked.
var oracleOps = map[string]func(*oracleRun, *oracleOp){
	"new":    (*oracleRun).opNew,
	"add":    (*oracleRun).opAdd,
	"fire":   func(r *oracleRun, op *oracleOp) { r.outcome(r.nodes[op.D].promise.Resolve(op.V)) },
	"fail":   func(r *oracleRun, op *oracleOp) { r.outcome(r.nodes[op.D].promise.Reject(oracleErr(op.E))) },
	"cancel": func(r *oracleRun, op *oracleOp) { r.nodes[op.D].tip.Cancel(nil) },
	"chain":  (*oracleRun).opChain,
}

// record adds an entry to the trace.
func (r *oracleRun) record(entry ...any) { r.trace = append(r.trace, oracleText(entry)) }

// outcome records what became of a fire.
func (r *oracleRun) outcome(settled bool) {
	if settled {
		r.record("r", "ok")
	} else {
		r.record("r", "lost")
	}
}

// opNew makes a promise, with a canceller of the kind asked for.
func (r *oracleRun) opNew(op *oracleOp) {
	p := twill.NewPromise[any]()
	node := &oracleNode{promise: p, tip: p.Future()}
	r.nodes = append(r.nodes, node)
	p.OnCancel(func(error) {
		r.crossed = r.crossed || node.follows
		if op.C == "none" {
			return
		}
		r.record("c", op.D)
		switch op.C {
		case "err":
			p.Reject(oracleErr(op.E))
		case "cb":
			p.Resolve(op.V)
		}
	})
}

// opChain makes one deferred's promise follow the tip of another; handed, it
// settles the promise by a handler, as chainDeferred does.
func (r *oracleRun) opChain(op *oracleOp) {
	source, target := r.nodes[op.A].tip, r.nodes[op.B]
	if r.handed {
		source.Tap(func(v any, err error) { target.promise.Settle(v, err) })
		return
	}
	target.follows = true
	if !target.promise.Follow(source) {
		r.record("Follow refused")
	}
}

// opAdd adds a link of the kind asked for to the tip.
func (r *oracleRun) opAdd(op *oracleOp) {
	node := r.nodes[op.D]
	switch op.K {
	case "cb":
		node.tip = r.onValue(node.tip, op.CB)
	case "eb":
		node.tip = r.onError(node.tip, op.EB)
	case "both":
		node.tip = r.onBoth(node.tip, op.H, op.H)
	case "cbs":
		node.tip = r.onBoth(node.tip, op.CB, op.EB)
	default:
		panic("unknown kind of add: " + op.K)
	}
}

// onValue adds h with Then, or ThenFuture if it returns a deferred.
func (r *oracleRun) onValue(tip *twill.Future[any], h *oracleHandler) *twill.Future[any] {
	if h.Do == "ret_d" {
		return twill.ThenFuture(tip, func(v any) *twill.Future[any] { return r.inner(h, v, nil) })
	}
	return twill.Then(tip, func(v any) (any, error) { return r.handle(h, v, nil) })
}

// onError adds h with Catch, or CatchFuture if it returns a deferred.
func (r *oracleRun) onError(tip *twill.Future[any], h *oracleHandler) *twill.Future[any] {
	if h.Do == "ret_d" {
		return tip.CatchFuture(func(err error) *twill.Future[any] { return r.inner(h, nil, err) })
	}
	return tip.Catch(func(err error) (any, error) { return r.handle(h, nil, err) })
}

// onBoth adds a handler for each side with one Handle, or HandleFuture if one of them returns a deferred.
func (r *oracleRun) onBoth(tip *twill.Future[any], cb, eb *oracleHandler) *twill.Future[any] {
	side := func(err error) *oracleHandler {
		if err != nil {
			return eb
		}
		return cb
	}
	if cb.Do != "ret_d" && eb.Do != "ret_d" {
		return twill.Handle(tip, func(v any, err error) (any, error) { return r.handle(side(err), v, err) })
	}
	return twill.HandleFuture(tip, func(v any, err error) *twill.Future[any] {
		if h := side(err); h.Do == "ret_d" {
			return r.inner(h, v, err)
		}
		out := twill.NewPromise[any]()
		out.Settle(r.handle(side(err), v, err))
		return out.Future()
	})
}

// inner records the input of a handler and returns the deferred it is to return.
func (r *oracleRun) inner(h *oracleHandler, v any, err error) *twill.Future[any] {
	r.input(h, v, err)
	return r.nodes[h.D].tip
}

// handle records the input of a handler and does what it is to do.
func (r *oracleRun) handle(h *oracleHandler, v any, err error) (any, error) {
	r.input(h, v, err)
	switch h.Do {
	case "inc":
		if n, ok := v.(int); ok && err == nil {
			return n + h.K, nil
		}
		return v, err
	case "pass":
		return v, err
	case "ret":
		return h.V, nil
	case "raise":
		return nil, oracleErr(h.E)
	default:
		panic("unknown handler: " + h.Do)
	}
}

// input records what a handler was called with.
func (r *oracleRun) input(h *oracleHandler, v any, err error) {
	if err != nil {
		r.record("h", h.ID, "err", oraclePayload(err))
	} else {
		r.record("h", h.ID, "ok", oraclePayload(v))
	}
}
