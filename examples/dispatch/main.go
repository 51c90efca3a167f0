// Command dispatch goes through the example of the ResizableDispatchQueue, line
// by line, with a carrier of text messages that sends a message only when the
// program lets it, so that each step can be seen.
//
//	go run ./examples/dispatch
//
// It prints how many messages are underway and pending after each step and, in
// the end, as JSON, the messages that were not started: the next start would
// put them again. It takes a few milliseconds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/twillgo/twill"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dispatch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	// A queue with at most 5 jobs underway. Its jobs do not get ctx: an interrupt
	// ends the waits below, and does not interrupt a message halfway.
	carrier := newCarrier()
	queue := twill.NewResizableDispatchQueue(carrier.sendSMS, &twill.DispatchOptions{Width: 5})
	show := func(step string) {
		underway, pending := queue.Size()
		fmt.Fprintf(w, "%-28s underway %2d, pending %2d\n", step, underway, pending)
	}

	// Send off some messages. Lower numbers go first.
	var jobs []*twill.Job[sms, time.Time]
	for i := range 24 {
		job, err := queue.Put(sms{fmt.Sprintf("+1 212 555 01%02d", i), "Hello..."}, 5)
		if err != nil {
			return err
		}
		jobs = append(jobs, job)
	}
	show("put 24 messages")
	first, last := jobs[0], jobs[23]

	// A job is a future of its result.
	sent := twill.Then(&first.Future, func(time.Time) (string, error) { return "sent to " + first.Arg().Number, nil })

	// Cancel one.
	last.Cancel(errors.New("wrong number"))
	show("cancel the last: " + last.State().String())

	// Widen the pipeline to 10 jobs.
	if err := queue.SetWidth(10); err != nil {
		return err
	}
	show("widen to 10")

	// That is too fast, so turn it down a little: no job is interrupted.
	if err := queue.SetWidth(7); err != nil {
		return err
	}
	show("narrow to 7")

	// Get the list of pending jobs; cancel one job, and move another to the front.
	pending := queue.Pending()
	pending[0].Cancel(nil)
	if err := queue.Reprioritize(pending[12], -1); err != nil {
		return err
	}
	show("cancel one, move one up")
	fmt.Fprintln(w, "next is", queue.Pending()[0].Arg().Number)

	// Arrange for more width in an hour.
	inAnHour := time.AfterFunc(time.Hour, func() { _ = queue.SetWidth(20) })
	defer inAnHour.Stop()

	// Pause, until no job is underway. Jobs can be put during a pause.
	paused := queue.Pause()
	carrier.letThrough(10)
	if _, err := paused.Await(ctx); err != nil {
		return err
	}
	show("paused, 10 let through")
	text, err := sent.Await(ctx)
	fmt.Fprintln(w, text, err)

	// Resume, with a new width.
	if err := queue.ResumeWidth(8); err != nil {
		return err
	}
	show("resume with 8")
	fmt.Fprintln(w, "one of them is", queue.Underway()[0].Arg().Number)

	// Stop: wait for the jobs underway, and save the jobs that were not started.
	stopped := queue.Stop()
	carrier.letThrough(8)
	left, err := stopped.Await(ctx)
	if err != nil {
		return err
	}
	show("stopped, 8 let through")
	var messages []sms // in the order in which they would have started
	for _, job := range left {
		messages = append(messages, job.Arg())
	}
	return json.NewEncoder(w).Encode(messages)
}
