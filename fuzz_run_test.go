package twill_test

import "fmt"

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

// runFuzz runs a program and returns what happened, and the futures' states
// in the end.
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

// handler notes that a handler runs, and does what it is to do.
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

// inner is handler for one that returns a future.
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
