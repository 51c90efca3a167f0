package work

import (
	"context"
	"strconv"
	"testing"

	"github.com/twillgo/twill"
)

// 1M pending, in groups: put and run with width 8. The yardstick is the same
// queue without groups.

func grouped(groups func() int, limit twill.GroupLimit) func(b *testing.B) {
	return func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			jobs := make([]*twill.Job[int, int], Many)
			opts := make([]twill.JobOptions, groups())
			for i := range opts {
				opts[i].Group = "group " + strconv.Itoa(i)
			}
			q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil },
				&twill.DispatchOptions{Width: width, GroupLimit: limit})
			q.Pause()
			start(b)
			for n := range jobs {
				var err error
				if len(opts) == 0 {
					jobs[n], err = q.Put(n, 0)
				} else {
					jobs[n], err = q.Put(n, 0, opts[n%len(opts)])
				}
				must(b, err)
			}
			must(b, q.Resume())
			_, err := q.Empty().Await(context.Background())
			must(b, err)
			b.StopTimer()
			sum := 0
			for _, j := range jobs {
				v, err := j.Await(context.Background())
				must(b, err)
				sum += v
			}
			Sink = sum
			b.StartTimer()
		}
		b.ReportMetric(float64(Many), Each)
	}
}

// inGroups is twill with ten jobs of each group pending, one of which may run
// at a time.
var inGroups = grouped(func() int { return Many / 10 }, twill.GroupLimit{Width: 1})

// inOneGroup is twill with all jobs in one group, whose limit is the width.
var inOneGroup = grouped(func() int { return 1 }, twill.GroupLimit{Width: width})

var withoutGroups = grouped(func() int { return 0 }, twill.GroupLimit{})
