package durable_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
	"github.com/twillgo/twill/durable/internal/store"
)

// BenchmarkCycle puts jobs, runs them and waits for their results, with so many
// callers, and does the same work on the raw store: for each job the same rows,
// in the same number of transactions that are waited for. Neither reads the
// argument from the file, as the queue has that of a job that starts soon.
func BenchmarkCycle(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint("queue/callers=", callers), func(b *testing.B) {
			q := open(b, tempFile(b), func(_ context.Context, s string) (int, error) { return len(s), nil },
				&durable.Options{Dispatch: twill.DispatchOptions{Width: callers}})
			arg := strings.Repeat("x", 200)
			measure(b, callers, func() error {
				j, err := q.Put(arg, 0)
				if err != nil {
					return err
				}
				_, err = j.Await(context.Background())
				return err
			})
		})
		b.Run(fmt.Sprint("raw/callers=", callers), func(b *testing.B) {
			s, err := store.Open(tempFile(b), store.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			s.Start(nil, nil)
			arg := []byte(strings.Repeat("x", 202))
			var ids atomic.Int64
			measure(b, callers, func() error {
				j := store.Job{ID: ids.Add(1), Queued: time.Now().UnixMilli()}
				if err := s.Run(func(tx *store.Tx) error { return tx.Insert(j, arg) }); err != nil {
					return err
				}
				j.State, j.Attempts = store.Underway, 1
				if err := s.Run(func(tx *store.Tx) error {
					_, err := tx.Update(j)
					return err
				}); err != nil {
					return err
				}
				j.State, j.Result = store.Finished, []byte("200")
				return s.Run(func(tx *store.Tx) error {
					if _, err := tx.End(j, true); err != nil {
						return err
					}
					if j.ID%64 == 0 {
						_, err := tx.Prune(0, store.Retention{Count: 1000}, 128)
						return err
					}
					return nil
				})
			})
		})
	}
}

// measure does the work b.N times with so many callers, and reports
// percentiles.
func measure(b *testing.B, callers int, work func() error) {
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				began := time.Now()
				if err := work(); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	b.ReportMetric(float64(took[b.N/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
}
