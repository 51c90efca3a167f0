package twillotel_test

import (
	"context"
	"fmt"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/twillgo/twill"
	twillotel "github.com/twillgo/twill/otel"
)

func Example() {
	spans := tracetest.NewSpanRecorder()
	traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	in, err := twillotel.New(&twillotel.Options{TracerProvider: traces})
	if err != nil {
		panic(err)
	}

	send := func(_ context.Context, text string) (int, error) { return len(text), nil }
	queue := twill.NewResizableDispatchQueue(send, nil)
	if _, err := twillotel.Dispatch(in, "sms", queue); err != nil {
		panic(err)
	}

	ctx, request := traces.Tracer("example").Start(context.Background(), "request")
	job, err := queue.Put("hello", 0, twill.JobOptions{Context: ctx})
	if err != nil {
		panic(err)
	}
	if _, err := job.Await(ctx); err != nil {
		panic(err)
	}
	request.End()
	_, _ = queue.Drain(ctx)

	attempt := spans.Ended()[0]
	fmt.Println(attempt.Name(), attempt.Links()[0].SpanContext.SpanID() == request.SpanContext().SpanID())
	// Output:
	// process sms true
}
