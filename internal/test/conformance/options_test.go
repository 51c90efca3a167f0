//go:build suites

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// optionsQueue has the methods that both kinds of queue share.
type optionsQueue interface {
	twill.AnyQueue[int]
	put(v int) error
	putWait(ctx context.Context, v int) error
}

type plainQueue struct{ *twill.Queue[int] }

func (q plainQueue) put(v int) error { return q.Put(v) }

func (q plainQueue) putWait(ctx context.Context, v int) error { return q.PutWait(ctx, v) }

type priorityQueue struct{ *twill.PriorityQueue[int] }

func (q priorityQueue) put(v int) error {
	_, err := q.Put(v, 0)
	return err
}

func (q priorityQueue) putWait(ctx context.Context, v int) error {
	_, err := q.PutWait(ctx, v, 0)
	return err
}

// optionsTypes has the exported types of options with numbers. Each function
// makes options, calls set to change a field, and uses the options. It returns
// an error if the options were refused or did not work.
var optionsTypes = map[string]func(t *testing.T, set func(opts any)) error{
	"QueueOptions": func(t *testing.T, set func(any)) error {
		var opts twill.QueueOptions
		set(&opts)
		for _, q := range []optionsQueue{
			plainQueue{twill.NewQueue[int](&opts)}, priorityQueue{twill.NewPriorityQueue[int](&opts)},
		} {
			get := q.Get()
			if opts.Backlog < 0 {
				kit.RequireFailure(t, twill.ErrTooManyGets, get)
				get = twill.Go(t.Context(), q.GetWait)
				synctest.Wait()
			}
			if err := q.put(1); err != nil {
				return err
			}
			kit.AwaitValue(t, get, 1)
			go q.putWait(t.Context(), 2)
			synctest.Wait()
			v, ok := q.TryGet()
			require.True(t, ok)
			require.Equal(t, 2, v)
		}
		return nil
	},
	"PoolOptions": func(t *testing.T, set func(any)) error {
		high, low := 0, 0
		opts := twill.PoolOptions{OnHigh: func(int) { high++ }, OnLow: func(int) { low++ }}
		set(&opts)
		p := twill.NewPool(&opts)
		promises, futures := kit.Promises(3)
		for _, f := range futures {
			require.NoError(t, p.Add(f))
		}
		for _, a := range promises {
			a.Resolve(1)
		}
		reached := opts.High > 0 && opts.High <= 3
		require.Equal(t, reached, high == 1)
		require.Equal(t, reached, low == 1)
		return p.EmptyWait(t.Context())
	},
	"RetryOptions": func(t *testing.T, set func(any)) error {
		opts := twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Second)}
		set(&opts)
		calls := 0
		_, err := twill.Retry(t.Context(), func(context.Context) (int, error) {
			if calls++; calls < 3 {
				return 0, &twill.RetryAfterError{Err: kit.ErrBoom, After: time.Second}
			}
			return 1, nil
		}, &opts)
		if opts.MaxElapsed == 1 {
			require.ErrorIs(t, err, kit.ErrBoom)
			require.Equal(t, 1, calls)
			return nil
		}
		return err
	},
	"RaceOptions": func(t *testing.T, set func(any)) error {
		opts := twill.RaceOptions[int]{Stagger: time.Second}
		set(&opts)
		race := twill.NewRace[int, int](&opts)
		race.Register(func(context.Context, int) (int, error) { return 0, kit.ErrBoom })
		race.Register(kit.SameArg)
		for range 12 {
			if v, err := race.Execute(t.Context(), 1).Await(t.Context()); err != nil || v != 1 {
				return fmt.Errorf("%d, %w", v, err)
			}
		}
		return nil
	},
	"DispatchOptions": func(t *testing.T, set func(any)) error {
		opts := twill.DispatchOptions{Width: 3}
		set(&opts)
		q := twill.NewResizableDispatchQueue(kit.Sleep, &opts)
		jobs, err := q.PutAll([]time.Duration{1, 2, 3}, 0)
		if err != nil {
			return err
		}
		job, err := q.PutWait(t.Context(), 1, 5)
		if err != nil {
			return err
		}
		for _, job := range append(jobs, job) {
			_, err := job.Await(t.Context())
			if opts.Timeout == 1 && errors.As(err, new(*twill.TimeoutError)) {
				err = nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	},
	"GroupLimit": func(t *testing.T, set func(any)) error {
		var limit twill.GroupLimit
		set(&limit)
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 3})
		if err := q.SetGroupLimits(limit); err != nil {
			return err
		}
		if err := q.SetGroupLimit("g", limit); err != nil {
			return err
		}
		// Two in the first group, so that one may have to wait for very long.
		for i, group := range []string{"g", "h", "g"} {
			job, err := q.Put(1, 0, twill.JobOptions{Group: group})
			if err != nil {
				return err
			}
			if limit.Rate > 0 && limit.Rate < 1 && i == 2 {
				reason, until := q.Why(job)
				require.Equal(t, twill.WaitGroup, reason)
				require.True(t, until.After(time.Now()))
				require.True(t, job.Cancel(nil))
				break
			}
			if _, err := job.Await(t.Context()); err != nil {
				return err
			}
		}
		return nil
	},
	"RetryOptions of a job": func(t *testing.T, set func(any)) error {
		opts := twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Second)}
		set(&opts)
		calls := 0
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
			if calls++; calls < 3 {
				return 0, &twill.RetryAfterError{Err: kit.ErrBoom, After: time.Second}
			}
			return 1, nil
		}, nil)
		_, err := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Retry: &opts}).Await(t.Context())
		if opts.MaxElapsed == 1 {
			require.ErrorIs(t, err, kit.ErrBoom)
			require.Equal(t, 1, calls)
			return nil
		}
		return err
	},
	"JobOptions": func(t *testing.T, set func(any)) error {
		var opts twill.JobOptions
		set(&opts)
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		job, err := q.Put(2, 0, opts)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = job.Await(ctx)
		switch {
		case opts.After > time.Hour || opts.At.After(time.Now()):
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Len(t, q.Pending(), 1)
			require.True(t, job.Cancel(nil))
			return nil
		case opts.Timeout == 1 && errors.As(err, new(*twill.TimeoutError)):
			return nil
		case !opts.Expires.IsZero() && opts.Expires.Before(time.Now()):
			require.ErrorIs(t, err, twill.ErrExpired)
			return nil
		}
		return err
	},
}

// Every setting is accepted and works, or is refused with a message that names
// the field, however large or small the setting is.
func TestOptionsAtTheirExtremes(t *testing.T) {
	require.Subset(t, slices.Collect(maps.Keys(optionsTypes)), exportedOptions(t), "each type of options needs its row")
	for name, try := range optionsTypes {
		var settings []setting
		synctest.Test(t, func(t *testing.T) {
			defer func() { _ = recover() }()
			_ = try(t, func(opts any) {
				settings = settingsOf(reflect.TypeOf(opts).Elem(), nil)
				panic("that is all")
			})
		})
		require.NotEmpty(t, settings)
		for _, setting := range settings {
			for _, value := range setting.values {
				t.Run(fmt.Sprintf("%s.%s=%v", name, setting.name, value), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						err := refusal(func() error {
							return try(t, func(opts any) {
								reflect.ValueOf(opts).Elem().FieldByIndex(setting.index).Set(reflect.ValueOf(value))
							})
						})
						if err != nil {
							require.ErrorContains(t, err, setting.name, "a refusal names the field")
						}
					})
				})
			}
		}
	}
}

// setting is a field with values to test.
type setting struct {
	name   string
	index  []int
	values []any
}

// settingsOf returns the fields of a type of options, and of structs in it,
// that have extreme values.
func settingsOf(typ reflect.Type, index []int) (settings []setting) {
	for i := range typ.NumField() {
		field, at := typ.Field(i), append(slices.Clone(index), i)
		switch values := extremes(field.Type); {
		case values != nil:
			settings = append(settings, setting{field.Name, at, values})
		case field.Type.Kind() == reflect.Struct:
			settings = append(settings, settingsOf(field.Type, at)...)
		}
	}
	return settings
}

// refusal returns the value with which fn panics, or the error that it returns.
func refusal(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
			if text, ok := v.(string); !ok || !strings.HasPrefix(text, "twill: ") {
				panic(v)
			}
		}
	}()
	return fn()
}

// extremes returns the extreme values of a numeric type or of times.
func extremes(typ reflect.Type) (values []any) {
	switch typ {
	case reflect.TypeFor[int]():
		return []any{math.MinInt, -1, 0, 1, math.MaxInt}
	case reflect.TypeFor[time.Duration]():
		return []any{time.Duration(math.MinInt64), time.Duration(-1), time.Duration(0), time.Duration(1), time.Duration(math.MaxInt64)}
	case reflect.TypeFor[float64]():
		return []any{math.Inf(-1), -1.0, 0.0, math.SmallestNonzeroFloat64, 1.0, math.MaxFloat64, math.Inf(1), math.NaN()}
	case reflect.TypeFor[time.Time]():
		return []any{time.Time{}, time.Unix(math.MinInt32, 0), time.Unix(0, 0), time.Unix(1<<40, 0), time.Unix(math.MaxInt64-62135596800, 0)}
	}
	switch typ.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32:
		panic("no extremes for " + typ.String())
	}
	return nil
}

// optionsName is how types of settings are called.
var optionsName = regexp.MustCompile(`(Options|Limit)$`)

// exportedOptions returns the names of the exported types of options in the
// package that have a number or a time.
func exportedOptions(t *testing.T) (names []string) {
	entries, err := os.ReadDir("../../..")
	require.NoError(t, err)
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") || strings.Contains(entry.Name(), "go127") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../../..", entry.Name()), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() || !optionsName.MatchString(spec.Name.Name) {
				return true
			}
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				switch types.ExprString(field.Type) {
				case "int", "int64", "uint64", "float64", "time.Duration", "time.Time":
					names = append(names, spec.Name.Name)
					return false
				}
			}
			return false
		})
	}
	return names
}
