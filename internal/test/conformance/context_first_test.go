//go:build suites

package conformance_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// The context ends before a call, or before the event for which the call waits.
// The end and the event come from the same goroutine: a watch on the context
// that runs on another goroutine, as that of context.AfterFunc, may be late,
// which must make no difference.

// outcome is the outcome of a call whose context ended first.
type outcome int

const (
	fails  outcome = iota // with the cause of the context's end
	keeps                 // with the result, which exists
	either                // why has the reason, and nothing is lost
)

// contextRow tests one function or method with a parameter, or one field of
// options, of type context.Context.
type contextRow struct {
	before  func(t *testing.T, e *end) error // ends the context, and then makes the call
	event   string                           // the event for which the call waits
	after   func(t *testing.T, e *end) error // makes the call, ends the context, and then makes the event happen
	want    outcome
	wantWas outcome // outcome of after, if it differs
	why     string  // the reason why the outcome is not fails
}

// end is a context and the function that ends it.
type end struct {
	ctx   context.Context
	now   func() // ends ctx
	cause error
}

var ends = map[string]func(t *testing.T) *end{
	"cancel": func(t *testing.T) *end {
		ctx, cancel := context.WithCancel(t.Context())
		return &end{ctx, cancel, context.Canceled}
	},
	"cancel with a cause": func(t *testing.T) *end {
		ctx, cancel := context.WithCancelCause(t.Context())
		return &end{ctx, func() { cancel(kit.ErrBoom) }, kit.ErrBoom}
	},
	"deadline": func(t *testing.T) *end {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		return &end{ctx, func() { <-ctx.Done(); cancel() }, context.DeadlineExceeded}
	},
	"deadline with a cause": func(t *testing.T) *end {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, kit.ErrBoom)
		return &end{ctx, func() { <-ctx.Done(); cancel() }, kit.ErrBoom}
	},
	"deadline of a context of another make": func(*testing.T) *end {
		ctx := &ownContext{Context: context.Background(), done: make(chan struct{})}
		return &end{ctx, ctx.end, context.DeadlineExceeded}
	},
}

// ownContext is a context that was not made by package context, which has to
// watch it on a goroutine.
type ownContext struct {
	context.Context
	ended atomic.Bool
	done  chan struct{}
}

func (c *ownContext) end() {
	if !c.ended.Swap(true) {
		close(c.done)
	}
}

func (c *ownContext) Done() <-chan struct{} { return c.done }

func (c *ownContext) Err() error {
	if c.ended.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

func TestTheContextEndedFirst(t *testing.T) {
	rows := contextRows()
	assert.Equal(t, takesContext(t), slices.Sorted(maps.Keys(rows)), "a row for each")
	const rounds = 300
	for name, row := range rows {
		for kind, begin := range ends {
			for when, round := range map[string]func(*testing.T, *end) error{"before the call": row.before, "before the " + row.event: row.after} {
				if round == nil {
					continue
				}
				want := row.want
				if row.wantWas != 0 && when != "before the call" {
					want = row.wantWas
				}
				if want != fails {
					require.NotEmpty(t, row.why, "why is %s not to fail?", name)
				}
				t.Run(name+"/"+kind+"/"+when, func(t *testing.T) {
					texts := map[string]bool{}
					for i := range rounds {
						if t.Failed() {
							break
						}
						synctest.Test(t, func(t *testing.T) {
							e := begin(t)
							defer e.now()
							err := round(t, e)
							switch {
							case want == keeps, want == either && err == nil:
								require.NoError(t, err, "round %d", i)
								return
							case err == nil:
								require.Error(t, err, "round %d", i)
							}
							require.ErrorIs(t, err, e.cause, "round %d", i)
							if e.ctx.Err() == context.DeadlineExceeded {
								require.NotErrorIs(t, err, context.Canceled, "round %d", i)
								if err != e.cause { // a wait returns the cause itself
									require.ErrorIs(t, err, context.DeadlineExceeded, "round %d", i)
								}
							}
							texts[err.Error()] = true
						})
					}
					require.LessOrEqual(t, len(texts), 1, "one error: %v", texts)
				})
			}
		}
	}
}

// goRow returns the row of a function that starts fn on its own goroutine.
func goRow(start func(context.Context, func(context.Context) (int, error)) *twill.Future[int]) contextRow {
	return contextRow{
		want: keeps, why: "fn is always called, as it may own what it has to release",
		before: func(t *testing.T, e *end) error {
			e.now()
			return errorOf(start(e.ctx, func(ctx context.Context) (int, error) {
				require.Error(t, ctx.Err())
				return 1, nil
			}))
		},
		event: "return",
		after: func(_ *testing.T, e *end) error {
			gate := make(chan struct{})
			f := start(e.ctx, func(context.Context) (int, error) { <-gate; return 1, nil })
			e.now()
			close(gate)
			return errorOf(f)
		},
	}
}

// takesContext returns the names of all exported functions and methods with a
// parameter of type context.Context, and of all such fields of exported
// structs.
func takesContext(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../../../*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, "_go127.go") {
			continue // Go 1.26 cannot parse chain_go127.go, whose methods take no context
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				takes := hasContext(d.Type.Params)
				for _, result := range fieldsOf(d.Type.Results) { // a function that it returns
					if fn, ok := result.Type.(*ast.FuncType); ok {
						takes = takes || hasContext(fn.Params)
					}
				}
				if name := exportedName(d); takes && name != "" {
					names = append(names, name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					typ, ok := spec.(*ast.TypeSpec)
					if !ok || !typ.Name.IsExported() {
						continue
					}
					if s, ok := typ.Type.(*ast.StructType); ok {
						for _, field := range s.Fields.List {
							for _, name := range field.Names {
								if name.IsExported() && isContext(field.Type) {
									names = append(names, typ.Name.Name+"."+name.Name)
								}
							}
						}
					}
				}
			}
		}
	}
	slices.Sort(names)
	require.NotEmpty(t, names)
	return names
}

func fieldsOf(l *ast.FieldList) []*ast.Field {
	if l == nil {
		return nil
	}
	return l.List
}

func hasContext(l *ast.FieldList) bool {
	return slices.ContainsFunc(fieldsOf(l), func(f *ast.Field) bool { return isContext(f.Type) })
}

func isContext(x ast.Expr) bool {
	s, ok := x.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Context" && fmt.Sprint(s.X) == "context"
}

// exportedName returns "Type.Method" or "Function", or "" if one of the names
// is not exported.
func exportedName(d *ast.FuncDecl) string {
	if !d.Name.IsExported() {
		return ""
	}
	if d.Recv == nil {
		return d.Name.Name
	}
	x := d.Recv.List[0].Type
	for {
		switch of := x.(type) {
		case *ast.StarExpr:
			x = of.X
		case *ast.IndexExpr:
			x = of.X
		case *ast.IndexListExpr:
			x = of.X
		case *ast.Ident:
			if !of.IsExported() {
				return ""
			}
			return of.Name + "." + d.Name.Name
		}
	}
}

// blocked makes a call that blocks, ends its context, and then makes the event
// happen.
func blocked(e *end, call func() error, event func()) error {
	result := make(chan error, 1)
	go func() { result <- call() }()
	synctest.Wait()
	e.now()
	event()
	return <-result
}

func errorOf[T any](f *twill.Future[T]) error {
	_, err := kit.AwaitSoon(f)
	return err
}

// never is a function that must not be called.
func never(t *testing.T) func(context.Context) (int, error) {
	return func(context.Context) (int, error) {
		t.Error("user code was called after the end")
		return 0, nil
	}
}

func neverArg(t *testing.T) func(context.Context, int) (int, error) {
	return func(ctx context.Context, _ int) (int, error) { return never(t)(ctx) }
}

func one(context.Context) (int, error) { return 1, nil }

func contextRows() map[string]contextRow {
	return map[string]contextRow{
		"Future.Await": {
			before: func(t *testing.T, e *end) error {
				p := twill.NewPromise[int]()
				e.now()
				_, err := p.Future().Await(e.ctx)
				p.Resolve(1)
				v, kept := p.Future().Await(e.ctx)
				require.NoError(t, kept, "a result that exists")
				require.Equal(t, 1, v)
				return err
			},
			event: "settle", wantWas: either,
			why: "it only observes: what it does not see is still in the future",
			after: func(_ *testing.T, e *end) error {
				p := twill.NewPromise[int]()
				return blocked(e, func() error { _, err := p.Future().Await(e.ctx); return err }, func() { p.Resolve(1) })
			},
		},
		"Future.WithContext": {
			before: func(_ *testing.T, e *end) error {
				e.now()
				return errorOf(twill.NewPromise[int]().Future().WithContext(e.ctx))
			},
			event: "settle", wantWas: either,
			why: "it only observes: either the promise was canceled, and Resolve says so, or its value exists",
			after: func(t *testing.T, e *end) error {
				p := twill.NewPromise[int]()
				f := p.Future().WithContext(e.ctx)
				e.now()
				resolved := p.Resolve(1)
				err := errorOf(f)
				require.Equal(t, resolved, err == nil)
				return err
			},
		},
		"FromContext": {
			before: func(_ *testing.T, e *end) error {
				e.now()
				return errorOf(twill.FromContext(e.ctx))
			},
			event: "next step",
			after: func(_ *testing.T, e *end) error {
				f := twill.FromContext(e.ctx)
				e.now()
				return errorOf(f)
			},
		},
		"Go": goRow(twill.Go[int]),
		"GoIn": goRow(func(ctx context.Context, fn func(context.Context) (int, error)) *twill.Future[int] {
			return twill.GoIn(new(twill.Pool), ctx, fn)
		}),
		"GoWith": goRow(func(ctx context.Context, fn func(context.Context) (int, error)) *twill.Future[int] {
			return twill.GoWith(ctx, fn, &twill.GoOptions[int]{Pool: new(twill.Pool), Discard: func(int) {}})
		}),
		"NoValue": {
			want: keeps, why: "it makes another function of fn",
			before: func(_ *testing.T, e *end) error {
				e.now()
				_, err := twill.NoValue(func(context.Context) error { return nil })(e.ctx)
				return err
			},
		},
		"NoValueArg": {
			want: keeps, why: "it makes another function of fn",
			before: func(_ *testing.T, e *end) error {
				e.now()
				_, err := twill.NoValueArg(func(context.Context, int) error { return nil })(e.ctx, 1)
				return err
			},
		},
		"NewInit": {
			before: func(t *testing.T, e *end) error {
				e.now()
				return errorOf(twill.NewInit(e.ctx, never(t)).Ready())
			},
			event: "return", wantWas: keeps, why: "a value that was returned exists",
			after: func(_ *testing.T, e *end) error {
				gate := make(chan struct{})
				in := twill.NewInit(e.ctx, func(context.Context) (int, error) { <-gate; return 1, nil })
				e.now()
				close(gate)
				return errorOf(in.Ready())
			},
		},
		"MethodContext": {
			before: func(t *testing.T, e *end) error {
				in := twill.NewInit(t.Context(), one)
				call := twill.MethodContext(in, func(_ int, ctx context.Context, _ int) (int, error) { return never(t)(ctx) })
				e.now()
				return errorOf(call(e.ctx, 1))
			},
			event: "settle",
			after: func(t *testing.T, e *end) error {
				gate := make(chan struct{})
				in := twill.NewInit(t.Context(), func(context.Context) (int, error) { <-gate; return 1, nil })
				f := twill.MethodContext(in, func(_ int, ctx context.Context, _ int) (int, error) { return never(t)(ctx) })(e.ctx, 1)
				e.now()
				close(gate)
				return errorOf(f)
			},
		},
		"AsCompleted": {
			before: func(_ *testing.T, e *end) error {
				e.now()
				var err error
				for _, r := range twill.AsCompleted(e.ctx, new(twill.Promise[int]).Future()) {
					err = r.Err
				}
				return err
			},
			event: "settle",
			after: func(t *testing.T, e *end) error {
				ps, fs := kit.Promises(3)
				ps[0].Resolve(0)
				var err error
				var order []int
				for i, r := range twill.AsCompleted(e.ctx, fs...) {
					order, err = append(order, i), r.Err
					if i == 0 {
						e.now()
						ps[1].Resolve(1)
					}
				}
				require.Equal(t, []int{0, 1, -1}, order)
				return err
			},
		},
		"Map": mapRow(func(e *end, seq iter.Seq[int], fn func(context.Context, int) (int, error)) iter.Seq2[int, error] {
			return twill.Map(e.ctx, seq, 1, fn)
		}),
		"MapCompleted": mapRow(func(e *end, seq iter.Seq[int], fn func(context.Context, int) (int, error)) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				for _, r := range twill.MapCompleted(e.ctx, seq, 1, fn) {
					if !yield(r.Value, r.Err) {
						return
					}
				}
			}
		}),
		"Dict.GetWait": {
			before: func(t *testing.T, e *end) error {
				var d twill.Dict[int, int]
				e.now()
				_, err := d.GetWait(e.ctx, 1)
				require.Zero(t, d.Waiting())
				require.NoError(t, d.Set(1, 7))
				v, kept := d.GetWait(e.ctx, 1)
				require.NoError(t, kept, "a value that exists")
				require.Equal(t, 7, v)
				return err
			},
			event: "set", wantWas: either, why: "it only observes: the value stays in the dictionary",
			after: func(t *testing.T, e *end) error {
				var d twill.Dict[int, int]
				err := blocked(e, func() error { _, err := d.GetWait(e.ctx, 1); return err }, func() { _ = d.Set(1, 7) })
				require.Zero(t, d.Waiting())
				return err
			},
		},
		"Pool.EmptyWait": {
			before: func(t *testing.T, e *end) error {
				var pool twill.Pool
				e.now()
				require.NoError(t, pool.EmptyWait(e.ctx), "it is empty")
				require.NoError(t, pool.Add(new(twill.Promise[int]).Future()))
				return pool.EmptyWait(e.ctx)
			},
			event: "settle", wantWas: either, why: "it only observes",
			after: func(t *testing.T, e *end) error {
				var pool twill.Pool
				var p twill.Promise[int]
				require.NoError(t, pool.Add(p.Future()))
				return blocked(e, func() error { return pool.EmptyWait(e.ctx) }, func() { p.Resolve(1) })
			},
		},
		"Dict.GetOrCompute": {
			before: func(t *testing.T, e *end) error {
				var d twill.Dict[int, int]
				e.now()
				err := errorOf(d.GetOrCompute(e.ctx, 1, never(t)))
				require.Zero(t, d.Len())
				return err
			},
			event: "settle",
			after: func(t *testing.T, e *end) error {
				var d twill.Dict[int, int]
				gate := make(chan struct{})
				d.GetOrCompute(t.Context(), 1, func(context.Context) (int, error) { <-gate; return 1, nil }).Cancel(nil)
				f := d.GetOrCompute(e.ctx, 1, never(t)) // in line
				e.now()
				close(gate)
				err := errorOf(f)
				synctest.Wait()
				return err
			},
		},
		"Pooler.Call": {
			before: func(t *testing.T, e *end) error {
				p := twill.NewPooler(neverArg(t))
				e.now()
				return errorOf(p.Call(e.ctx, 1))
			},
			event: "settle",
			after: func(t *testing.T, e *end) error {
				gate := make(chan struct{})
				calls := 0
				p := twill.NewPooler(func(context.Context, int) (int, error) {
					if calls++; calls > 1 {
						t.Error("user code was called after the end")
					}
					<-gate
					return 1, nil
				})
				p.Call(t.Context(), 1).Cancel(nil)
				f := p.Call(e.ctx, 1) // in line
				e.now()
				close(gate)
				err := errorOf(f)
				synctest.Wait()
				require.Zero(t, p.Len())
				return err
			},
		},
		"Pooler.Do": {
			before: func(t *testing.T, e *end) error {
				p := twill.NewPooler(neverArg(t))
				e.now()
				_, err := p.Do(e.ctx, 1)
				return err
			},
			event: "settle",
			after: func(t *testing.T, e *end) error {
				gate := make(chan struct{})
				calls := 0
				p := twill.NewPooler(func(context.Context, int) (int, error) {
					if calls++; calls > 1 {
						t.Error("user code was called after the end")
					}
					<-gate
					return 1, nil
				})
				p.Call(t.Context(), 1).Cancel(nil)
				return blocked(e, func() error { _, err := p.Do(e.ctx, 1); return err }, func() { close(gate) })
			},
		},
		"Lock.AcquireWait":      acquireRow(new1(func() *twill.Lock { return new(twill.Lock) }), (*twill.Lock).AcquireWait),
		"Semaphore.AcquireWait": acquireRow(new1(func() *twill.Semaphore { return twill.NewSemaphore(1) }), (*twill.Semaphore).AcquireWait),
		"Lock.Run": runRow(new1(func() *twill.Lock { return new(twill.Lock) }), func(l *twill.Lock, ctx context.Context, fn func(context.Context) (int, error)) error {
			return errorOf(l.Run(ctx, func(ctx context.Context) error { _, err := fn(ctx); return err }))
		}),
		"Semaphore.Run": runRow(new1(func() *twill.Semaphore { return twill.NewSemaphore(1) }), func(s *twill.Semaphore, ctx context.Context, fn func(context.Context) (int, error)) error {
			return errorOf(s.Run(ctx, func(ctx context.Context) error { _, err := fn(ctx); return err }))
		}),
		"RunWith": runRow(new1(func() *twill.Lock { return new(twill.Lock) }), func(l *twill.Lock, ctx context.Context, fn func(context.Context) (int, error)) error {
			return errorOf(twill.RunWith(ctx, l, fn))
		}),
		"Semaphore.AcquireNWait": acquireRow(new1(func() *twill.Semaphore { return twill.NewSemaphore(1) }),
			func(s *twill.Semaphore, ctx context.Context) (func(), error) { return s.AcquireNWait(ctx, 1) }),
		"Queue.GetWait": getRow(func(q *twill.Queue[int], ctx context.Context) error { _, err := q.GetWait(ctx); return err },
			func() *twill.Queue[int] { return new(twill.Queue[int]) },
			func(q *twill.Queue[int]) { _ = q.Put(1) }),
		"PriorityQueue.GetWait": getRow(func(q *twill.PriorityQueue[int], ctx context.Context) error { _, err := q.GetWait(ctx); return err },
			func() *twill.PriorityQueue[int] { return new(twill.PriorityQueue[int]) },
			func(q *twill.PriorityQueue[int]) { _, _ = q.Put(1, 0) }),
		"GetAny": getRow(func(q *twill.Queue[int], ctx context.Context) error {
			_, err := twill.GetAny(ctx, new(twill.PriorityQueue[int]), q)
			return err
		},
			func() *twill.Queue[int] { return new(twill.Queue[int]) },
			func(q *twill.Queue[int]) { _ = q.Put(1) }),
		"Queue.PutWait": putRow(func(q *twill.Queue[int], ctx context.Context) error { return q.PutWait(ctx, 2) },
			func() *twill.Queue[int] { return twill.NewQueue[int](&twill.QueueOptions{Size: 1}) },
			func(q *twill.Queue[int]) { _ = q.Put(1) }),
		"PriorityQueue.PutWait": putRow(func(q *twill.PriorityQueue[int], ctx context.Context) error {
			_, err := q.PutWait(ctx, 2, 0)
			return err
		},
			func() *twill.PriorityQueue[int] {
				return twill.NewPriorityQueue[int](&twill.QueueOptions{Size: 1})
			},
			func(q *twill.PriorityQueue[int]) { _, _ = q.Put(1, 0) }),
		"Queue.All": streamRow((*twill.Queue[int]).All, func() *twill.Queue[int] { return new(twill.Queue[int]) },
			func(q *twill.Queue[int]) { _ = q.Put(1) }),
		"PriorityQueue.All": streamRow((*twill.PriorityQueue[int]).All, func() *twill.PriorityQueue[int] { return new(twill.PriorityQueue[int]) },
			func(q *twill.PriorityQueue[int]) { _, _ = q.Put(1, 0) }),
		"Race.Execute": raceRow(func(r *twill.Race[int, int], ctx context.Context) error { return errorOf(r.Execute(ctx, 1)) }),
		"Race.ExecuteHeld": raceRow(func(r *twill.Race[int, int], ctx context.Context) error {
			return errorOf(r.ExecuteHeld(ctx, 1))
		}),
		"RaceOf": {
			before: func(t *testing.T, e *end) error {
				e.now()
				return errorOf(twill.RaceOf(e.ctx, never(t), never(t)))
			},
			event: "return", // a value that is returned because of the end does not win
			after: func(_ *testing.T, e *end) error {
				late := func(ctx context.Context) (int, error) { <-ctx.Done(); return 1, nil }
				f := twill.RaceOf(e.ctx, late, late)
				e.now()
				return errorOf(f)
			},
		},
		"Retry": retryRow(func(ctx context.Context, fn func(context.Context) (int, error), o *twill.RetryOptions) error {
			_, err := twill.Retry(ctx, fn, o)
			return err
		}),
		"RetryingCall.Start": retryRow(func(ctx context.Context, fn func(context.Context) (int, error), o *twill.RetryOptions) error {
			return errorOf(twill.NewRetryingCall(fn, o).Start(ctx))
		}),
		"ResizableDispatchQueue.PutWait": {
			before: func(t *testing.T, e *end) error {
				q := twill.NewResizableDispatchQueue(neverArg(t), nil)
				e.now()
				_, err := q.PutWait(e.ctx, 1, 0)
				kit.RequireSize(t, q, 0, 0)
				return err
			},
			event: "room",
			after: func(t *testing.T, e *end) error {
				fn, gate := kit.Gated()
				q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Size: -1})
				kit.PutJob(t, q, 1, 0)
				err := blocked(e, func() error { _, err := q.PutWait(e.ctx, 2, 0); return err }, func() { _ = q.SetWidth(2) })
				kit.RequireSize(t, q, 1, 0)
				gate <- nil
				return err
			},
		},
		"ResizableDispatchQueue.Drain": {
			before: func(t *testing.T, e *end) error {
				q := twill.NewResizableDispatchQueue(neverArg(t), nil)
				require.NoError(t, q.SetWidth(0))
				kit.PutJob(t, q, 1, 0)
				e.now()
				left, err := q.Drain(e.ctx)
				require.Len(t, left, 1)
				return err
			},
		},
		"ResizableDispatchQueue.Events": {
			want: keeps, why: "a stream: it ends, and says so by ctx.Err",
			before: func(t *testing.T, e *end) error {
				q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
				e.now()
				seq := q.Events(e.ctx)
				kit.PutJob(t, q, 1, 0)
				for range seq {
					t.Error("an event from after the end")
				}
				return nil
			},
		},
		"ResizableDispatchQueue.Results": {
			want: keeps, why: "a stream: it ends, and says so by ctx.Err",
			before: func(t *testing.T, e *end) error {
				q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
				e.now()
				seq := q.Results(e.ctx)
				require.NoError(t, errorOf(&kit.PutJob(t, q, 1, 0).Future))
				for range seq {
					t.Error("a result from after the end")
				}
				return nil
			},
			event: "next step",
			after: func(t *testing.T, e *end) error {
				q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
				seq := q.Results(e.ctx)
				require.NoError(t, errorOf(&kit.PutJob(t, q, 1, 0).Future))
				e.now()
				n := 0
				for range seq {
					n++
				}
				require.Equal(t, 1, n, "a result from before the end is not lost")
				return nil
			},
		},
		"JobOptions.Context": {
			want: keeps, why: "it gives the job values; its end has no effect",
			before: func(t *testing.T, e *end) error {
				q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) { return n, ctx.Err() }, nil)
				e.now()
				return errorOf(&kit.PutOpts(t, q, 1, 0, twill.JobOptions{Context: e.ctx}).Future)
			},
		},
		"DispatchOptions.Context": {
			want: keeps, why: "jobs that were put still run: the function sees the end, and decides",
			before: func(t *testing.T, e *end) error {
				q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Context: e.ctx})
				e.now()
				return errorOf(&kit.PutJob(t, q, 1, 0).Future)
			},
		},
	}
}

func new1[T any](fn func() T) func() T { return fn }

// mapRow returns the row of a parallel map of width 1: the next step would take
// the value 1.
func mapRow(run func(e *end, seq iter.Seq[int], fn func(context.Context, int) (int, error)) iter.Seq2[int, error]) contextRow {
	return contextRow{
		before: func(t *testing.T, e *end) error {
			e.now()
			var err error
			for _, err = range run(e, func(func(int) bool) { t.Error("an item was taken after the end") }, neverArg(t)) {
			}
			return err
		},
		event: "next step",
		after: func(t *testing.T, e *end) error {
			seq := func(yield func(int) bool) {
				if yield(0) {
					t.Error("an item was taken after the end")
				}
			}
			var errs []error
			for v, err := range run(e, seq, func(_ context.Context, n int) (int, error) { return n + 1, nil }) {
				if err != nil {
					errs = append(errs, err)
					continue
				}
				require.Equal(t, 1, v)
				e.now()
			}
			require.Len(t, errs, 1)
			return errs[0]
		},
	}
}

type acquirer interface {
	Acquire() *twill.Future[func()]
	TryAcquire() (func(), bool)
}

// requireToken fails the test if the only token of a is lost.
func requireToken(t *testing.T, a acquirer) {
	t.Helper()
	synctest.Wait()
	release, ok := a.TryAcquire()
	require.True(t, ok, "the token is lost")
	release()
}

func acquireRow[A acquirer](make func() A, wait func(A, context.Context) (func(), error)) contextRow {
	return contextRow{
		before: func(t *testing.T, e *end) error {
			a := make()
			e.now()
			_, err := wait(a, e.ctx)
			requireToken(t, a)
			return err
		},
		event: "release",
		after: func(t *testing.T, e *end) error {
			a := make()
			release, ok := a.TryAcquire()
			require.True(t, ok)
			err := blocked(e, func() error { _, err := wait(a, e.ctx); return err }, release)
			requireToken(t, a)
			return err
		},
	}
}

func runRow[A acquirer](make func() A, run func(A, context.Context, func(context.Context) (int, error)) error) contextRow {
	return contextRow{
		before: func(t *testing.T, e *end) error {
			a := make()
			e.now()
			err := run(a, e.ctx, never(t))
			requireToken(t, a)
			return err
		},
		event: "release",
		after: func(t *testing.T, e *end) error {
			a := make()
			release, ok := a.TryAcquire()
			require.True(t, ok)
			err := blocked(e, func() error { return run(a, e.ctx, never(t)) }, release)
			requireToken(t, a)
			return err
		},
	}
}

type itemQueue interface {
	TryGet() (int, bool)
	Len() int
}

func putRow[Q itemQueue](put func(Q, context.Context) error, make func() Q, fill func(Q)) contextRow {
	return contextRow{
		before: func(t *testing.T, e *end) error {
			q := make()
			e.now()
			err := put(q, e.ctx)
			require.Zero(t, q.Len())
			return err
		},
		event: "room",
		after: func(t *testing.T, e *end) error {
			q := make()
			fill(q)
			err := blocked(e, func() error { return put(q, e.ctx) }, func() { q.TryGet() })
			require.Zero(t, q.Len())
			return err
		},
	}
}

func getRow[Q itemQueue](get func(Q, context.Context) error, make func() Q, put func(Q)) contextRow {
	return contextRow{
		before: func(t *testing.T, e *end) error {
			q := make()
			put(q)
			e.now()
			err := get(q, e.ctx)
			require.Equal(t, 1, q.Len(), "an item was taken after the end")
			return err
		},
		event: "put",
		after: func(t *testing.T, e *end) error {
			q := make()
			err := blocked(e, func() error { return get(q, e.ctx) }, func() { put(q) })
			require.Equal(t, 1, q.Len(), "an item was taken after the end")
			return err
		},
	}
}

func streamRow[Q itemQueue](all func(Q, context.Context) iter.Seq[int], make func() Q, put func(Q)) contextRow {
	return contextRow{
		want: keeps, why: "a stream: it ends, and says so by ctx.Err",
		before: func(t *testing.T, e *end) error {
			q := make()
			put(q)
			e.now()
			for range all(q, e.ctx) {
				t.Error("an item was taken after the end")
			}
			require.Equal(t, 1, q.Len())
			return nil
		},
		event: "put",
		after: func(t *testing.T, e *end) error {
			q := make()
			taken := 0
			err := blocked(e, func() error {
				for range all(q, e.ctx) {
					taken++
				}
				return nil
			}, func() { put(q) })
			require.Zero(t, taken, "an item was taken after the end")
			require.Equal(t, 1, q.Len())
			return err
		},
	}
}

func raceRow(run func(*twill.Race[int, int], context.Context) error) contextRow {
	return contextRow{
		before: func(t *testing.T, e *end) error {
			r := twill.NewRace[int, int](nil)
			r.Register(neverArg(t))
			e.now()
			return run(r, e.ctx)
		},
		event: "failure",
		after: func(t *testing.T, e *end) error {
			r := twill.NewRace[int](&twill.RaceOptions[int]{Stagger: time.Hour})
			gate := make(chan struct{})
			r.Register(func(context.Context, int) (int, error) { <-gate; return 0, kit.ErrFirst })
			r.Register(neverArg(t))
			return blocked(e, func() error { return run(r, e.ctx) }, func() { close(gate) })
		},
	}
}

func retryRow(run func(context.Context, func(context.Context) (int, error), *twill.RetryOptions) error) contextRow {
	return contextRow{
		before: func(t *testing.T, e *end) error {
			e.now()
			return run(e.ctx, never(t), nil)
		},
		event: "failure",
		after: func(t *testing.T, e *end) error {
			calls := 0
			return run(e.ctx, func(context.Context) (int, error) {
				if calls++; calls > 1 {
					t.Error("an attempt was made after the end")
				}
				e.now()
				return 0, kit.ErrFirst
			}, &twill.RetryOptions{Backoff: slices.Values([]time.Duration{0, 0})})
		},
	}
}
