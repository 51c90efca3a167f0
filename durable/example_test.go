package durable_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
)

// folder is a new folder, and a function that deletes it.
func folder() (path string, remove func()) {
	path, err := os.MkdirTemp("", "durable")
	if err != nil {
		panic(err)
	}
	return path, func() { os.RemoveAll(path) }
}

// A job that is put is on disk before Put returns, and is run by this process
// or a later one.
func Example() {
	path, remove := folder()
	defer remove()
	ctx := context.Background()
	send := func(ctx context.Context, to string) (string, error) { return "sent to " + to, nil }

	q, err := durable.Open(filepath.Join(path, "jobs.db"), send, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	job, err := q.Put("ann", 5)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Await(ctx))
	fmt.Println(q.Close(ctx))
	// Output:
	// sent to ann <nil>
	// <nil>
}

// What was put and not run is there when the file is opened again, and so are
// the results of jobs that have ended.
func ExampleOpen() {
	path, remove := folder()
	defer remove()
	file := filepath.Join(path, "jobs.db")
	ctx := context.Background()
	double := func(ctx context.Context, n int) (int, error) { return 2 * n, nil }

	first, err := durable.Open(file, double, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	first.Pause() // the next process is paused, too
	job, err := first.Put(21, 0, twill.JobOptions{Key: "answer"})
	if err != nil {
		fmt.Println(err)
		return
	}
	id := job.ID()
	_ = first.Close(ctx)

	second, err := durable.Open(file, double, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer second.Close(ctx)
	fmt.Println(second.Found().Restored, "restored, paused:", second.Paused())
	_ = second.Resume()
	same, err := second.Find(id)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(same.Key(), same.ID() == id)
	fmt.Println(same.Await(ctx))
	// Output:
	// 1 restored, paused: true
	// answer true
	// 42 <nil>
}

// The receiver of a job's work can tell by its id whether the work was done
// before: a job may run more than once.
func ExampleJobID() {
	path, remove := folder()
	defer remove()
	ctx := context.Background()
	done := map[string]bool{} // in the receiver's database
	q, err := durable.Open(filepath.Join(path, "jobs.db"), func(ctx context.Context, amount int) (string, error) {
		if id := durable.JobID(ctx); !done[id] {
			done[id] = true
			attempt, crashes := durable.JobAttempt(ctx)
			return fmt.Sprintf("paid %d, attempt %d after %d crashes", amount, attempt, crashes), nil
		}
		return "paid before", nil
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close(ctx)
	job, err := q.Put(10, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Await(ctx))
	// Output: paid 10, attempt 1 after 0 crashes <nil>
}

// A job of a kind that the program does not know is parked until a version of
// the program runs that knows it.
func ExampleErrUnknownKind() {
	path, remove := folder()
	defer remove()
	ctx := context.Background()
	type task struct{ Kind, To string }
	q, err := durable.Open(filepath.Join(path, "jobs.db"), func(ctx context.Context, t task) (string, error) {
		switch t.Kind {
		case "mail":
			return "mail to " + t.To, nil
		}
		return "", fmt.Errorf("kind %q: %w", t.Kind, durable.ErrUnknownKind)
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close(ctx)
	job, err := q.Put(task{"fax", "ann"}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for !job.Parked() {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(job.State(), job.Attempts())
	// Output: pending 0
}

// The codec encrypts what is written of arguments and results. Keys and groups
// of jobs, and texts of errors, are not encrypted.
func ExampleCodec() {
	path, remove := folder()
	defer remove()
	ctx := context.Background()
	key := make([]byte, 32) // from where the program has its secrets
	block, err := aes.NewCipher(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		fmt.Println(err)
		return
	}
	encrypted := durable.Codec{
		Marshal: func(v any) ([]byte, error) {
			plain, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			return seal.Seal(nil, nil, plain, nil), nil
		},
		Unmarshal: func(data []byte, v any) error {
			plain, err := seal.Open(nil, nil, data, nil)
			if err != nil {
				return err
			}
			return json.Unmarshal(plain, v)
		},
	}
	q, err := durable.Open(filepath.Join(path, "jobs.db"), func(ctx context.Context, secret string) (int, error) {
		return len(secret), nil
	}, &durable.Options{Codec: encrypted})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close(ctx)
	job, err := q.Put(rand.Text(), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Await(ctx))
	// Output: 26 <nil>
}

// What could not be brought back is refused.
func ExampleErrNotKept() {
	path, remove := folder()
	defer remove()
	type order struct {
		Item  string
		price int
	}
	q, err := durable.Open(filepath.Join(path, "jobs.db"), func(ctx context.Context, o order) (int, error) { return o.price, nil }, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close(context.Background())
	_, err = q.Put(order{"tea", 3}, 0)
	fmt.Println(errors.Is(err, durable.ErrNotKept), err)
	// Output: true durable: cannot be kept in a file: field price of durable_test.order is not exported
}

// A job's own settings for retries have a name, as functions cannot be written.
func ExampleOptions() {
	path, remove := folder()
	defer remove()
	ctx := context.Background()
	patient := &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.ConstantBackoff(time.Millisecond), 5)}
	q, err := durable.Open(filepath.Join(path, "jobs.db"), func(ctx context.Context, n int) (int, error) {
		if attempt, _ := durable.JobAttempt(ctx); attempt < 3 {
			return 0, errors.New("not yet")
		}
		return n, nil
	}, &durable.Options{
		Dispatch:   twill.DispatchOptions{Width: 5},
		Retries:    map[string]*twill.RetryOptions{"patient": patient},
		MaxCrashes: 2,
		Keep:       100,
		KeepFor:    24 * time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close(ctx)
	job, err := q.Put(7, 0, twill.JobOptions{Retry: patient})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Await(ctx))
	fmt.Println(job.Attempts(), "attempts")
	// Output:
	// 7 <nil>
	// 3 attempts
}

// The times of a cron line where summer time begins: in Berlin there is no 2:30
// on 29 March 2026.
func ExampleCron() {
	s := durable.Cron("CRON_TZ=Europe/Berlin 30 2 * * *")
	if err := s.Err(); err != nil {
		fmt.Println(err)
		return
	}
	n := 0
	for t := range s.After(time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)) {
		if n++; n > 3 {
			break
		}
		fmt.Println(t.Format("Mon 2 Jan 15:04 MST"))
	}
	fmt.Println(durable.Cron("61 * * * *").Err() != nil)
	// Output:
	// Sat 28 Mar 02:30 CET
	// Sun 29 Mar 03:00 CEST
	// Mon 30 Mar 02:30 CEST
	// true
}

// A schedule of any times: here the last day of each month, at noon.
func ExampleTimes() {
	monthEnds := durable.Times("month ends", func(yield func(time.Time) bool) {
		for month := time.Month(1); yield(time.Date(2026, month+1, 0, 12, 0, 0, 0, time.UTC)); month++ {
		}
	})
	n := 0
	for t := range monthEnds.After(time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)) {
		if n++; n > 2 {
			break
		}
		fmt.Println(t.Format(time.DateOnly))
	}
	// Output:
	// 2028-01-31
	// 2028-02-29
}

// A periodic job runs at the times of its schedule, in this process and in
// later ones that call Every for it.
func ExampleQueue_Every() {
	path, remove := folder()
	defer remove()
	ctx := context.Background()
	done := make(chan string)
	clean := func(ctx context.Context, folder string) (int, error) {
		run, _ := durable.JobRun(ctx)
		done <- run.Name + " " + folder
		return 0, nil
	}
	q, err := durable.Open(filepath.Join(path, "jobs.db"), clean, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	soon := time.Now().Add(20 * time.Millisecond)
	once := durable.Times("once, soon", slices.Values([]time.Time{soon}))
	// If the process was down, up to three of the nights that were missed have a
	// run.
	nightly := durable.Cron("CRON_TZ=UTC 0 3 * * *")
	err = errors.Join(
		q.Every("sweep", once, "/tmp"),
		q.Every("backup", nightly, "/home", durable.EveryOptions{CatchUp: 3, Priority: -1}),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-done)
	fmt.Println(q.RemovePeriodic("sweep"))
	fmt.Println(q.Close(ctx))
	// Output:
	// sweep /tmp
	// <nil>
	// <nil>
}

// The periodic jobs of a queue with their next times.
func ExampleQueue_Periodics() {
	path, remove := folder()
	defer remove()
	ctx := context.Background()
	q, err := durable.Open(filepath.Join(path, "jobs.db"), func(context.Context, string) (int, error) { return 0, nil }, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := q.Every("new year", durable.Cron("CRON_TZ=UTC 0 0 1 1 *"), ""); err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range q.Periodics() {
		fmt.Println(p.Name, p.Active, p.Live)
		for _, t := range p.Upcoming(2) {
			fmt.Println(t.Format("2 January 15:04"))
		}
	}
	_ = q.Close(ctx)
	// Output:
	// new year true 0
	// 1 January 00:00
	// 1 January 00:00
}
