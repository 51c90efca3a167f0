//go:build suites

package fuzz_test

import (
	"fmt"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
	"github.com/twillgo/twill/internal/test/model"
)

// fuzzAPI is the library, or its model.
type fuzzAPI[F fuzzFuture[F]] struct {
	promise      func() (fuzzPromise[F], F)
	resolved     func(int) F
	rejected     func(error) F
	then         func(F, func(int) (int, error)) F
	handle       func(F, func(int, error) (int, error)) F
	thenFuture   func(F, func(int) F) F
	handleFuture func(F, func(int, error) F) F
	finally      func(F, func()) F
	tap          func(F, func(int, error)) F
	via          func(F, func(func())) F
	timeout      func(F) F
	watch        func(F)
	list         func(kind int, fs ...F) F
	state        func(F) string
}

type fuzzFuture[F any] interface {
	comparable
	Cancel(error) bool
	Catch(func(error) (int, error)) F
	CatchFuture(func(error) F) F
	Shield() F
}

type fuzzPromise[F any] interface {
	Resolve(int) bool
	Reject(error) bool
	OnCancel(func(error))
	Follow(F) bool
}

// fuzzRun is one run of a program.
type fuzzRun[F fuzzFuture[F]] struct {
	fuzzAPI[F]
	fs    []F
	ps    []fuzzPromise[F]
	work  []func()
	trace []string
}

// runFuzz runs a program and returns its trace, and the final states of the
// futures.
func runFuzz[F fuzzFuture[F]](api fuzzAPI[F], ops []*fuzzOp) []string {
	r := &fuzzRun[F]{fuzzAPI: api}
	r.newPromise()
	r.newPromise()
	for i, op := range ops {
		r.record("@%d", i)
		r.run(op)
	}
	r.record("end")
	for _, f := range r.fs {
		r.record("%s", r.state(f))
	}
	return r.trace
}

func (r *fuzzRun[F]) record(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...))
}

func (r *fuzzRun[F]) newPromise() {
	p, f := r.promise()
	r.ps = append(r.ps, p)
	r.keep(f)
}

func (r *fuzzRun[F]) keep(f F) { r.fs = append(r.fs, f) }

func (r *fuzzRun[F]) future(i int) F { return r.fs[i%len(r.fs)] }

func (r *fuzzRun[F]) run(op *fuzzOp) {
	f, p, h := r.future(op.f), r.ps[op.f%len(r.ps)], op.h
	switch op.kind {
	case opNew:
		r.newPromise()
	case opResolve:
		r.record("%t", p.Resolve(op.v))
	case opReject:
		r.record("%t", p.Reject(fuzzError(op.v)))
	case opCancel:
		var cause error
		if op.v > 0 {
			cause = fuzzError(op.v)
		}
		r.record("%t", f.Cancel(cause))
	case opThen:
		r.keep(r.then(f, func(v int) (int, error) { return r.handler(h, v, nil) }))
	case opCatch:
		r.keep(f.Catch(func(err error) (int, error) { return r.handler(h, 0, err) }))
	case opHandle:
		r.keep(r.handle(f, func(v int, err error) (int, error) { return r.handler(h, v, err) }))
	case opFinally:
		r.keep(r.finally(f, func() { _, _ = r.handler(h, 0, nil) }))
	case opTap:
		r.keep(r.tap(f, func(v int, err error) { _, _ = r.handler(h, v, err) }))
	case opThenFuture:
		r.keep(r.thenFuture(f, func(v int) F { return r.inner(h, v, nil) }))
	case opCatchFuture:
		r.keep(f.CatchFuture(func(err error) F { return r.inner(h, 0, err) }))
	case opHandleFuture:
		r.keep(r.handleFuture(f, func(v int, err error) F { return r.inner(h, v, err) }))
	case opFollow:
		r.record("%t", p.Follow(r.future(op.g)))
	case opOnCancel:
		p.OnCancel(func(cause error) { _, _ = r.handler(h, 0, cause) })
	case opList:
		var fs []F
		for _, m := range op.members {
			fs = append(fs, r.future(m))
		}
		r.keep(r.list(op.v, fs...))
	case opShield:
		r.keep(f.Shield())
	case opVia:
		r.keep(r.via(f, []func(func()){
			func(fn func()) { fn() },
			func(fn func()) { r.work = append(r.work, fn) },
			func(func()) { panic("no executor") },
		}[op.v]))
	case opWork:
		if len(r.work) > 0 {
			fn := r.work[0]
			r.work = r.work[1:]
			fn()
		}
	case opTimeout:
		r.keep(r.timeout(f))
	case opWatch:
		r.watch(f)
	case opResolved:
		r.keep(r.resolved(op.v))
	case opRejected:
		r.keep(r.rejected(fuzzError(op.v)))
	}
}

// handler records that a handler runs, and runs its ops.
func (r *fuzzRun[F]) handler(h *fuzzHandler, v int, err error) (int, error) {
	r.record("h%d %d %s", h.id, v, fuzzText(err))
	for _, op := range h.ops {
		r.run(op)
	}
	r.record("/h%d", h.id)
	switch h.does {
	case doesAdd:
		return v + 1, err
	case doesValue:
		return h.v, nil
	case doesError:
		return 0, fuzzError(h.v)
	case doesPanic:
		panic(h.v)
	}
	return v, err
}

// inner is handler for a handler that returns a future.
func (r *fuzzRun[F]) inner(h *fuzzHandler, v int, err error) F {
	v, err = r.handler(h, v, err)
	switch {
	case h.does == doesNil:
		var none F
		return none
	case h.does == doesFuture:
		return r.future(h.inner)
	case err != nil:
		return r.rejected(err)
	}
	return r.resolved(v)
}

type (
	twillFuture = *twill.Future[int]
	modelFuture = *model.Future
)

var fuzzTwill = fuzzAPI[twillFuture]{
	promise: func() (fuzzPromise[twillFuture], twillFuture) {
		p := new(twill.Promise[int])
		return p, p.Future()
	},
	resolved: twill.Resolved[int],
	rejected: twill.Rejected[int],
	then:     func(f twillFuture, fn func(int) (int, error)) twillFuture { return twill.Then(f, fn) },
	handle: func(f twillFuture, fn func(int, error) (int, error)) twillFuture {
		return twill.Handle(f, fn)
	},
	thenFuture: func(f twillFuture, fn func(int) twillFuture) twillFuture { return twill.ThenFuture(f, fn) },
	handleFuture: func(f twillFuture, fn func(int, error) twillFuture) twillFuture {
		return twill.HandleFuture(f, fn)
	},
	finally: twillFuture.Finally,
	tap:     twillFuture.Tap,
	via:     twillFuture.Via,
	timeout: func(f twillFuture) twillFuture { return f.Timeout(0) },
	watch:   func(f twillFuture) { f.Done() },
	list: func(kind int, fs ...twillFuture) twillFuture {
		switch kind {
		case listAll:
			return twill.Then(twill.All(fs...), func(vs []int) (int, error) {
				var rs []twill.Result[int]
				for _, v := range vs {
					rs = append(rs, twill.Result[int]{Value: v})
				}
				return fuzzSum(rs), nil
			})
		case listAny:
			return twill.Any(fs...)
		case listFirst:
			return twill.First(fs...)
		case listSettled:
			return twill.Then(twill.AllSettled(fs...), func(rs []twill.Result[int]) (int, error) { return fuzzSum(rs), nil })
		}
		l := twill.NewDeferredList(fs, twill.ListFlags(kind-listFlags))
		return twill.Then(&l.Future, func(r twill.ListResult[int]) (int, error) {
			if r.Index >= 0 {
				return r.Index*100 + r.Value, nil
			}
			return fuzzSum(r.Results), nil
		})
	},
	state: func(f twillFuture) string {
		done := false
		select {
		case <-f.Done():
			done = true
		default:
		}
		r, ok := f.Poll()
		if !ok { // Done has added a bridge, and so has the model's Watch
			return fmt.Sprintf("pending %t, %d listeners, %d users", done, kit.Listeners(f), kit.Users(f))
		}
		return fmt.Sprintf("%d %s %t, %d listeners", r.Value, fuzzText(r.Err), done, kit.Listeners(f))
	},
}

var fuzzModel = fuzzAPI[modelFuture]{
	promise: func() (fuzzPromise[modelFuture], modelFuture) {
		p := model.NewPromise()
		return p, p.Future()
	},
	resolved:     model.Resolved,
	rejected:     model.Rejected,
	then:         modelFuture.Then,
	handle:       modelFuture.Handle,
	thenFuture:   modelFuture.ThenFuture,
	handleFuture: modelFuture.HandleFuture,
	finally: func(f modelFuture, fn func()) modelFuture {
		return f.Handle(func(v int, err error) (int, error) { fn(); return v, err })
	},
	tap: func(f modelFuture, fn func(int, error)) modelFuture {
		return f.Handle(func(v int, err error) (int, error) { fn(v, err); return v, err })
	},
	via:     modelFuture.Via,
	timeout: modelFuture.Timeout,
	watch:   modelFuture.Watch,
	list: func(kind int, fs ...modelFuture) modelFuture {
		sum := func(rs []twill.Result[int]) (int, error) { return fuzzSum(rs), nil }
		pass := func(v int) (int, error) { return v, nil }
		switch kind {
		case listAll:
			return model.NewList(model.ListOptions{OnError: true, Leaves: true, Takes: true, All: sum}, fs...).Then(pass)
		case listAny:
			return model.NewList(model.ListOptions{
				OnValue: true, Leaves: true, Takes: true, Ends: true,
				All: func(rs []twill.Result[int]) (int, error) {
					all := &twill.AllFailedError{}
					for _, r := range rs {
						all.Errs = append(all.Errs, r.Err)
					}
					return 0, all
				},
			}, fs...)
		case listFirst:
			return model.NewList(model.ListOptions{OnValue: true, OnError: true, Leaves: true, Takes: true}, fs...)
		case listSettled:
			return model.NewList(model.ListOptions{Takes: true, All: sum}, fs...).Then(pass)
		}
		flags := twill.ListFlags(kind - listFlags)
		return model.NewList(model.ListOptions{
			OnValue: flags&twill.FireOnOneCallback != 0,
			OnError: flags&twill.FireOnOneErrback != 0,
			Takes:   flags&twill.ConsumeErrors != 0,
			All:     sum,
			One:     func(i, v int) int { return i*100 + v },
		}, fs...).Then(pass)
	},
	state: func(f modelFuture) string {
		f.Watch()
		v, err, ok := f.Result()
		if !ok {
			return fmt.Sprintf("pending %t, %d listeners, %d users", false, f.Listeners(), f.Users())
		}
		return fmt.Sprintf("%d %s %t, %d listeners", v, fuzzText(err), true, f.Listeners())
	},
}
