//go:build suites

package conformance_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

type newcomerDB struct{ name string }

func (db *newcomerDB) Query(id int) (string, error) { return db.name + strings.Repeat("!", id), nil }

func (db *newcomerDB) QueryContext(_ context.Context, id int) (string, error) { return db.Query(id) }

// What people wrote who had read no documentation: each form compiles and does
// what its name says.
func TestWhatNewcomersWrite(t *testing.T) {
	type queue = twill.ResizableDispatchQueue[int, int]
	double := func(_ context.Context, n int) (int, error) { time.Sleep(time.Second); return 2 * n, nil }
	ping := func(ctx context.Context) error { return ctx.Err() }
	for name, test := range map[string]func(t *testing.T, q *queue){
		"All(Futures(jobs)...)": func(t *testing.T, q *queue) {
			jobs, err := q.PutAll([]int{1, 2}, 0)
			require.NoError(t, err)
			values, err := twill.All(twill.Futures(jobs)...).Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, []int{2, 4}, values)
		},
		"Join(job, text)": func(t *testing.T, q *queue) {
			job, text := kit.PutJob(t, q, 1, 0), twill.Resolved("text")
			_, err := twill.Join(job, text).Await(t.Context())
			require.NoError(t, err)
			_, ok := job.Poll()
			require.True(t, ok)
		},
		"Combine(job, text, fn)": func(t *testing.T, q *queue) {
			both := twill.Combine(kit.PutJob(t, q, 1, 0), twill.Resolved("text"), func(n int, s string) (string, error) {
				return s[:n], nil
			})
			v, err := both.Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, "te", v)
		},
		"Then(job, fn)": func(t *testing.T, q *queue) {
			v, err := twill.Then(kit.PutJob(t, q, 1, 0), func(n int) (bool, error) { return n == 2, nil }).Await(t.Context())
			require.NoError(t, err)
			require.True(t, v)
		},
		"Handle(job, fn)": func(t *testing.T, q *queue) {
			v, err := twill.Handle(kit.PutJob(t, q, 1, 0), func(n int, err error) (bool, error) { return n == 2, err }).Await(t.Context())
			require.NoError(t, err)
			require.True(t, v)
		},
		"Go with an error-only function": func(t *testing.T, _ *queue) {
			_, err := twill.Go(t.Context(), twill.NoValue(ping)).Await(t.Context())
			require.NoError(t, err)
		},
		"Retry with an error-only function": func(t *testing.T, _ *queue) {
			_, err := twill.Retry(t.Context(), twill.NoValue(ping), nil)
			require.NoError(t, err)
		},
		"a queue with an error-only function": func(t *testing.T, _ *queue) {
			var got string
			q := twill.NewResizableDispatchQueue(twill.NoValueArg(func(_ context.Context, s string) error { got = s; return nil }), nil)
			_, err := kit.PutJob(t, q, "sent", 0).Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, "sent", got)
		},
		"pooler.Do(ctx, key)": func(t *testing.T, _ *queue) {
			v, err := twill.NewPooler(double).Do(t.Context(), 4)
			require.NoError(t, err)
			require.Equal(t, 8, v)
		},
		"queue.GetWait(ctx)": func(t *testing.T, _ *queue) {
			q := twill.NewQueue[int](nil)
			time.AfterFunc(time.Second, func() { _ = q.Put(3) })
			v, err := q.GetWait(t.Context())
			require.NoError(t, err)
			require.Equal(t, 3, v)
		},
		"q.Stats().Running.Quantile(.5)": func(t *testing.T, q *queue) {
			_, err := kit.PutJob(t, q, 1, 0).Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, time.Second, q.Stats().Running.Quantile(.5))
		},
		"Method(init, (*DB).Query)": func(t *testing.T, _ *queue) {
			init := twill.NewInit(t.Context(), func(context.Context) (*newcomerDB, error) { return &newcomerDB{"db"}, nil })
			v, err := twill.Method(init, (*newcomerDB).Query)(1).Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, "db!", v)
			v, err = twill.MethodContext(init, (*newcomerDB).QueryContext)(t.Context(), 2).Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, "db!!", v)
			v, err = twill.Then(init.Ready(), func(db *newcomerDB) (string, error) { return db.name, nil }).Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, "db", v)
		},
		"NewInit with Retry and Permanent": func(t *testing.T, _ *queue) {
			calls := 0
			init := twill.NewInit(t.Context(), func(ctx context.Context) (*newcomerDB, error) {
				return twill.Retry(ctx, func(context.Context) (*newcomerDB, error) {
					calls++
					return nil, twill.Permanent(kit.ErrBoom)
				}, nil)
			})
			_, err := init.Ready().Await(t.Context())
			require.ErrorIs(t, err, kit.ErrBoom)
			require.Equal(t, 1, calls)
		},
		"the winner of a Race reads its body": func(t *testing.T, _ *queue) {
			race := twill.NewRace[string, io.Reader](nil)
			race.Register(func(ctx context.Context, text string) (io.Reader, error) {
				return &boundReader{ctx, strings.NewReader(text)}, nil
			})
			held, err := race.ExecuteHeld(t.Context(), "body").Await(t.Context())
			require.NoError(t, err)
			text, err := io.ReadAll(held.Value)
			require.NoError(t, err)
			require.Equal(t, "body", string(text))
			held.Release()
			reader, err := race.Execute(t.Context(), "body").Await(t.Context())
			require.NoError(t, err)
			_, err = io.ReadAll(reader)
			require.ErrorIs(t, err, twill.ErrWon, "the error says what to do")
		},
		"a stop that loses no link": func(t *testing.T, _ *queue) {
			var q *twill.ResizableDispatchQueue[int, int]
			q = twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
				time.Sleep(time.Second)
				_, err := q.Put(n+1, 0)
				return n, err
			}, nil)
			first := kit.PutJob(t, q, 1, 0)
			_, err := q.Pause().Await(t.Context())
			require.NoError(t, err)
			left, err := q.StopNow().Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, []int{2}, kit.Args(left))
			_, err = first.Await(t.Context())
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, twill.NewResizableDispatchQueue(double, nil)) })
		})
	}
}

// boundReader fails when its context has ended, as the body of a response does.
type boundReader struct {
	ctx context.Context
	r   io.Reader
}

func (b *boundReader) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, errors.Join(b.ctx.Err(), context.Cause(b.ctx))
	}
	return b.r.Read(p)
}
