package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/twillgo/twill"
)

type mailing = twill.ResizableDispatchQueue[Recipient, Receipt]

// send sends the messages of a file. An interrupt lets those underway finish, a
// second one does not.
func send(cfg config, stdout, stderr io.Writer, interrupts <-chan os.Signal) (int, error) {
	recipients, err := openRecipients(cfg.send, stderr)
	if err != nil {
		return exitFailed, err
	}
	courier := NewCourier(cfg.carrier, cfg.width)
	defer courier.Close()

	tally := counter{tally: Tally{Total: len(recipients)}}
	queue := twill.NewResizableDispatchQueue(func(ctx context.Context, r Recipient) (Receipt, error) {
		tally.change(func(t *Tally) { t.Underway++ })
		defer tally.change(func(t *Tally) { t.Underway-- })
		return courier.Deliver(ctx, r.Message, func(n int, _ error) {
			if n == 1 {
				tally.change(func(t *Tally) { t.Retried++ })
			}
		})
	}, &twill.DispatchOptions{Width: cfg.width})

	progress := NewProgress(stdout, isTerminal(stdout))
	var failures []string // guarded by tally
	var pool twill.Pool
	for _, r := range recipients {
		job, err := queue.Put(r, 0)
		if err != nil {
			return exitFailed, err // nobody has stopped it
		}
		noted := twill.Handle(&job.Future, func(_ Receipt, err error) (struct{}, error) {
			tally.change(func(t *Tally) {
				switch {
				case err == nil:
					t.Sent++
				case !errors.Is(err, twill.ErrStopped): // that one counts as not sent
					t.Failed++
					failures = append(failures, fmt.Sprintf("%s:%d: %s: %v", filepath.Base(cfg.send), r.Line, r.Message.To, err))
				}
			})
			return struct{}{}, nil
		})
		_ = pool.Add(noted) // it is not closed
	}
	unsent := watch(queue, pool.Empty(), interrupts, func() { progress.Show(tally.now()) }, func() {
		progress.End()
		fmt.Fprintln(stderr, "stopping: what is underway is being finished; interrupt again to stop at once")
	})
	progress.End()
	for _, line := range failures {
		fmt.Fprintln(stderr, line)
	}
	t := tally.now()
	fmt.Fprintf(stdout, "sent %d, failed %d, retried %d, in %.1f s, at most %d underway at once\n",
		t.Sent, t.Failed, t.Retried, time.Since(progress.begun).Seconds(), t.Peak)
	switch {
	case unsent > 0:
		fmt.Fprintf(stdout, "interrupted: %d were not sent\n", unsent)
		return exitInterrupted, nil
	case t.Failed > 0:
		return exitFailed, nil
	}
	return exitOK, nil
}

// watch shows the progress until all jobs are over, or an interrupt has stopped
// the queue. It returns how many jobs were left over then.
func watch(queue *mailing, all *twill.Future[struct{}], interrupts <-chan os.Signal, show, stopping func()) (unsent int) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	defer show()
	var stopped *twill.Future[[]*twill.Job[Recipient, Receipt]]
	over := all.Done()
	for {
		select {
		case <-tick.C:
			show()
		case <-over:
			if stopped == nil {
				return 0
			}
			left, _ := stopped.Await(context.Background())
			return len(left)
		case <-interrupts:
			if stopped == nil {
				stopped = queue.Stop()
				stopping()
			} else {
				stopped = queue.StopNow()
			}
			over = stopped.Done()
		}
	}
}

// openRecipients reads the file, and reports the lines that are skipped.
func openRecipients(name string, stderr io.Writer) ([]Recipient, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	recipients, bad, err := ReadRecipients(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, b := range bad {
		fmt.Fprintf(stderr, "%s:%d: %v; skipped\n", filepath.Base(name), b.Line, b.Err)
	}
	if len(recipients) == 0 {
		return nil, fmt.Errorf("%s: there is nobody to send to", name)
	}
	return recipients, nil
}
