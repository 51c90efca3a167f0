package clock_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/clock"
)

func TestInstants(t *testing.T) {
	require.True(t, clock.Instant(0).IsZero())
	require.Equal(t, clock.Instant(7), clock.Instant(5).Add(2))
	require.Equal(t, clock.Never, clock.Instant(5).Add(math.MaxInt64))
	require.Equal(t, clock.Never, clock.Never.Add(1))
	require.Equal(t, time.Duration(2), clock.Instant(7).Sub(5))
}

func TestTimesComeBackAsTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock.Clock
		c.Start()
		time.Sleep(time.Second)
		now := c.Now()
		require.Equal(t, time.Now(), c.Time(now))
		require.Equal(t, now.Add(time.Hour), c.At(time.Now().Add(time.Hour)))
		require.True(t, c.Time(0).IsZero())
		require.True(t, c.At(time.Time{}).IsZero())
		require.False(t, c.At(c.Time(1).Add(-1)).IsZero(), "a time is a moment, whichever")
		require.Equal(t, clock.Never, c.At(time.Unix(1<<40, 0)))
	})
}

func TestTheSameInstantIsTheSameTime(t *testing.T) {
	var c clock.Clock
	c.Start()
	now := c.Now()
	want := c.Time(now)
	for range 1000 {
		require.Equal(t, want, c.Time(now))
	}
}

// After the wall clock was set, instants are the same, and are converted to new
// times.
func TestSteps(t *testing.T) {
	wall := func() time.Time { return time.Now().Round(0).Add(time.Duration(clock.Step.Load())) }
	for _, step := range []time.Duration{-time.Hour, 8 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			defer clock.Step.Store(0)
			var c clock.Clock
			c.Start()
			before := c.At(wall().Add(time.Minute))
			clock.Step.Store(int64(step))
			time.Sleep(time.Second)
			require.True(t, wall().Add(59*time.Second).Equal(c.Time(before)))
			require.Equal(t, c.Time(before), c.Wall().Time(before))
			require.True(t, c.Wall().Time(0).IsZero())
			require.Equal(t, c.Now().Add(time.Minute), c.At(wall().Add(time.Minute)))
			require.Equal(t, c.Now().Add(time.Minute), c.At(c.Time(c.Now().Add(time.Minute))))
		})
	}
}
