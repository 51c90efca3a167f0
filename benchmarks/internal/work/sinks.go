package work

import (
	"context"
	"testing"
)

// Results are stored here, so that the compiler cannot remove the work.
var (
	Sink       int
	SinkString string
)

func same(v int) (int, error) { return v, nil }

func one(context.Context) (int, error) { return 1, nil }

func echo(_ context.Context, n int) (int, error) { return n, nil }

// must ends a benchmark whose work has failed.
func must(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}
