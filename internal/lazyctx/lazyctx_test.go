package lazyctx_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill/internal/lazyctx"
)

type key struct{}

func TestContextBeforeItIsNeeded(t *testing.T) {
	deadline := time.Now().Add(time.Hour)
	base, cancel := context.WithDeadline(context.WithValue(t.Context(), key{}, 1), deadline)
	defer cancel()
	c := &lazyctx.Context{Base: base}
	require.Equal(t, 1, c.Value(key{}))
	require.NoError(t, c.Err())
	at, ok := c.Deadline()
	require.True(t, ok)
	require.Equal(t, deadline, at)
	require.False(t, c.Made())
	require.Equal(t, "twill context", fmt.Sprint(c))
}

func TestContextEnds(t *testing.T) {
	cause := errors.New("cause")
	for _, before := range []bool{true, false} {
		c := &lazyctx.Context{Base: context.WithValue(t.Context(), key{}, 1)}
		if before {
			c.End(cause)
		}
		done := c.Done()
		if !before {
			require.NoError(t, c.Err())
			c.End(cause)
		}
		c.End(errors.New("too late"))
		<-done
		require.Equal(t, context.Canceled, c.Err())
		require.Equal(t, cause, context.Cause(c))
		require.Equal(t, 1, c.Value(key{}))
	}
}

func TestContextEndsWithItsBase(t *testing.T) {
	base, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("cause")
	c, unused := &lazyctx.Context{Base: base}, &lazyctx.Context{Base: base}
	child, stop := context.WithCancel(c)
	defer stop()
	cancel(cause)
	<-child.Done()
	require.Equal(t, cause, context.Cause(child))
	require.Equal(t, context.Canceled, unused.Err())
	require.Equal(t, cause, context.Cause(unused))
}

func TestContextFromManyGoroutines(t *testing.T) {
	for range 200 {
		c := &lazyctx.Context{Base: t.Context()}
		cause := errors.New("cause")
		dones := make([]<-chan struct{}, 4)
		var wg sync.WaitGroup
		for i := range dones {
			wg.Go(func() { dones[i] = c.Done() })
		}
		wg.Go(func() { c.End(cause) })
		wg.Wait()
		for _, done := range dones {
			require.Equal(t, dones[0], done)
			<-done
		}
		require.Equal(t, cause, context.Cause(c))
	}
}
