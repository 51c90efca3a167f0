package twillotel_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/docs/markdown"
	twillotel "github.com/twillgo/twill/otel"
)

var errBackend = errors.New("secret token abc")

// recorder keeps what was recorded, by the real SDK.
type recorder struct {
	t      *testing.T
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
	reader *sdkmetric.ManualReader
	in     *twillotel.Instrument
}

func record(t *testing.T, opts twillotel.Options) *recorder {
	t.Helper()
	r := &recorder{t: t, spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	r.tracer = traces.Tracer("test")
	opts.TracerProvider = traces
	opts.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))
	in, err := twillotel.New(&opts)
	require.NoError(t, err)
	r.in = in
	return r
}

// shown returns each span that has ended, one in a line, in the order of their
// ends: name, attributes, status, events, parent and links by name.
func (r *recorder) shown() []string {
	names := map[trace.SpanID]string{}
	for _, s := range append(r.spans.Started(), []sdktrace.ReadWriteSpan{}...) {
		names[s.SpanContext().SpanID()] = s.Name()
	}
	var lines []string
	for _, s := range r.spans.Ended() {
		var b strings.Builder
		b.WriteString(s.Name())
		attributes := slices.Clone(s.Attributes())
		slices.SortFunc(attributes, func(a, b attribute.KeyValue) int { return strings.Compare(string(a.Key), string(b.Key)) })
		for _, kv := range attributes {
			fmt.Fprintf(&b, " %s=%s", strings.TrimPrefix(string(kv.Key), "twill."), kv.Value.Emit())
		}
		if s.Status().Code != codes.Unset {
			fmt.Fprintf(&b, " [%v %q]", s.Status().Code, s.Status().Description)
		}
		for _, e := range s.Events() {
			fmt.Fprintf(&b, " {%s}", e.Name)
		}
		if s.Parent().IsValid() {
			fmt.Fprintf(&b, " in %s", names[s.Parent().SpanID()])
		}
		for _, l := range s.Links() {
			fmt.Fprintf(&b, " from %s", names[l.SpanContext.SpanID()])
		}
		require.Equal(r.t, trace.SpanKindInternal, s.SpanKind())
		lines = append(lines, b.String())
	}
	return lines
}

// metrics returns each point, one in a line, in order; for histograms the
// count.
func (r *recorder) metrics() []string {
	var all metricdata.ResourceMetrics
	require.NoError(r.t, r.reader.Collect(context.Background(), &all))
	var lines []string
	line := func(name string, set attribute.Set, n any) {
		var b strings.Builder
		b.WriteString(name)
		for _, kv := range set.ToSlice() {
			fmt.Fprintf(&b, " %s=%s", strings.TrimPrefix(string(kv.Key), "twill."), kv.Value.Emit())
		}
		lines = append(lines, fmt.Sprintf("%s: %v", &b, n))
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				require.True(r.t, data.IsMonotonic)
				for _, p := range data.DataPoints {
					line(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					line(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				require.Equal(r.t, "s", m.Unit)
				for _, p := range data.DataPoints {
					line(m.Name, p.Attributes, fmt.Sprintf("%d, %.2f s", p.Count, p.Sum))
				}
			default:
				r.t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// golden compares lines with the lines of a string.
func golden(t *testing.T, want string, got []string) {
	t.Helper()
	require.Equal(t, strings.TrimSpace(want), strings.Join(got, "\n"))
}

func TestDispatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twill.OnUnhandled(nil)
		r := record(t, twillotel.Options{})
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, what string) (int, error) {
			time.Sleep(time.Second)
			switch what {
			case "fails":
				return 0, errBackend
			case "panics":
				panic(errBackend)
			case "exits":
				runtime.Goexit()
			case "waits":
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return 1, nil
		}, nil)
		unregister, err := twillotel.Dispatch(r.in, "sms", q)
		require.NoError(t, err)
		ctx, span := r.tracer.Start(context.Background(), "request")
		once := &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.ConstantBackoff(time.Second), 1)}
		put := func(what string, o twill.JobOptions) *twill.Job[string, int] {
			j, err := q.Put(what, 2, o)
			require.NoError(t, err)
			return j
		}
		put("works", twill.JobOptions{Context: ctx})
		put("works", twill.JobOptions{})
		put("fails", twill.JobOptions{Context: ctx, Retry: once})
		put("panics", twill.JobOptions{})
		put("exits", twill.JobOptions{})
		waits := put("waits", twill.JobOptions{})
		time.Sleep(30 * time.Second)
		put("works", twill.JobOptions{After: time.Hour})
		golden(t, `
twill.call.duration kind=process name=sms outcome=exit: 1, 1.00 s
twill.call.duration kind=process name=sms outcome=failed: 2, 2.00 s
twill.call.duration kind=process name=sms outcome=finished: 2, 2.00 s
twill.call.duration kind=process name=sms outcome=panic: 1, 1.00 s
twill.job.retries name=sms: 1
twill.job.wait.duration name=sms: 6, 17.00 s
twill.jobs.ended name=sms outcome=canceled: 0
twill.jobs.ended name=sms outcome=failed: 3
twill.jobs.ended name=sms outcome=finished: 2
twill.jobs.enqueued name=sms: 7
twill.jobs.joined name=sms: 0
twill.jobs.refused name=sms: 0
twill.queue.jobs name=sms state=delayed: 1
twill.queue.jobs name=sms state=pending: 0
twill.queue.jobs name=sms state=underway: 1
twill.queue.width name=sms: 1`, r.metrics())
		waits.Cancel(nil)
		synctest.Wait()
		span.End()
		golden(t, `
process sms job.attempt=1 job.id=1 job.priority=2 outcome=finished queue.name=sms from request
process sms job.attempt=1 job.id=2 job.priority=2 outcome=finished queue.name=sms
process sms error.type=*errors.errorString job.attempt=1 job.id=3 job.priority=2 outcome=failed queue.name=sms [Error ""] from request
process sms error.type=panic(*errors.errorString) job.attempt=1 job.id=4 job.priority=2 outcome=panic queue.name=sms [Error ""]
process sms error.type=*errors.errorString job.attempt=2 job.id=3 job.priority=2 outcome=failed queue.name=sms [Error ""] from request
process sms error.type=*errors.errorString job.attempt=1 job.id=5 job.priority=2 outcome=exit queue.name=sms [Error ""]
process sms job.attempt=1 job.id=6 job.priority=2 outcome=canceled queue.name=sms
request`, r.shown())
		require.NoError(t, unregister())
		require.NotContains(t, strings.Join(r.metrics(), "\n"), "twill.queue.width")
		q.StopNow()
	})
}

// With Parent the attempt is in the trace of the put; with ErrorText the texts
// are recorded.
func TestDispatchParentAndErrorText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twill.OnUnhandled(nil)
		r := record(t, twillotel.Options{Parent: true, ErrorText: true})
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, errBackend }, nil)
		_, err := twillotel.Dispatch(r.in, "sms", q)
		require.NoError(t, err)
		ctx, span := r.tracer.Start(context.Background(), "request")
		_, err = q.Put(1, 0, twill.JobOptions{Context: ctx})
		require.NoError(t, err)
		synctest.Wait()
		span.End()
		golden(t, `
process sms error.type=*errors.errorString job.attempt=1 job.id=1 job.priority=0 outcome=failed queue.name=sms [Error "secret token abc"] {exception} in request
request`, r.shown())
		q.StopNow()
	})
}

func TestGoAndFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twill.OnUnhandled(nil)
		r := record(t, twillotel.Options{})
		ctx, span := r.tracer.Start(context.Background(), "request")
		v, err := twillotel.Go(r.in, ctx, "load", func(ctx context.Context) (int, error) {
			return twillotel.Func(r.in, "inner", func(_ context.Context, n int) (int, error) { return 2 * n, nil })(ctx, 4)
		}).Await(ctx)
		require.NoError(t, err)
		require.Equal(t, 8, v)
		_, err = twillotel.Go(r.in, ctx, "load", func(context.Context) (int, error) { panic("boom") }).Await(ctx)
		var stopped *twill.PanicError
		require.ErrorAs(t, err, &stopped)
		require.Equal(t, "boom", stopped.Value, "the panic goes on as it was")
		_, err = twillotel.Go(r.in, ctx, "load", func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }).Await(ctx)
		require.ErrorIs(t, err, twill.ErrGoexit)
		f := twillotel.Go(r.in, ctx, "load", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
		synctest.Wait()
		f.Cancel(nil)
		synctest.Wait()
		span.End()
		golden(t, `
call inner outcome=finished in go load
go load outcome=finished in request
go load error.type=panic(string) outcome=panic [Error ""] in request
go load error.type=*errors.errorString outcome=exit [Error ""] in request
go load outcome=canceled in request
request`, r.shown())
	})
}

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t, twillotel.Options{})
		failures := 2
		fn := func(context.Context) (string, error) {
			if failures--; failures >= 0 {
				return "", errBackend
			}
			return "done", nil
		}
		v, err := twillotel.Retry(r.in, t.Context(), "fetch", fn, &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Second)})
		require.NoError(t, err)
		require.Equal(t, "done", v)
		_, err = twillotel.Retry(r.in, t.Context(), "fetch", func(context.Context) (int, error) { return 0, twill.Permanent(errBackend) }, nil)
		require.ErrorIs(t, err, errBackend)
		golden(t, `
attempt fetch error.type=*errors.errorString job.attempt=1 outcome=failed [Error ""] in retry fetch
attempt fetch error.type=*errors.errorString job.attempt=2 outcome=failed [Error ""] in retry fetch
attempt fetch job.attempt=3 outcome=finished in retry fetch
retry fetch outcome=finished retry.attempts=3
attempt fetch error.type=*twill.permanentError job.attempt=1 outcome=failed [Error ""] in retry fetch
retry fetch error.type=*twill.RetryError outcome=failed retry.attempts=1 [Error ""]`, r.shown())
	})
}

func TestRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t, twillotel.Options{})
		v, err := twillotel.RaceOf(r.in, t.Context(), "ask",
			func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
			func(context.Context) (int, error) { time.Sleep(time.Second); return 2, nil },
			func(context.Context) (int, error) { return 0, errBackend },
		).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, v)
		synctest.Wait()
		got := r.shown()
		slices.Sort(got)
		golden(t, `
entrant ask error.type=*errors.errorString outcome=failed race.entrant=2 [Error ""] in race ask
entrant ask outcome=finished race.entrant=1 in race ask
entrant ask outcome=lost race.entrant=0 in race ask
race ask outcome=finished`, got)
		_, err = twillotel.RaceOf[int](r.in, t.Context(), "none").Await(t.Context())
		require.ErrorIs(t, err, twill.ErrEmpty)
	})
}

func TestPooler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t, twillotel.Options{})
		p, unregister, err := twillotel.Pooler(r.in, "users", func(_ context.Context, n int) (int, error) { time.Sleep(time.Second); return n, nil })
		require.NoError(t, err)
		ctx, span := r.tracer.Start(context.Background(), "request")
		first, second := p.Call(ctx, 3), p.Call(context.Background(), 3)
		golden(t, `
twill.pooler.calls name=users: 2
twill.pooler.merged name=users: 1
twill.pooler.underway name=users: 1
twill.pooler.waiting name=users: 2`, r.metrics())
		for _, f := range []*twill.Future[int]{first, second} {
			v, err := f.Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, 3, v)
		}
		span.End()
		golden(t, `
pooler users outcome=finished in request
request`, r.shown())
		require.NoError(t, unregister())
	})
}

// The documents compile.
func TestDocuments(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the compiler")
	}
	require.NoError(t, markdown.CheckModule(t.TempDir()))
}

// BenchmarkJob measures a put and its run, plain, with the no-op providers, and
// with the SDK.
func BenchmarkJob(b *testing.B) {
	for name, opts := range map[string]*twillotel.Options{
		"plain": nil,
		"noop":  {TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: noop.NewMeterProvider()},
		"sdk":   {TracerProvider: sdktrace.NewTracerProvider(), MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))},
	} {
		b.Run(name, func(b *testing.B) {
			q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
			if opts != nil {
				in, err := twillotel.New(opts)
				require.NoError(b, err)
				unregister, err := twillotel.Dispatch(in, "sms", q)
				require.NoError(b, err)
				defer func() { _ = unregister() }()
			}
			b.ReportAllocs()
			for b.Loop() {
				j, err := q.Put(1, 0)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := j.Await(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
